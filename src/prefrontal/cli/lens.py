"""`prefrontal lens`: what a lens sees in a text, and how well it ranks prompts beside its formula."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, opened
from prefrontal.decisions.lenses.agreement import Comparison, Ranked, Score, parse, shipped
from prefrontal.decisions.lenses.shipped import lens_named


async def read_one(name: str, text: str, place: Place, screen: Screen, *, model: str | None, as_json: bool) -> None:
    """Show what a lens sees in a text. Raises PrefrontalError."""
    from prefrontal.app.lenses import read_lens

    async with opened(place) as pf:
        found = await read_lens(pf, name, text, model=model)
    if as_json:
        screen.json(msgspec.to_builtins(found))
        return
    who = found.model or "the formula"
    trouble = [("why", found.finding + (f": {found.detail}" if found.detail else ""))] if found.finding else []
    screen.pairs(
        [
            ("lens", f"{found.name} {found.version}"),
            ("read by", f"{who}, {found.latency_ms:,.0f} ms"),
            *trouble,
            ("sees", found.summary),
        ]
    )


def prompts_of(name: str, data: Path | None, limit: int | None) -> Sequence[Ranked]:
    """Return the ranked prompts of a file, or those that come with the lens. Raises ConfigError, InvalidRequest, NotFound."""
    known = lens_named(name, "NAME")
    return (shipped(known) if data is None else parse(data.read_text(encoding="utf-8")))[:limit]


async def evaluate_lens(
    name: str, place: Place, screen: Screen, *, model: str | None, prompts: Sequence[Ranked], as_json: bool
) -> None:
    """Show how a lens ranks prompts ranked by hand, beside its formula. Raises PrefrontalError."""
    from prefrontal.app.lenses import evaluate

    async with opened(place) as pf:
        found = await evaluate(pf, name, prompts, model=model)
    if as_json:
        screen.json({**msgspec.to_builtins(found), "verdict": found.verdict, "lens_name": name, "model": model})
        return
    screen.table(
        ("", "rank agreement (Kendall's tau-b)", "first domain right"),
        [("lens", *_told(found.lens)), ("formula", *_told(found.formula))],
    )
    screen.pairs(
        [
            ("prompts", f"{found.lens.prompts:,}, of which a model read {found.lens.by_model:,}"),
            ("lens better on", f"{found.wins:,}; formula on {found.losses:,}; alike on {found.ties:,}"),
            ("sign test", f"p = {found.p:.2g}"),
            ("verdict", _verdict(found)),
        ]
    )


def _told(score: Score) -> tuple[str, str]:
    return f"{score.tau:+.3f}", f"{score.first:.0%}"


def _verdict(found: Comparison) -> str:
    if not found.lens.by_model:
        return "no model gave a reading, so the lens is its formula"
    return {
        "better": "the lens ranks better than its formula",
        "worse": "the formula ranks better than the lens: use another model, or none",
        "no difference shown": "no difference is shown: the formula is cheaper",
    }[found.verdict]
