"""The report of a calibration: a page of its own with a reliability diagram for each slot, drawn in SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from prefrontal.contracts.outcome import Measures
from prefrontal.decisions.calibration import SURE, Bin, Fit

SIZE, EDGE = 240, 34
"""Of a diagram's square, and of the margin for its scales, in pixels."""

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1b1b;background:#fff}"
    "table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .8rem;text-align:right;border-bottom:1px solid #ddd}"
    "th:first-child,td:first-child{text-align:left}section{margin:2rem 0}.pair{display:flex;flex-wrap:wrap;gap:1.5rem}"
)


def diagram(bins: Sequence[Bin], title: str) -> str:
    """Return a reliability diagram: a bar a bin with the share that was right, a dot at what was stated, the honest diagonal."""
    whole, total = SIZE + 2 * EDGE, max(1, sum([one.count for one in bins]))
    named = f'height="{whole}" role="img" aria-label="{escape(title, quote=True)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole}" width="{whole}" {named}>',
        f'<text x="{whole / 2:g}" y="18" text-anchor="middle" font-size="13">{escape(title)}</text>',
        f'<rect x="{EDGE}" y="{EDGE}" width="{SIZE}" height="{SIZE}" fill="#f6f6f6" stroke="#bbb"/>',
    ]
    for one in bins:
        x, width = EDGE + one.low * SIZE, (one.high - one.low) * SIZE
        height = one.true * SIZE
        shade = 0.35 + 0.65 * one.count / total
        said = f"{one.count} answers, stated {one.stated:.3f}, right {one.true:.3f}"
        parts.append(
            f'<rect x="{x:.1f}" y="{EDGE + SIZE - height:.1f}" width="{width:.1f}" height="{height:.1f}" fill="#2f6fb0"'
            f' fill-opacity="{shade:.2f}"><title>{said}</title></rect>'
        )
        dot = EDGE + SIZE - one.stated * SIZE
        parts.append(f'<circle cx="{x + width / 2:.1f}" cy="{dot:.1f}" r="3" fill="#c2410c"><title>{said}</title></circle>')
    end = EDGE + SIZE
    parts.append(f'<line x1="{EDGE}" y1="{end}" x2="{end}" y2="{EDGE}" stroke="#888" stroke-dasharray="4 4"/>')
    for share in (0.0, 0.5, 1.0):
        at = EDGE + share * SIZE
        parts.append(f'<text x="{at:g}" y="{end + 16}" text-anchor="middle" font-size="11">{share:g}</text>')
        parts.append(f'<text x="{EDGE - 6}" y="{end - share * SIZE + 4:g}" text-anchor="end" font-size="11">{share:g}</text>')
    return "".join([*parts, "</svg>"])


def report_page(fits: Sequence[Fit], made: Sequence[str]) -> str:
    """Return the whole page. made: ids of the calibrators that came of it."""
    sections = [_section(fit) for fit in fits] or ["<p>No decision has a labelled outcome yet.</p>"]
    told = f"<p>Calibrators made: {escape(', '.join(made)) or 'none'}.</p>"
    explained = (
        "<p>Bars: share of answers that were right, by the probability they stated for their choice; dots: the mean of what"
        " they stated. Where both lie on the diagonal, 80 % means 80 %. All figures are of labelled answers that nothing was"
        " fitted to.</p>"
    )
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Calibration</title><style>{_STYLE}</style>'
    return "\n".join([head, "<h1>Calibration of decisions</h1>", told, explained, *sections, "</html>", ""])


def _section(fit: Fit) -> str:
    lines = [f"<section><h2>{escape(fit.slot.text)}</h2>"]
    kept = "kept" if fit.kept else "not kept"
    lines.append(f"<p>{fit.labelled} labelled answers; {kept}: {escape(fit.why)}.</p>")
    if fit.before is not None and fit.after is not None and fit.temperature is not None:
        lines.append(f"<p>Temperature {fit.temperature:.3f}, fitted to {fit.fitted}, judged on {fit.held_out}.</p>")
        lines.append('<div class="pair">')
        lines += [diagram(fit.bins_before, "before"), diagram(fit.bins_after, "after"), "</div>"]
        lines.append("<table><tr><th></th><th>before</th><th>after</th></tr>")
        lines += [f"<tr><td>{name}</td><td>{old}</td><td>{new}</td></tr>" for name, old, new in compared(fit.before, fit.after)]
        lines.append("</table>")
    return "\n".join([*lines, "</section>"])


def compared(before: Measures, after: Measures) -> list[tuple[str, str, str]]:
    """Return the measures side by side, for people."""
    return [
        ("accuracy", f"{before.accuracy:.3f}", f"{after.accuracy:.3f}"),
        ("NLL", f"{before.nll:.4f}", f"{after.nll:.4f}"),
        ("ECE", f"{before.ece:.4f}", f"{after.ece:.4f}"),
        ("Brier", f"{before.brier:.4f}", f"{after.brier:.4f}"),
        (f"wrong at {SURE:g} and above", f"{before.sure_wrong} of {before.sure}", f"{after.sure_wrong} of {after.sure}"),
    ]
