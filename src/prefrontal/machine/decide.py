"""Typed decisions through the same states as a request that names its model; the decider asks, and never without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import NO_HINTS, ChatRequest, Hints, Message
from prefrontal.contracts.decision import DecisionAnswer, DecisionRequest, DecisionResponse
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import url_for
from prefrontal.contracts.record import RequestRecord
from prefrontal.decisions.asks import Shown
from prefrontal.decisions.decider import Decider
from prefrontal.decisions.state import state_text
from prefrontal.decisions.types import DecisionType, Types
from prefrontal.decisions.work import Asked, Work
from prefrontal.errors import CapabilityMissing, InvariantBroken, PrefrontalError
from prefrontal.execute.call import Call
from prefrontal.execute.egress import check_reach
from prefrontal.ledger.standing import RateStanding
from prefrontal.machine.admission import admit
from prefrontal.machine.context import CallContext, World
from prefrontal.machine.fit import CHARACTERS_PER_TOKEN_AT_LEAST, SURE, too_long
from prefrontal.machine.machine import Machine
from prefrontal.machine.money import settled
from prefrontal.machine.names import adhoc_in, read_name
from prefrontal.machine.reach import settle_reach
from prefrontal.machine.run import Run
from prefrontal.machine.states import State
from prefrontal.plan.musts import chats
from prefrontal.plan.tokens import estimate_request

ROLE = "decision"
RULE = "rule"
"""What stands in the place of a model's name where no model answered."""

MOST_MODELS = 3
"""Models that ``auto`` asks one after another before the rules answer (assumed: a deadline is over after that)."""

QUESTION_TOKENS = 256
"""What a question adds to the state in an estimate (assumed: instructions and a dozen options)."""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """The answers with their record."""

    response: DecisionResponse
    record: RequestRecord
    standing: tuple[RateStanding, ...] = ()


async def decide(
    machine: Machine, decider: Decider, types: Types, request: DecisionRequest, context: CallContext, world: World
) -> Decided:
    """Return an answer to every question, a rule's where no model gives one.

    A named model is the only one asked; `auto` asks those of the questions' types, else those of the role ``decision``, else any
    that can, best priority first.

    Raises:
        PrefrontalError: the request is wrong, or may not be made; after writing the record of the failure.
    """
    text = state_text(request)
    run = machine.begin(_as_chat(request, text), context, world, streaming=False)
    try:
        if run.purse is not None:
            await run.purse.enter()
        if machine.parts.door is not None:
            await admit(run, machine.parts.door)
        settle_reach(run)
        asked = tuple([Asked(question=question, type=types.of(question)) for question in request.questions])
        run.cards = _fitting(run, _cards(run, [one.type for one in asked], machine), len(text))
        run.to(State.LLM_CALL)
        answers = await decider.decide(_work(run, request, asked, text, machine))
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
    return await _completed(machine, run, answers)


def _work(run: Run, request: DecisionRequest, asked: tuple[Asked, ...], text: str, machine: Machine) -> Work:
    config = run.world.config
    deadline = run.journal.arrived + min([one.type.deadline_s for one in asked])
    if request.deadline_s is not None:
        deadline = run.journal.arrived + request.deadline_s
    if run.deadline is not None:
        deadline = min(deadline, run.deadline)
    call = Call(
        request=run.request,
        cards=(),
        effort=run.effort,
        limits=config.limits,
        deadline=deadline,
        purse=run.purse,
        trace=run.propagation(always=machine.parts.tracing),
        reach=run.reach,
        who=run.context.key_id,
        priority=run.priority,
    )
    return Work(
        request=request,
        asked=asked,
        cards=run.cards,
        chat=run.request,
        shown=Shown(text, tuple([one.image for one in request.media])),
        call=call,
        journal=run.journal,
        parallel=config.decisions.parallel,
        without_rule=config.decisions.without_rule,
    )


