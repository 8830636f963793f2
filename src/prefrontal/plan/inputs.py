"""The snapshot a plan is made from. Everything a policy may look at, and nothing it could ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from prefrontal.chat.request import NO_HINTS, Hints
from prefrontal.config.schema_routing import Channel, Routing
from prefrontal.contracts.assessment import Assessment
from prefrontal.contracts.effort import Effort
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.money import Allowance
from prefrontal.contracts.reach import Reach
from prefrontal.contracts.runtime import IDLE, ModelRuntime


class Stay(msgspec.Struct, frozen=True, kw_only=True):
    """Where this was read last: the model, and how many of its tokens are likely still cached there.

    deployment: which of the model's, None: it has one. by: what tells so, the conversation or the same beginning.
    """

    model: str
    cached_tokens: int
    deployment: str | None = None
    by: Literal["session", "prefix"] = "session"


class ToolOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A reflex that recognised the request."""

    tool: str
    arguments: dict[str, Any]
    reason: str


class PlanInputs(msgspec.Struct, frozen=True, kw_only=True):
    """One request as policies see it.

    cards: every model by id. runtime: their condition now. roles: role → model ids. role: the role asked for (``role/NAME``).
    asked_effort: what the caller said about effort (None: nothing). turn: a counter for round robin. now_s: Unix time, for price
    windows. must_think: the caller demands thinking. caller_cap: the caller's output cap. allowances: what budgets
    leave for a call of a model; one that is not in it has no bound. reach: the hosts this request may reach (None: any).
    """

    assessment: Assessment
    cards: Mapping[str, ModelCard]
    runtime: Mapping[str, ModelRuntime] = {}
    roles: Mapping[str, tuple[str, ...]] = {}
    routing: Routing
    channel_name: str = "chat"
    channel: Channel = Channel()
    hints: Hints = NO_HINTS
    role: str | None = None
    asked_effort: Effort | None = None
    must_think: bool = False
    caller_cap: int | None = None
    stay: Stay | None = None
    offer: ToolOffer | None = None
    turn: int = 0
    now_s: float = 0.0
    reach: Reach | None = None
    allowances: Mapping[str, Allowance] = {}

    def condition(self, model: str) -> ModelRuntime:
        """Return a model's condition; one never used is idle."""
        return self.runtime.get(model, IDLE)

    @property
    def prefer(self) -> str:
        """What counts most: the caller's word, the channel's, then the configuration's."""
        return self.hints.prefer or self.channel.prefer or self.routing.prefer
