"""A report as one page that needs nothing else: tables, and plots as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

COLOURS = {"cached": "#c9ced6", "tier_1": "#4f8f6b", "tier_2": "#3b6fb6", "tier_3": "#b5562f", "rule": "#8a6fb0"}
WIDTH, HEIGHT, LEFT, BOTTOM = 860, 220, 64, 24

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:58rem;padding:0 1rem;color:#1d2128;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2.2rem}table{border-collapse:collapse;margin:.6rem 0;font-size:.92rem}
td,th{padding:.25rem .7rem;border-bottom:1px solid #e3e6ea;text-align:right}td:first-child,th:first-child{text-align:left}
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#59606b}.key span{margin-right:1.2em;white-space:nowrap}
.key i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}.flag{color:#b5562f;font-weight:600}
@media(prefers-color-scheme:dark){body{background:#15181d;color:#dfe3e8}td,th{border-color:#2c323a}svg text{fill:#9aa3ae}}
"""


def page(reports: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of one run, or of several side by side."""
    first = reports[0]["scenario"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Simulation: {escape(first['name'])}</title><style>{STYLE}</style>",
        f"<h1>{escape(first['name'])}: {first['decisions']:,} decisions</h1>",
        f"<p>{first['agents']} agents, {first['days']} days, {first['ticks_per_day']} decisions a day, seed {first['seed']}.",
        table(rows_of(reports, runs)),
    ]
    for report in reports:
        parts += _sections(report, several=len(reports) > 1)
    return "\n".join(parts) + "\n"


def rows_of(reports: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the figures of runs side by side, as text: a head, and a line a figure."""
    lines: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("Tier 1 / 2 / 3 / rule", lambda r: " / ".join(_percent(r["decisions"]["by_tier"][n]["share"]) for n in _ORDER)),
        ("From the cache", lambda r: _percent(r["cache"]["share"])),
        ("Paid calls", lambda r: f"{r['decisions']['paid']:,}"),
        ("Local", lambda r: _percent(r["decisions"]["local_share"])),
        ("Cost", lambda r: f"${r['cost']['total_usd']:,.2f}"),
        ("Escalated", lambda r: f"{r['escalations']['total']:,}"),
        ("Degraded", lambda r: f"{r['degraded']['total']:,}"),
        ("Answered by rule", lambda r: f"{r['fallbacks']['total']:,}"),
        ("Projects done / late", lambda r: f"{r['work']['projects']['done']} / {r['work']['projects']['late']}"),
        ("Tasks done", lambda r: f"{r['work']['tasks_done']:,}"),
    ]
    table_ = [["", *[str(report["scenario"]["policy"] or report["scenario"]["name"]) for report in reports]]]
    table_ += [[name, *[tell(report) for report in reports]] for name, tell in lines]
    told = [report.get("latency") or run.get("latency") or {} for report, run in zip(reports, runs, strict=True)]
    table_.append(["Latency of what was asked, p50 / p99", *[_latency(one) for one in told]])
    table_.append(["Time of the engines", *[_hours(one.get("engine_s")) for one in told]])
    if any("wall_s" in run for run in runs):
        table_.append(["Wall time of the run", *[f"{run['wall_s']:,.1f} s" if "wall_s" in run else "" for run in runs]])
        table_.append(["Most memory", *[f"{run['max_memory_mb']:,} MB" if "wall_s" in run else "" for run in runs]])
    return table_