async def _completed(machine: Machine, run: Run, answers: tuple[DecisionAnswer, ...]) -> Decided:
    models = [answer.model for answer in answers if answer.model is not None]
    run.model = models[0] if models else RULE
    run.answered_by = "model" if models else "rule"
    if answers and all(answer.cached for answer in answers):
        run.answered_by = "cache"
    run.decisions = answers if run.keeps_content else tuple([_discreet(answer) for answer in answers])
    run.to(State.SYNTHESIS)
    run.to(State.COMPLETED)
    record = machine.finish(run, "ok")
    if run.purse is not None:
        await settled(run)
    response = DecisionResponse(model=run.model, answers=answers, usage=record.usage)
    return Decided(response=response, record=record, standing=run.standing())


def _discreet(answer: DecisionAnswer) -> DecisionAnswer:
    """Return the answer without words of the caller's: those of a registered type are the configuration's, and stay."""
    if answer.type is not None:
        return answer
    numbers = tuple([str(n) for n in range(len(answer.values))])
    chosen = numbers[answer.values.index(answer.chosen)]
    return msgspec.structs.replace(answer, id=str(answer.index), name=None, values=numbers, chosen=chosen)


# -- which models ------------------------------------------------------------------------------------------------------


def _cards(run: Run, types: Sequence[DecisionType], machine: Machine) -> tuple[ModelCard, ...]:
    """Return the models to ask, best first; none where `auto` finds none. Raises UnknownModel, CapabilityMissing."""
    world, model = run.world, run.request.model
    registry = world.registry
    asked = read_name(model, registry, frozenset(world.config.routing.channels), adhoc_in(world, machine.parts.adhoc))
    if asked.card is not None:
        if not _can_decide(asked.card):
            raise CapabilityMissing(f"'{asked.card.id}' makes embeddings and cannot decide.", param="model")
        if run.reach is not None:
            check_reach(run.reach, url_for(run.reach, asked.card))
        return (asked.card,)
    if asked.role is not None:
        found = list(registry.role(asked.role))
    else:
        own = dict.fromkeys([name for one in types for name in one.models])
        found = [registry.cards[name] for name in own if name in registry.cards and registry.cards[name].enabled]
        found = found or list(registry.role(ROLE)) or _able(registry.enabled)
    if run.reach is not None:
        found = [card for card in found if run.reach.refusal(url_for(run.reach, card)) is None]
    return tuple(found[:MOST_MODELS])


def _able(cards: Sequence[ModelCard]) -> list[ModelCard]:
    """Return the models that may be chosen and can decide: those with a route for it first, then by priority."""
    able = [card for card in cards if card.auto and _can_decide(card)]
    return sorted(able, key=lambda card: (-card.priority, not _has_route(card), not card.self_hosted, card.id))


def _can_decide(card: ModelCard) -> bool:
    return _has_route(card) or chats(card)


def _has_route(card: ModelCard) -> bool:
    return card.decisions is not None and card.decisions.dialect is not None


def _fitting(run: Run, cards: tuple[ModelCard, ...], characters: int) -> tuple[ModelCard, ...]:
    """Return the models whose window surely holds the state. Raises ContextTooLong when it is too long for each of them."""
    narrow = [card for card in cards if card.context_tokens and characters >= card.context_tokens * CHARACTERS_PER_TOKEN_AT_LEAST]
    if not narrow:
        return cards
    tokens = estimate_request(run.request) + QUESTION_TOKENS
    fitting = tuple([card for card in cards if card.context_tokens is None or tokens <= card.context_tokens * SURE])
    if not fitting:
        widest = max(cards, key=lambda card: card.context_tokens or 0)
        error = too_long(widest.id, tokens, widest.context_tokens or 0, run.world.registry)
        error.param = "state"
        raise error
    return fitting


def _as_chat(request: DecisionRequest, text: str) -> ChatRequest:
    message = Message(role="user", blocks=(Text(text=text), *[one.image for one in request.media]))
    hints = NO_HINTS
    if request.session or request.data_class or request.priority:
        hints = Hints(session=request.session, data_class=request.data_class, priority=request.priority)
    return ChatRequest(
        model=request.model, messages=(message,), hints=hints, metadata=request.metadata, dialect=f"decisions/{request.dialect}"
    )
