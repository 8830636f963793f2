"""Gathers what a policy may look at, at one moment."""

from __future__ import annotations

import msgspec

from prefrontal.chat.request import ChatRequest, text_of
from prefrontal.config.schema_routing import Channel
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.errors import InvariantBroken
from prefrontal.machine.money import allowances
from prefrontal.machine.parts import Parts
from prefrontal.machine.run import Run
from prefrontal.plan.inputs import PlanInputs, Stay, ToolOffer

SESSION_CHARACTERS = 2000
"""How much of the first user message tells conversations apart (assumed)."""


def session_of(run: Run) -> str | None:
    """Return what identifies the conversation: the caller's session, else the start of a conversation of several turns."""
    explicit = run.request.hints.session or run.context.session
    if explicit:
        return explicit
    messages = run.request.messages
    first = next((m for m in messages if m.role == "user"), None)
    if first is None:
        return None
    return f"{run.context.key_id}\n{hash(text_of(messages[0])[:SESSION_CHARACTERS])}\n{hash(text_of(first)[:SESSION_CHARACTERS])}"


def plan_inputs(run: Run, parts: Parts, *, offer: ToolOffer | None, turn: int) -> PlanInputs:
    """Return the snapshot for this request now."""
    if run.assessment is None:
        raise InvariantBroken("A plan needs an assessment.")
    world, request = run.world, run.request
    routing = world.config.routing
    asked = run.effort if run.effort.origin == "caller" else None
    return PlanInputs(
        assessment=run.assessment,
        cards=world.registry.cards,
        runtime={} if offer is not None else _conditions(world.registry.cards.values(), parts),
        roles=world.registry.roles,
        routing=routing,
        channel_name=run.channel,
        channel=routing.channels[run.channel],
        hints=request.hints,
        role=run.asked.role if run.asked is not None else None,
        asked_effort=asked,
        must_think=asked is not None and "thinking" in request.hints.needs,
        caller_cap=request.max_output_tokens,
        stay=None if offer is not None else _stay(run, parts),
        offer=offer,
        turn=turn,
        now_s=run.started_s,
        reach=run.reach,
        allowances={} if offer is not None or run.purse is None else allowances(run),
    )


def _stay(run: Run, parts: Parts) -> Stay | None:
    affinity = run.world.config.routing.affinity
    if not affinity.enabled:
        return None
    run.session = session_of(run)
    explicit = run.request.hints.session or run.context.session
    if run.session is None or (not explicit and len(run.request.messages) < 3):
        return None  # a first turn has nothing cached yet
    return parts.sessions.find(run.session, parts.clock.monotonic(), affinity.ttl_s)


def _conditions(cards: object, parts: Parts) -> dict[str, ModelRuntime]:
    now = parts.clock.monotonic()
    ready = parts.ready()
    exhausted: bool | None = None
    found: dict[str, ModelRuntime] = {}
    for card in cards:  # type: ignore[attr-defined]  # a view of the registry's cards
        condition = parts.runtime.snapshot(card, now, ready=ready.get(card.id))
        if _metered(card):
            if exhausted is None:
                exhausted = parts.meter.exhausted(parts.clock.now())
            unpriced = card.price.output_usd is None
            if exhausted or unpriced:
                condition = msgspec.structs.replace(condition, spent_out=True)
        found[card.id] = condition
    return found


def _metered(card: ModelCard) -> bool:
    return card.origin == "discovered" and not card.self_hosted


def with_channel(request: ChatRequest, channel: Channel) -> tuple[ChatRequest, int | None]:
    """Return the request with the channel's defaults where the caller gave nothing, and the output cap that is then ours."""
    cap = channel.max_output_tokens if request.max_output_tokens is None else None
    if channel.temperature is not None and request.sampling.temperature is None:
        sampling = msgspec.structs.replace(request.sampling, temperature=channel.temperature)
        request = msgspec.structs.replace(request, sampling=sampling)
    return request, cap
