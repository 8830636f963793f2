"""Validators of other packages, by entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import Choice
from prefrontal.contracts.verdict import Verdict
from prefrontal.providers.registry import BrokenPlugin

ENTRY_POINT_GROUP = "prefrontal.validators"

BUILTIN = ("schema", "format", "tools")
"""The validators that ship with the package."""

Validator = Callable[[ChatRequest, Choice], Verdict]
"""A pure function from a request and one choice of its answer to a verdict."""


class DiscoveredValidators(msgspec.Struct, frozen=True, kw_only=True):
    """What the entry points gave: validators by the entry point's name, and those that are broken."""

    by_name: dict[str, Validator] = {}
    broken: tuple[BrokenPlugin, ...] = ()


def discover_validators(points: Iterable[EntryPoint] | None = None) -> DiscoveredValidators:
    """Load the validators other packages offer in the entry-point group ``prefrontal.validators``.

    Each entry point names the function itself; the entry point's name is the validator's. A broken one, and one that takes the
    name of another, is reported in `broken` and stops nobody. `points` replaces the installed entry points, for tests.
    """
    by_name: dict[str, Validator] = {}
    broken: list[BrokenPlugin] = []
    for point in entry_points(group=ENTRY_POINT_GROUP) if points is None else points:
        try:
            validator = point.load()
        except Exception as error:  # noqa: BLE001 - an edge: foreign code may fail in any way and must not take us along
            broken.append(BrokenPlugin(name=point.name, target=point.value, reason=f"{type(error).__name__}: {error}"))
            continue
        reason = None
        if not callable(validator) or isinstance(validator, type):
            reason = f"{type(validator).__name__} is not a function (request, choice) -> Verdict."
        elif point.name in BUILTIN:
            reason = f"The name {point.name!r} belongs to a validator that ships with the package."
        elif point.name in by_name:
            reason = f"The validator {point.name!r} is already offered by another entry point."
        if reason is None:
            by_name[point.name] = validator
        else:
            broken.append(BrokenPlugin(name=point.name, target=point.value, reason=reason))
    return DiscoveredValidators(by_name=by_name, broken=tuple(broken))
