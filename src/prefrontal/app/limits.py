"""Applies the bounds of a configuration to what lives longer than one generation of it."""

from __future__ import annotations

from prefrontal.app.library import Prefrontal
from prefrontal.clock import Clock
from prefrontal.config.schema_service import Limits
from prefrontal.execute.runtime import Runtime


def runtime_of(limits: Limits, clock: Clock) -> Runtime:
    """Return what is known of models while they run: nothing yet."""
    return Runtime(
        default_limit=limits.concurrency_per_model,
        default_queue=limits.queue_per_model,
        clock=clock,
        shedding=limits.shedding,
    )


def apply_limits(pf: Prefrontal, *, changed: bool) -> None:
    """Let the bounds of the configuration in use hold. `changed`: it was read anew, so keys that were refused may be good now."""
    limits = pf.config.limits
    pf.runtime.configure(
        pf.registry.cards,
        default_limit=limits.concurrency_per_model,
        default_queue=limits.queue_per_model,
        shedding=limits.shedding,
    )
    door = pf.machine.parts.door
    if door is not None:
        door.configure(limits)
    if changed:
        pf.runtime.parking.clear()
