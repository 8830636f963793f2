"""Changing an effort after the fact: one step down, and what a refusal by the model teaches."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.effort import Effort, EffortFields, Factor, Level
from prefrontal.contracts.model import ModelCard, ThinkingRange
from prefrontal.providers.effort.dialects import LADDER, BudgetObjectOp, BudgetOp, Dialect, Dialects, EnumOp
from prefrontal.providers.effort.render import render_effort
from prefrontal.providers.effort.resolve import always_thinks, asked_level, dialect_of

_DEFAULT_START: Level = "high"
"""Where stepping down starts when nothing was asked and the dialect names no default (specified: DeepSeek v4 and Claude)."""

_LISTED = re.compile(
    r"(?:supported|allowed|valid|accepted|permitted|possible|available)[^.:]{0,60}?(?:are|is|:|=)|one of|expected|must be|choose",
    re.IGNORECASE,
)
_WORD = re.compile(r"\b(" + "|".join(LADDER) + r")\b", re.IGNORECASE)
_QUOTED = re.compile(r"['\"`](" + "|".join(LADDER) + r")['\"`]", re.IGNORECASE)


def step_down(
    effort: Effort, card: ModelCard, request: ChatRequest, dialects: Dialects, *, default_cap: int | None
) -> Effort | None:
    """Return the next lower effort that this model is told differently; None when it cannot be told to think less.

    Used once when thinking ate the output cap. For an effort of origin ``default`` the model's own default is where it starts.
    """
    start = None if effort.origin == "default" else asked_level(effort, dialects)
    if start is None:
        start = dialect_of(card, dialects).default_level or _DEFAULT_START
        effort = Effort(score=dialects.score_of(start), level=start, origin="policy", factors=effort.factors)
    now = render_effort(effort, card, request, dialects, default_cap=default_cap)
    for level in reversed(LADDER[: LADDER.index(start)]):
        score = dialects.score_of(level)
        factor = Factor(name="step_down", value=score, reason=f"thinking used up the output cap: stepped down to {level}")
        lower = Effort(score=score, level=level, origin=effort.origin, factors=(*effort.factors, factor))
        if _told(render_effort(lower, card, request, dialects, default_cap=default_cap)) != _told(now):
            return lower
    return None


def _told(fields: EffortFields) -> tuple[dict[str, Any], str | None]:
    return fields.fields, fields.suffix


def nearest_level_after_400(
    text: str, sent: str | None, card: ModelCard, dialects: Dialects, *, param: str | None = None
) -> tuple[Level, ...] | None:
    """Return the levels the model takes, as learned from a 400 whose message is `text`; None when it teaches nothing.

    sent: the level the refused request carried. param: the field the upstream named, if it did so apart from the text. The
    result belongs into ``ModelCard.effort_levels``; rendering then snaps to the nearest of them. It always differs from the
    levels in force, so that asking once per refusal ends.
    """
    dialect = dialect_of(card, dialects)
    if not dialect.levels or sent is None or not _names_effort(f"{text} {param or ''}", dialect):
        return None
    listed = _listed(text) - {sent}
    known = set(dialect.levels)
    allowed = listed or known - {sent}
    levels = tuple(level for level in LADDER if level in allowed)
    return levels if levels and levels != dialect.levels else None


def without_budget_after_400(
    text: str, card: ModelCard, dialects: Dialects, *, param: str | None = None
) -> dict[str, Any] | None:
    """Return new effort overrides without a token budget when a 400 names the budget field; None when it does not.

    Engines started without a reasoning parser refuse the budget and take the switch.
    """
    dialect = dialect_of(card, dialects)
    said = f"{text} {param or ''}".lower()
    for op in dialect.ops:
        if isinstance(op, BudgetOp) and op.when and any(_leaf(path) in said for path in (op.path, op.also) if path):
            return {**(card.effort_overrides or {}), "send_budget": False}
    return None


def _names_effort(text: str, dialect: Dialect) -> bool:
    said = text.lower().replace("_", "")
    fields = {_leaf(op.path) for op in dialect.ops if isinstance(op, EnumOp)} | {"reasoning_effort", "reasoning.effort"}
    return any(field.replace("_", "") in said for field in fields)


def _leaf(path: str) -> str:
    return path.rpartition(".")[2].lower()


def _listed(text: str) -> set[str]:
    """The levels an error message lists as allowed; quoted words win over bare ones ("none" is also plain English)."""
    start = _LISTED.search(text)
    if start is None:
        return set()
    tail = text[start.end() :]
    return {word.lower() for word in _QUOTED.findall(tail) or _WORD.findall(tail)}


def thinking_range(card: ModelCard, dialects: Dialects) -> ThinkingRange:
    """Return what the model takes: a token range, or levels, or neither; shown by the list of models."""
    dialect = dialect_of(card, dialects)
    always = always_thinks(card, dialect)
    budget = dialect.budget if any(isinstance(op, BudgetOp | BudgetObjectOp) for op in dialect.ops) else None
    enum = any(isinstance(op, EnumOp) for op in dialect.ops)
    declared = card.thinking or ThinkingRange()
    base = ThinkingRange(
        levels=dialect.levels if enum else (),
        default_level=declared.default_level or (dialect.default_level if enum else None),
        default_tokens=declared.default_tokens,
        always_on=always,
    )
    if budget is None:
        return base
    high = budget.max if card.max_output_tokens is None else min(budget.max, card.max_output_tokens)
    return msgspec.structs.replace(base, min_tokens=budget.min, max_tokens=high)
