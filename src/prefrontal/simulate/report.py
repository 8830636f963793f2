"""From counts to a report: one tree of plain values, and the bytes of it. Equal runs give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from prefrontal.simulate.meter import TIERS, Meter
from prefrontal.simulate.schema import Scenario
from prefrontal.simulate.types import types_of

FORMAT = 1
BUSY = 0.85
"""From this utilisation on a resource is a bottleneck (specified: seed projects)."""

LONG_WAIT_H = 2.0
"""From this mean wait on, too (specified: seed projects)."""

SELDOM_DAYS = 5
"""Waits that come less often than once in so many days do not make one (assumed)."""

NAMES = ("rule", "tier_1", "tier_2", "tier_3")
SEED_SHARES = {"tier_1": 0.83, "tier_2": 0.15, "tier_3": 0.02}
"""Shares of decisions by tier that the seed expects."""

MOST_ANSWERS = 20


def fingerprint(scenario: Scenario) -> str:
    """Return 16 hex digits that name what a scenario's world depends on; policies and engines are none of it."""
    bare = msgspec.structs.replace(scenario, policies={}, settings={}, engines={}, script=(), policy=None, decisions={}, seed=0)
    return sha256(msgspec.json.encode(bare, order="deterministic")).hexdigest()[:16]


def report_of(scenario: Scenario, meter: Meter, *, seed: int, policy: str | None) -> dict[str, Any]:
    """Return the report of a run. Numbers are rounded, so that it reads well and stays the same."""
    found: dict[str, Any] = {
        "format": FORMAT,
        "scenario": _scenario(scenario, meter, seed, policy),
        "decisions": _decisions(scenario, meter),
        "cost": _cost(meter),
        "cache": {
            "hits": meter.cached,
            "share": _share(meter.cached, meter.total),
            "similar": meter.similar,
        },
        "fallbacks": {"total": sum(meter.fallbacks.values()), "by_reason": _counts(meter.fallbacks)},
        "escalations": {"total": sum(meter.escalated.values()), "by_reason": _counts(meter.escalated)},
        "degraded": {
            "total": sum(meter.degraded.values()),
            "by_reason": _counts(meter.degraded),
            "by_type": {name: count.degraded for name, count in sorted(meter.types.items()) if count.degraded},
        },
        "findings": _counts(meter.findings),
        "types": {name: _type(meter, name) for name in sorted(meter.types)},
        "work": _work(meter),
        "bottlenecks": _bottlenecks(meter),
        "days": [_day(day) for day in meter.days],
    }
    if meter.virtual:
        found["latency"] = latency_of(meter)
    return found


def report_bytes(report: Mapping[str, Any]) -> bytes:
    """Return the report as it is written: sorted, two spaces, one line feed at the end."""
    return msgspec.json.format(msgspec.json.encode(report, order="sorted"), indent=2) + b"\n"


def latency_of(meter: Meter) -> dict[str, Any]:
    """Return the percentiles of the time from question to answer, and how long the engines took for the whole run."""
    asked = sorted([value for tier in meter.latency_ms for value in tier])
    return {
        "engine_s": round(meter.engine_s, 1),
        "asked_ms": percentiles(asked),
        "cached_ms": percentiles(sorted(meter.cached_ms)),
        "by_tier_ms": {
            NAMES[tier]: percentiles(sorted(meter.latency_ms[tier])) for tier in range(TIERS) if meter.latency_ms[tier]
        },
    }


