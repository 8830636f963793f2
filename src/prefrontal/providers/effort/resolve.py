"""One model's own dialect: the shared dialect with the model's overrides laid over it, and the arithmetic of levels."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import msgspec

from prefrontal.contracts.effort import Effort, Level
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import ConfigError
from prefrontal.providers.effort.dialects import LADDER, BudgetOp, BudgetRange, Dialect, Dialects, EnumOp, Op, ToggleOp


class Overrides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model's card may change of its dialect (`ModelCard.effort_overrides`). None: as the dialect says.

    alias: level as asked → what is sent: another level, or the engine's own word for it. key: last part of the switch's field,
    e.g. ``thinking`` for a template that has no ``enable_thinking``. send_budget False: only the switch is sent (an engine
    started without its reasoning parser refuses budgets). The other names are those of the dialect.
    """

    alias: dict[str, str] = {}
    budget_min_tokens: int | None = None
    budget_max_tokens: int | None = None
    send_budget: bool = True
    key: str | None = None
    binary: bool | None = None
    always_on: bool | None = None
    thinks_by_default: bool | None = None
    default_level: Level | None = None
    drop_always: tuple[str, ...] | None = None
    drop_when_thinking: tuple[str, ...] | None = None
    output_cap_field: str | None = None
    require_stream_when_thinking: bool | None = None


_PLAIN = (
    "binary",
    "always_on",
    "thinks_by_default",
    "default_level",
    "drop_always",
    "drop_when_thinking",
    "output_cap_field",
    "require_stream_when_thinking",
)


def overrides_of(card: ModelCard) -> Overrides:
    """Return the card's overrides, checked.

    Raises:
        ConfigError: an override has an unknown name or a wrong type.
    """
    try:
        return msgspec.convert(card.effort_overrides or {}, Overrides)
    except msgspec.ValidationError as error:
        names = ", ".join(Overrides.__struct_fields__)
        raise ConfigError(
            f"model {card.id}: {error}", path="effort_overrides", rule="effort_overrides", hint=f"Known names: {names}."
        ) from error


def dialect_of(card: ModelCard, dialects: Dialects) -> Dialect:
    """Return the dialect of one model with its own levels, budget range and overrides applied.

    Raises:
        ConfigError: the card names a dialect or a level that does not exist, or its overrides are malformed.
    """
    dialect = dialects.dialects.get(card.effort_dialect)
    if dialect is None:
        near = get_close_matches(card.effort_dialect, dialects.dialects, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known dialects: {', '.join(dialects.dialects)}."
        raise ConfigError(
            f"model {card.id} names the effort dialect {card.effort_dialect!r}, which does not exist.",
            path="effort_dialect",
            hint=hint,
        )
    changes: dict[str, Any] = {}
    if card.effort_levels:
        changes["levels"] = _levels(card)
    if card.thinking is not None and card.thinking.always_on:
        changes["always_on"] = True
    if card.effort_overrides:
        changes |= _changes(overrides_of(card), dialect)
    budget = _budget(card, dialect)
    if budget is not dialect.budget:
        changes["budget"] = budget
    if changes:
        dialect = msgspec.structs.replace(dialect, **changes)
    if "none" in dialect.levels and always_thinks(card, dialect):
        dialect = msgspec.structs.replace(dialect, levels=tuple(level for level in dialect.levels if level != "none"))
    return dialect


def _levels(card: ModelCard) -> tuple[Level, ...]:
    known = set(card.effort_levels)
    unknown = known - set(LADDER)
    if unknown:
        raise ConfigError(
            f"model {card.id}: {sorted(unknown)[0]!r} is not an effort level.",
            path="effort_levels",
            hint=f"Levels: {', '.join(LADDER)}.",
        )
    return tuple(level for level in LADDER if level in known)


def _changes(own: Overrides, dialect: Dialect) -> dict[str, Any]:
    changes = {name: getattr(own, name) for name in _PLAIN if getattr(own, name) is not None}
    levels = {asked: sent for asked, sent in own.alias.items() if sent in LADDER}
    words = {asked: sent for asked, sent in own.alias.items() if sent not in LADDER}
    if levels:
        changes["alias"] = {**dialect.alias, **levels}
    if own.key is not None or not own.send_budget or words:
        kept = [op for op in dialect.ops if own.send_budget or not (isinstance(op, BudgetOp) and op.when)]
        changes["ops"] = tuple(_reworded(op, own.key, words) for op in kept)
    return changes


def _reworded(op: Op, key: str | None, words: dict[str, str]) -> Op:
    """The operation under the card's own key and with the engine's own words."""
    if isinstance(op, ToggleOp) and key is not None:
        head, dot, _ = op.path.rpartition(".")
        return msgspec.structs.replace(op, path=f"{head}{dot}{key}")
    if isinstance(op, EnumOp) and words:
        return msgspec.structs.replace(op, map={**dict(zip(LADDER, LADDER, strict=True)), **(op.map or {}), **words})
    return op


def _budget(card: ModelCard, dialect: Dialect) -> BudgetRange | None:
    """The dialect's range narrowed by the card: explicit overrides win over the range the card declares."""
    base = dialect.budget
    if base is None:
        return None
    own = overrides_of(card) if card.effort_overrides else Overrides()
    declared = card.thinking
    low = own.budget_min_tokens if own.budget_min_tokens is not None else declared.min_tokens if declared else None
    high = own.budget_max_tokens if own.budget_max_tokens is not None else declared.max_tokens if declared else None
    if low is None and high is None:
        return base
    return msgspec.structs.replace(base, min=base.min if low is None else low, max=base.max if high is None else high)


def asked_level(effort: Effort, dialects: Dialects) -> Level | None:
    """Return the level an effort asks for; None when it asks for nothing."""
    if effort.level is not None:
        return effort.level
    return None if effort.score is None else dialects.level_of(effort.score)


def asked_score(effort: Effort, dialects: Dialects) -> float | None:
    """Return the score an effort asks for, clamped to [0, 1]; None when it asks for nothing."""
    if effort.score is not None:
        return min(1.0, max(0.0, effort.score))
    return None if effort.level is None else dialects.score_of(effort.level)


def snap(level: Level, dialect: Dialect) -> Level:
    """Return the level the model takes for `level`: its alias, itself, else the nearest above none, ties going down."""
    alias = dialect.alias.get(level)
    if alias is not None and alias in dialect.levels:
        return alias
    if level in dialect.levels:
        return level
    thinking = [name for name in dialect.levels if name != "none"]
    if not thinking:
        return "none"
    wanted = LADDER.index(level)
    return min(thinking, key=lambda name: (abs(LADDER.index(name) - wanted), LADDER.index(name)))


def always_thinks(card: ModelCard, dialect: Dialect) -> bool:
    """Return whether the model cannot be kept from thinking."""
    if dialect.always_on:
        return True
    capability = card.capabilities.get("thinking")
    return capability is not None and capability.value == "always_on"
