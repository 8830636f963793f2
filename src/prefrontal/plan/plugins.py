"""Policies of other packages, by entry point."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

import msgspec

from prefrontal.plan.policies import Policy, builtin_policies
from prefrontal.providers.registry import BrokenPlugin

ENTRY_POINT_GROUP = "prefrontal.policies"


class DiscoveredPolicies(msgspec.Struct, frozen=True, kw_only=True):
    """What the entry points gave: policies by the entry point's name, and those that are broken."""

    by_name: dict[str, Policy] = {}
    broken: tuple[BrokenPlugin, ...] = ()


def discover_policies(points: Iterable[EntryPoint] | None = None) -> DiscoveredPolicies:
    """Load the policies other packages offer in the entry-point group ``prefrontal.policies``.

    Each entry point names the policy itself, a pure function ``(eligible cards, PlanInputs) -> list[Scored]``; the entry
    point's name is the policy's. A broken one, and one that takes the name of another, is reported in `broken` and stops
    nobody. `points` replaces the installed entry points, for tests.
    """
    by_name: dict[str, Policy] = {}
    broken: list[BrokenPlugin] = []
    shipped = builtin_policies()
    for point in entry_points(group=ENTRY_POINT_GROUP) if points is None else points:
        try:
            policy = point.load()
        except Exception as error:  # noqa: BLE001 - an edge: foreign code may fail in any way and must not take us along
            broken.append(BrokenPlugin(name=point.name, target=point.value, reason=f"{type(error).__name__}: {error}"))
            continue
        reason = None
        if not callable(policy) or isinstance(policy, type):
            reason = f"{type(policy).__name__} is not a function (eligible, inputs) -> list[Scored]."
        elif point.name in shipped:
            reason = f"The name {point.name!r} belongs to a policy that ships with the package."
        elif point.name in by_name:
            reason = f"The policy {point.name!r} is already offered by another entry point."
        if reason is None:
            by_name[point.name] = policy
        else:
            broken.append(BrokenPlugin(name=point.name, target=point.value, reason=reason))
    return DiscoveredPolicies(by_name=by_name, broken=tuple(broken))