def percentiles(ordered: Sequence[float]) -> dict[str, float]:
    """Return mean, p50, p90, p95, p99 and max of sorted values; nothing of none."""
    if not ordered:
        return {}
    size = len(ordered)
    found = {"mean": sum(ordered) / size}
    for share in (50, 90, 95, 99):
        found[f"p{share}"] = ordered[min(size - 1, size * share // 100)]
    return {name: round(value, 2) for name, value in found.items()} | {"max": round(ordered[-1], 2)}


def _scenario(scenario: Scenario, meter: Meter, seed: int, policy: str | None) -> dict[str, Any]:
    return {
        "name": scenario.name,
        "policy": policy,
        "seed": seed,
        "fingerprint": fingerprint(scenario),
        "agents": len(meter.world.agents),
        "days": scenario.days,
        "ticks_per_day": scenario.ticks_per_day,
        "decisions": meter.total,
        "start": meter.world.calendar.text(0),
    }


def _decisions(scenario: Scenario, meter: Meter) -> dict[str, Any]:
    tiers = [sum([count.tiers[tier] for count in meter.types.values()]) for tier in range(TIERS)]
    by_type = [0] * TIERS
    said = types_of(scenario)
    for name, count in meter.types.items():
        by_type[said.get(name, {}).get("tier") or 2] += sum(count.tiers)
    return {
        "total": meter.total,
        "by_tier": {NAMES[tier]: {"count": tiers[tier], "share": _share(tiers[tier], meter.total)} for tier in range(TIERS)},
        "by_tier_of_type": {NAMES[n]: {"count": by_type[n], "share": _share(by_type[n], meter.total)} for n in range(1, TIERS)},
        "seed_shares": SEED_SHARES,
        "by_model": _counts(meter.models),
        "by_source": _counts(meter.sources),
        "calls": meter.calls,
        "paid": meter.paid,
        "local_share": _share(meter.total - meter.paid, meter.total),
    }


def _cost(meter: Meter) -> dict[str, Any]:
    return {
        "total_usd": round(meter.cost_usd, 6),
        "per_decision_usd": round(meter.cost_usd / max(1, meter.total), 9),
        "by_model_usd": {name: round(value, 6) for name, value in sorted(meter.model_cost.items())},
    }


def _type(meter: Meter, name: str) -> dict[str, Any]:
    count = meter.types[name]
    return {
        "count": sum(count.tiers),
        "by_tier": {NAMES[tier]: count.tiers[tier] for tier in range(TIERS) if count.tiers[tier]},
        "cached": count.cached,
        "cost_usd": round(count.cost_usd, 6),
        "escalated": count.escalated,
        "degraded": count.degraded,
        "answers": dict(sorted(count.answers.most_common(MOST_ANSWERS))),
    }


def _work(meter: Meter) -> dict[str, Any]:
    tally = meter.world.tally
    return {
        "projects": {"arrived": tally.projects_arrived, "done": tally.projects_done, "late": tally.projects_late},
        "lead_days": round(tally.lead_h / 8 / max(1, tally.projects_done), 2),
        "tasks_done": tally.tasks_done,
        "reworked": tally.reworked,
        "hours_done": round(tally.hours_done, 2),
        "blockers": tally.blockers,
        "reviews": tally.reviews,
        "messages": tally.messages,
        "incidents": tally.incidents,
    }


def _bottlenecks(meter: Meter) -> dict[str, Any]:
    world = meter.world
    ticks = max(1, len(meter.days) * len(_slots(meter)))
    resources = {}
    for name, one in sorted(world.resources.items()):
        used = one.busy / ticks / one.capacity
        wait_h = one.waited_ticks * world.tick_h / max(1, one.waits)
        resources[name] = {
            "capacity": one.capacity,
            "utilisation": round(used, 4),
            "waits": one.waits,
            "mean_wait_h": round(wait_h, 3),
            "longest_line": one.longest,
            "bottleneck": used > BUSY or (wait_h > LONG_WAIT_H and one.waits >= len(meter.days) / SELDOM_DAYS),
        }
    roles = {}
    for name, role in sorted(meter.roles.items()):
        busy = 1 - _share(role.idle, role.ticks)
        roles[name] = {
            "agents": len(world.by_role[name]),
            "utilisation": round(busy, 4),
            "blocked_share": _share(role.blocked, role.ticks),
            "mean_queue": round(role.queued / max(1, role.ticks), 3),
            "mean_reviews": round(role.reviews / max(1, role.ticks), 3),
            "bottleneck": busy > BUSY and role.queued / max(1, role.ticks) > 2,
        }
    return {"resources": resources, "roles": roles}


def _slots(meter: Meter) -> list[int]:
    """Return the minutes of a day at which somebody decides."""
    scenario = meter.world.scenario
    starts = {scenario.shifts[role.shift] for role in scenario.roles.values()}
    minutes = [int(text[:2]) * 60 + int(text[3:]) for text in starts]
    return sorted({start + tick * scenario.tick_minutes for start in minutes for tick in range(scenario.ticks_per_day)})


def _day(day: Any) -> dict[str, Any]:
    told = {NAMES[tier]: day.tiers[tier] for tier in range(TIERS)}
    return told | {"cached": day.cached, "cost_usd": round(day.cost_usd, 6), "waiting": day.waiting}


def _counts(counter: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counter.items()))


def _share(part: float, whole: float) -> float:
    return round(part / whole, 6) if whole else 0.0
