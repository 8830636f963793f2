"""Gathers what a policy may look at, at one moment."""

from __future__ import annotations

from typing import Any

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
from prefrontal.plan.prefixes import prefixes_of

_EMPTY: dict[str, Any] = {}

SESSION_CHARACTERS = 2000
"""How much of the first user message tells conversations apart (assumed)."""


def named_session(run: Run) -> str | None:
    """Return the session the caller names; a ``prompt_cache_key`` is one, too: it says what shares a beginning."""
    request = run.request
    named = request.hints.session or run.context.session or (request.extra or _EMPTY).get("prompt_cache_key")
    return named if isinstance(named, str) else None


def session_of(run: Run) -> str | None:
    """Return what identifies the conversation: the caller's session, else the start of a conversation of several turns."""
    explicit = named_session(run)
    if explicit:
        return explicit
    messages = run.given.messages
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
    return stay_of(run, parts, affinity.ttl_s)


def stay_of(run: Run, parts: Parts, ttl_s: float) -> Stay | None:
    """Return where the conversation, or a request that begins like this one, was read last."""
    run.session = session_of(run)
    now = parts.clock.monotonic()
    if run.session is not None and (named_session(run) or len(run.request.messages) >= 3):  # a first turn has nothing cached yet
        found = parts.sessions.find(run.session, now, ttl_s)
        if found is not None:
            return found
    if run.prefixes is None:
        run.prefixes = prefixes_of(run.request, run.context.key_id or "")
    return parts.prefixes.find(run.prefixes, now, ttl_s) if run.prefixes else None


def note_reader(run: Run, parts: Parts, model: str, tokens: int) -> None:
    """Remember who read this request: whoever goes on from it finds its beginning cached there."""
    session = run.session or session_of(run)
    last = run.journal.last()
    deployment = None if last is None else last.card.deployment
    now = parts.clock.monotonic()
    if session is not None:
        parts.sessions.note(session, model, tokens, now, deployment)
    if run.prefixes:
        parts.prefixes.note(run.prefixes, model, deployment, tokens, now)


def preferred_place(run: Run, parts: Parts) -> str | None:
    """Return the deployment of the first model that has the beginning cached, as far as is known."""
    affinity = run.world.config.routing.affinity
    if not run.cards[0].deployments or not affinity.enabled:
        return None
    stay = stay_of(run, parts, affinity.ttl_s)
    return stay.deployment if stay is not None and stay.model == run.cards[0].id else None


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
