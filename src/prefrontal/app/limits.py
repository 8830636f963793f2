"""Applies the bounds of a configuration to what lives longer than one generation of it."""

from __future__ import annotations

from collections.abc import Mapping

from prefrontal.app.library import Prefrontal
from prefrontal.clock import Clock
from prefrontal.config.registry import Registry
from prefrontal.config.reload import ConfigHolder
from prefrontal.config.schema_service import Limits
from prefrontal.execute.probing import Probing
from prefrontal.execute.runtime import Runtime
from prefrontal.execute.transport.base import Transport
from prefrontal.providers.profile import Profile
from prefrontal.providers.registry import Providers


def runtime_of(limits: Limits, clock: Clock) -> Runtime:
    """Return what is known of models while they run: nothing yet."""
    return Runtime(
        default_limit=limits.concurrency_per_model,
        default_queue=limits.queue_per_model,
        clock=clock,
        shedding=limits.shedding,
    )


async def keep_probing(
    transport: Transport,
    providers: Providers,
    profiles: Mapping[str, Profile],
    holder: ConfigHolder[Registry],
    runtime: Runtime,
    clock: Clock,
) -> None:
    """Ask resting upstreams whether they are there, by the configuration of the moment, until cancelled."""
    probing = Probing(
        transport=transport,
        providers=providers,
        profiles=profiles,
        runtime=runtime,
        clock=clock,
        cards=lambda: holder.current.registry.enabled,
        settings=lambda: holder.current.config.limits.breaker,
    )
    await probing.keep()


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
