"""Which hosts this request may reach: what its caller, its channel, its key and the configuration say of its data."""

from __future__ import annotations

from prefrontal.config.reach import reach_of
from prefrontal.config.schema_egress import Egress
from prefrontal.errors import EgressDenied, InvalidRequest
from prefrontal.execute.egress import check_reach
from prefrontal.machine.run import Run


def settle_reach(run: Run) -> None:
    """Write into `run` the classes of its data and the hosts it may reach. Needs the channel of an automatic request.

    Raises:
        InvalidRequest: the caller names a class that is not configured. EgressDenied: the key has one.
    """
    egress = run.world.config.egress
    run.data_classes = classes = _classes(run, egress)
    if not classes and not egress.by_key and egress.mode is None and egress.allow is None:
        return
    run.reach = reach_of(egress, classes, (run.context.key_id, run.payer.key_name))


def check_named_reach(run: Run) -> None:
    """Return when the models chosen by name may be reached. Raises EgressDenied."""
    if run.reach is not None:
        for card in run.cards:
            check_reach(run.reach, card.base_url)


def _classes(run: Run, egress: Egress) -> tuple[str, ...]:
    """Return every class somebody names, each once: none of them loosens what another demands."""
    hint, named = run.request.hints.data_class, run.context.data_classes
    grant = run.context.grant
    own = grant.data_class if grant is not None else None
    channels = run.world.config.routing.channels
    wanted = (hint, *named) if hint else named
    for name in wanted:
        if name not in egress.by_data_class:
            known = ", ".join(sorted(egress.by_data_class)) or "none"
            raise InvalidRequest(f"There is no data class '{name}'.", param="x_prefrontal.data_class", hint=f"Known: {known}.")
    if own is not None and own not in egress.by_data_class:
        raise EgressDenied(
            f"The data class '{own}' of this key is not configured, so nothing may be sent anywhere.",
            hint="Define it under egress.by_data_class, or change the key.",
        )
    channel = channels.get(_channel(run))
    found = [*wanted, own, channel.data_class if channel is not None else None]
    classes = tuple(dict.fromkeys([name for name in found if name is not None]))
    return classes or ((egress.data_class,) if egress.data_class is not None else ())


def _channel(run: Run) -> str:
    """Return the channel whose class holds; a request that names its model is in the one it asks for, too."""
    if run.asked is None or run.asked.kind != "named":
        return run.channel
    grant = run.context.grant
    return run.request.hints.channel or run.context.channel or (grant.channel if grant is not None else None) or run.channel
