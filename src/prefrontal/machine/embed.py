"""Embeddings through the same states as a chat request that names its model."""

from __future__ import annotations

import asyncio

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.embeddings import EmbeddingsRequest, EmbeddingsResponse
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import url_for
from prefrontal.contracts.record import RequestRecord
from prefrontal.errors import CapabilityMissing, InvariantBroken, NoModelAvailable, PrefrontalError
from prefrontal.execute.call import Call
from prefrontal.execute.egress import check_reach
from prefrontal.ledger.standing import RateStanding
from prefrontal.machine.admission import admit
from prefrontal.machine.context import CallContext, World
from prefrontal.machine.machine import Machine
from prefrontal.machine.money import settled
from prefrontal.machine.names import read_name
from prefrontal.machine.reach import settle_reach
from prefrontal.machine.run import Run
from prefrontal.machine.states import State

ROLE = "embedding"
STAND_IN = "abcd "
"""What a token given by number weighs in an estimate: about one token of text."""


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """The vectors with their record."""

    response: EmbeddingsResponse
    record: RequestRecord
    standing: tuple[RateStanding, ...] = ()


async def embed(machine: Machine, request: EmbeddingsRequest, context: CallContext, world: World) -> Embedded:
    """Return the vectors; `auto` takes the models of the role ``embedding``, then any that embeds, best priority first.

    Vectors of different models do not compare, so a named model never falls back; `auto` stays on one model while it works.

    Raises:
        PrefrontalError: after writing the record of the failure.
    """
    run = machine.begin(_as_chat(request), context, world, streaming=False)
    try:
        if run.purse is not None:
            await run.purse.enter()
        if machine.parts.door is not None:
            await admit(run, machine.parts.door)
        run.cards = _cards(request.model, world)
        settle_reach(run)
        run.cards = _reachable(run)
        run.to(State.LLM_CALL)
        call = Call(
            request=run.request,
            cards=run.cards,
            effort=run.effort,
            limits=world.config.limits,
            embeddings=request,
            purse=run.purse,
            trace=run.propagation(always=machine.parts.tracing),
            reach=run.reach,
            deadline=run.deadline,
            who=run.context.key_id,
            priority=run.priority,
        )
        response, card = await machine.parts.executor.embed(call, run.journal)
    except PrefrontalError as error:
        error.details.setdefault("trace", run.id)
        error.standing = run.standing()
        machine.finish(run, "error", error)
        raise
    except asyncio.CancelledError as gone:
        machine.give_up(run, gone)
        raise
    except BaseException as error:
        machine.finish(run, "error", InvariantBroken(f"{type(error).__name__} inside the gateway."))
        raise
    record = _completed(machine, run, card)
    if run.purse is not None:
        await settled(run)
    return Embedded(response=response, record=record, standing=run.standing())


def _reachable(run: Run) -> tuple[ModelCard, ...]:
    """Return the models that this request may reach. Raises EgressDenied when there is none."""
    if run.reach is None:
        return run.cards
    able = tuple([card for card in run.cards if run.reach.refusal(url_for(run.reach, card)) is None])
    if not able:
        check_reach(run.reach, run.cards[0].base_url)
    return able


def _completed(machine: Machine, run: Run, card: ModelCard) -> RequestRecord:
    run.model, run.answered_by = card.id, "model"
    run.to(State.SYNTHESIS)
    run.to(State.COMPLETED)
    return machine.finish(run, "ok")


def _cards(model: str, world: World) -> tuple[ModelCard, ...]:
    asked = read_name(model, world.registry, frozenset(world.config.routing.channels))
    if asked.card is not None:
        if asked.card.can("embedding") is False:
            raise CapabilityMissing(f"'{asked.card.id}' does not make embeddings.", param="model")
        return (asked.card,)
    registry = world.registry
    members = registry.role(asked.role or ROLE)
    able = sorted((card for card in registry.enabled if card.can("embedding")), key=lambda card: (-card.priority, card.id))
    cards = tuple(dict.fromkeys([card.id for card in (*members, *(able if asked.role is None else ()))]))
    if not cards:
        raise NoModelAvailable(
            "No model that makes embeddings is configured or found.",
            hint="Give one the role 'embedding', or put an embedding .gguf file into the models folder.",
        )
    return tuple([registry.cards[name] for name in cards])


def _as_chat(request: EmbeddingsRequest) -> ChatRequest:
    texts = [item if isinstance(item, str) else STAND_IN * len(item) for item in request.inputs]
    message = Message(role="user", blocks=tuple([Text(text=text) for text in texts]), form="parts")
    return ChatRequest(model=request.model, messages=(message,), user=request.user, dialect="embeddings")
