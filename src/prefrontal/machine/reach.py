"""Which hosts this request may reach: what its caller, its channel, its key and the configuration say of its data."""

from __future__ import annotations

from prefrontal.chat.request import ChatRequest, EngramWish
from prefrontal.config.reach import reach_of
from prefrontal.config.schema import Config
from prefrontal.config.schema_egress import Egress
from prefrontal.contracts.reach import url_for
from prefrontal.errors import EgressDenied, InvalidRequest
from prefrontal.execute.egress import check_reach
from prefrontal.machine.context import CallContext
from prefrontal.machine.knowledge import classes_in, wished
from prefrontal.machine.run import Run


def settle_reach(run: Run) -> tuple[tuple[EngramWish, ...], bool]:
    """Write into `run` the classes of its data and the hosts it may reach. Needs the channel of an automatic request.

    Return the engrams it is to be answered from, and whether its caller named them: what they hold is data of the request.

    Raises:
        InvalidRequest: the caller names a class that is not configured. EgressDenied: the key has one.
    """
    egress = run.world.config.egress
    within = _within(run.request, run.context, run.channel)
    wanted = wished(run.request, run.context, run.world.config, within)
    classes = run.data_classes = _checked(classes_of(run.request, run.context, run.world.config, run.channel), run, egress)
    if classes or egress.by_key or egress.mode is not None or egress.allow is not None:
        run.reach = reach_of(egress, classes, (run.context.key_id, run.payer.key_name))
    return wanted


def check_named_reach(run: Run) -> None:
    """Return when the models chosen by name may be reached. Raises EgressDenied."""
    if run.reach is not None:
        for card in run.cards:
            check_reach(run.reach, url_for(run.reach, card))


def classes_of(request: ChatRequest, context: CallContext, config: Config, channel: str) -> tuple[str, ...]:
    """Return every class somebody names, each once: none of them loosens what another demands.

    channel: of an automatic request; one that names its model is in the channel it asks for, too.
    """
    grant, hints = context.grant, request.hints
    within = _within(request, context, channel)
    found = config.routing.channels.get(within)
    own = grant.data_class if grant is not None else None
    named = (hints.data_class, *context.data_classes, own, found.data_class if found is not None else None)
    if config.knowledge.engrams:
        named = (*named, *classes_in(wished(request, context, config, within)[0], config))
    classes = tuple(dict.fromkeys([name for name in named if name]))
    return classes or ((config.egress.data_class,) if config.egress.data_class is not None else ())


def _within(request: ChatRequest, context: CallContext, channel: str) -> str:
    """Return the channel a request is in: the one it asks for, its key's, or else `channel`."""
    grant = context.grant
    asked = request.model.removeprefix("auto/") if request.model.startswith("auto/") else request.hints.channel or context.channel
    return asked or (grant.channel if grant is not None else None) or channel


def _checked(classes: tuple[str, ...], run: Run, egress: Egress) -> tuple[str, ...]:
    """Return the classes. Raises InvalidRequest, EgressDenied: one is not configured, so nobody knows where it may go."""
    grant = run.context.grant
    for name in classes:
        if name in egress.by_data_class:
            continue
        if grant is not None and name == grant.data_class:
            raise EgressDenied(
                f"The data class '{name}' of this key is not configured, so nothing may be sent anywhere.",
                hint="Define it under egress.by_data_class, or change the key.",
            )
        known = ", ".join(sorted(egress.by_data_class)) or "none"
        raise InvalidRequest(f"There is no data class '{name}'.", param="x_prefrontal.data_class", hint=f"Known: {known}.")
    return classes
