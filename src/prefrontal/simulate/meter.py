"""Counts a run while it goes on: what every report is made of. The same rows give the same counts."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

import msgspec

from prefrontal.simulate.desk import Row
from prefrontal.simulate.situations import Situation
from prefrontal.simulate.world import World

TIERS = 4
"""Tier 0 is the rule."""


class Day(msgspec.Struct, kw_only=True):
    """One working day. tiers: decisions by tier, 0 the rule, without those from the cache. waiting: tasks queued at its end."""

    tiers: list[int]
    cached: int = 0
    cost_usd: float = 0.0
    waiting: int = 0
    engine_s: float = 0.0


class TypeCount(msgspec.Struct, kw_only=True):
    """What became of one decision type. answers: how often each was given."""

    tiers: list[int]
    cached: int = 0
    cost_usd: float = 0.0
    degraded: int = 0
    escalated: int = 0
    answers: Counter[str] = msgspec.field(default_factory=Counter)


class RoleCount(msgspec.Struct, kw_only=True):
    """How one role spent its time, in ticks. queued: tasks in its queues, summed over ticks of its agents."""

    ticks: int = 0
    idle: int = 0
    blocked: int = 0
    queued: int = 0
    reviews: int = 0


class Meter:
    """Takes every tick in. `virtual`: latencies are of virtual time, and belong into the report."""

    def __init__(self, world: World, *, virtual: bool) -> None:
        self.world = world
        self.virtual = virtual
        self.total = 0
        self.cached = 0
        self.similar = 0
        self.cost_usd = 0.0
        self.paid = 0
        self.calls = 0
        self.engine_s = 0.0
        self.days: list[Day] = []
        self.types: dict[str, TypeCount] = {}
        self.roles = {role: RoleCount() for role in world.by_role}
        self.models: Counter[str] = Counter()
        self.model_cost: dict[str, float] = {}
        self.sources: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self.escalated: Counter[str] = Counter()
        self.degraded: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.latency_ms = [array("d") for _ in range(TIERS)]
        self.cached_ms = array("d")

    def take(self, minute: int, done: int, asked: Sequence[Situation], rows: Sequence[Row]) -> None:
        """Count one tick; see `loop.Watch`."""
        number = self.world.calendar.day(minute)
        while len(self.days) <= number:
            self.days.append(Day(tiers=[0] * TIERS))
        day = self.days[number]
        longest = 0.0
        for one, row in zip(asked, rows, strict=True):
            self._row(day, row)
            self._role(self.roles[one.agent.role], one)
            longest = max(longest, row.latency_ms)
        day.engine_s += longest / 1000
        self.engine_s += longest / 1000
        day.waiting = sum([len(agent.queue) + len(agent.inbox) + len(agent.parked) for agent in self.world.agents])

    def _row(self, day: Day, row: Row) -> None:
        kind = self.types.get(row.type)
        if kind is None:
            kind = self.types[row.type] = TypeCount(tiers=[0] * TIERS)
        self.total += 1
        self.calls += 0 if row.cached else row.attempts
        self.sources[row.source] += 1
        kind.answers["yes" if row.answer is True else "no" if row.answer is False else str(row.answer)] += 1
        kind.tiers[row.tier] += 1
        if row.cached:
            self.cached += 1
            self.similar += row.similar
            day.cached += 1
            kind.cached += 1
            self.cached_ms.append(row.latency_ms)
        else:
            day.tiers[row.tier] += 1
            self.latency_ms[row.tier].append(row.latency_ms)
        if row.cost_usd:
            self.paid += 1
            self.cost_usd += row.cost_usd
            day.cost_usd += row.cost_usd
            kind.cost_usd += row.cost_usd
            name = row.model or "other"
            self.model_cost[name] = self.model_cost.get(name, 0.0) + row.cost_usd
        self.models["rule" if row.source == "rule" else row.model or "other"] += 1
        if row.source == "rule":
            self.fallbacks[row.fallback or "no_model"] += 1
        if row.degraded_by is not None:
            self.degraded[row.degraded_by] += 1
            kind.degraded += 1
        if row.finding is not None:
            self.findings[row.finding] += 1
        if row.tier_reason is not None and not row.cached and (low := _steps_up(row.tier_reason)):
            self.escalated[low] += 1
            kind.escalated += 1

    def _role(self, role: RoleCount, one: Situation) -> None:
        agent = one.agent
        role.ticks += 1
        role.queued += len(agent.queue)
        role.reviews += len(agent.reviews)
        if agent.blocked_by:
            role.blocked += 1
        elif one.type == "next_action" and isinstance(one.state, dict) and one.state.get("status") == "idle":
            role.idle += 1


WEAK = ("low_confidence", "low_label_mass", "refused")


def _steps_up(reason: str) -> str | None:
    """Return why a decision went up a tier, in the words of its reason; None: it did not."""
    return next((word for word in WEAK if word in reason), None)