_ORDER = ("tier_1", "tier_2", "tier_3", "rule")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first row is its head."""
    head = "".join(f"<th>{escape(cell)}" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in rows[1:])
    return f"<table><tr>{head}{body}</table>"


def _sections(report: Mapping[str, Any], *, several: bool) -> list[str]:
    days = report["days"]
    name = f": {escape(str(report['scenario']['policy']))}" if several else ""
    parts = [
        f"<h2>Decisions by tier and day{name}</h2>",
        "<p class=key>" + "".join(f"<span><i style='background:{c}'></i>{_word(n)}</span>" for n, c in COLOURS.items()) + "</p>",
        stacked([[day[n] for n in COLOURS] for day in days], list(COLOURS.values())),
        f"<h2>Cost by day, USD{name}</h2>",
        stacked([[day["cost_usd"]] for day in days], [COLOURS["tier_3"]]),
        f"<h2>Tasks waiting in queues{name}</h2>",
        stacked([[day["waiting"]] for day in days], [COLOURS["tier_2"]]),
    ]
    if several:
        return parts
    types = [["Type", "Decisions", "Cached", "Escalated", "Degraded", "Cost"]]
    for kind, one in sorted(report["types"].items(), key=lambda item: -item[1]["count"]):
        figures = [f"{one[key]:,}" for key in ("count", "cached", "escalated", "degraded")]
        types.append([kind, *figures, f"${one['cost_usd']:,.2f}"])
    parts += ["<h2>Decision types</h2>", table(types), "<h2>Bottlenecks</h2>", _bottlenecks(report["bottlenecks"])]
    for title, key in (("Answered by rule", "fallbacks"), ("Escalated", "escalations"), ("Degraded", "degraded")):
        if report[key]["by_reason"]:
            rows = [["Reason", "Decisions"], *[[_word(n), f"{count:,}"] for n, count in report[key]["by_reason"].items()]]
            parts += [f"<h2>{title}</h2>", table(rows)]
    return parts


def _bottlenecks(found: Mapping[str, Any]) -> str:
    rows = []
    for name, one in found["resources"].items():
        mark = " class=flag" if one["bottleneck"] else ""
        cells = [str(one["capacity"]), _percent(one["utilisation"]), f"{one['mean_wait_h']:.1f} h", f"{one['waits']:,} waits"]
        rows.append(f"<tr><td{mark}>{escape(name)}" + "".join(f"<td>{cell}" for cell in cells))
    for name, one in found["roles"].items():
        mark = " class=flag" if one["bottleneck"] else ""
        cells = [str(one["agents"]), _percent(one["utilisation"]), "", f"{one['mean_queue']:.1f} tasks queued each"]
        rows.append(f"<tr><td{mark}>{escape(name)}" + "".join(f"<td>{cell}" for cell in cells))
    return "<table><tr><th>Resource or role<th>How many<th>In use<th>Mean wait<th>" + "".join(rows) + "</table>"


def stacked(columns: Sequence[Sequence[float]], colours: Sequence[str]) -> str:
    """Return columns of stacked bars as SVG, with a scale."""
    top = max([sum(column) for column in columns], default=0) or 1
    step = (WIDTH - LEFT) / max(1, len(columns))
    room = HEIGHT - BOTTOM - 8
    parts = [f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img>"]
    for part in (0.0, 0.5, 1.0):
        y = HEIGHT - BOTTOM - part * room
        parts.append(f"<line x1='{LEFT}' x2='{WIDTH}' y1='{y:.1f}' y2='{y:.1f}' stroke='#88909c' stroke-opacity='.3'/>")
        parts.append(f"<text x='{LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>{_number(top * part)}</text>")
    for at, column in enumerate(columns):
        y = float(HEIGHT - BOTTOM)
        for value, colour in zip(column, colours, strict=True):
            high = value / top * room
            if high <= 0:
                continue
            y -= high
            x = LEFT + at * step
            parts.append(
                f"<rect x='{x:.1f}' y='{y:.1f}' width='{max(0.5, step * 0.86):.1f}' height='{high:.1f}' fill='{colour}'/>"
            )
    marks = range(0, len(columns), max(1, len(columns) // 8))
    days = [f"<text x='{LEFT + at * step:.1f}' y='{HEIGHT - 6}'>day {at + 1}</text>" for at in marks]
    return "".join([*parts, *days, "</svg>"])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:,.2f}"


def _latency(told: Mapping[str, Any]) -> str:
    asked = told.get("asked_ms")
    return f"{asked['p50']:,.0f} / {asked['p99']:,.0f} ms" if asked else ""


def _hours(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:,.1f} min"


def _word(name: str) -> str:
    return escape(name.replace("_", " "))
