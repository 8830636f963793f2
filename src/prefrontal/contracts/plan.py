"""What was decided, and why."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.contracts.effort import Effort
from prefrontal.contracts.money import Degraded

Path = Literal["model", "tool", "retrieval"]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the decision: the rule that applied and its effect, both readable."""

    rule: str
    effect: str


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One model that was considered. `lost` says why it was not chosen (None: it was); `parts` split the score."""

    model: str
    score: float
    eligible: bool
    lost: str | None = None
    parts: dict[str, float] = {}


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What to reserve before the call. cost_usd None: no price is known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The decision. `model` is the first choice (None for path ``tool``), `fallbacks` the order after it.

    degraded: a budget stood in the way of the model that would have been first.
    """

    path: Path
    model: str | None = None
    tool: str | None = None
    tool_arguments: dict[str, Any] | None = None
    role: str | None = None
    channel: str = "chat"
    policy: str = "named"
    effort: Effort = Effort()
    fallbacks: tuple[str, ...] = ()
    estimate: Estimate = Estimate()
    reasons: tuple[Reason, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    degraded: Degraded | None = None
