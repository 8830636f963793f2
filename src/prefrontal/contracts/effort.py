"""How hard a model should think: the score, where it came from, and what was sent for it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.contracts.wire import Dropped

Level = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """One factor of the effort product: its name, its multiplier and the sentence a person reads."""

    name: str
    value: float
    reason: str


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """The effort asked of a model: `score` in [0, 1], the factors that made it, and its origin.

    origin ``caller`` (reasoning_effort, thinking or x_prefrontal.effort), ``policy`` (computed), ``default`` (nothing asked:
    the model's own default applies and no effort field is sent).
    """

    score: float | None = None
    level: Level | None = None
    origin: Literal["caller", "policy", "default"] = "default"
    factors: tuple[Factor, ...] = ()


class EffortFields(msgspec.Struct, frozen=True, kw_only=True):
    """An effort rendered for one model.

    `fields`: dotted path → value to set in the request. `suffix`: text to append to the last user message. `remove`: sampling
    and other fields that must not be sent, with reasons. `output_cap_tokens`: the cap to send (None: leave the caller's).
    `cap_field`: the wire's name for it. `thinking`: whether the model will think (None: unknown). `budget_tokens`: thinking
    budget sent. `level`: level sent. `dialect`: name of the dialect used. `stream_only`: upstream accepts this only streaming.
    """

    dialect: str
    fields: dict[str, Any] = {}
    suffix: str | None = None
    remove: tuple[Dropped, ...] = ()
    output_cap_tokens: int | None = None
    cap_field: str | None = None
    thinking: bool | None = None
    level: str | None = None
    budget_tokens: int | None = None
    stream_only: bool = False
    notes: tuple[Dropped, ...] = ()
