"""Typed decisions through the same states as a request that names its model; the decider asks, and never without an answer."""

from __future__ import annotations

import asyncio

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import NO_HINTS, ChatRequest, Hints, Message
from prefrontal.contracts.decision import DecisionAnswer, DecisionRequest, DecisionResponse
from prefrontal.contracts.record import RequestRecord
from prefrontal.decisions.decider import Decider
from prefrontal.decisions.state import state_text
from prefrontal.decisions.types import Types
from prefrontal.errors import InvariantBroken, PrefrontalError
from prefrontal.ledger.purse import Purse
from prefrontal.ledger.standing import RateStanding
from prefrontal.machine.admission import admit
from prefrontal.machine.context import CallContext, World
from prefrontal.machine.deciding import Sitting
from prefrontal.machine.machine import Machine
from prefrontal.machine.money import settled
from prefrontal.machine.reach import settle_reach
from prefrontal.machine.run import Run
from prefrontal.machine.states import State

RULE = "rule"
"""What stands in the place of a model's name where no model answered."""


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
    run = machine.begin(as_chat(request, text), context, world, streaming=False)
    run.decided = request
    try:
        if run.purse is not None:
            await run.purse.enter()
        if machine.parts.door is not None:
            await admit(run, machine.parts.door)
        settle_reach(run)
        sitting = await Sitting.of(machine, decider, run, request)
        try:
            work = sitting.work(request, types, run.request, text, run.journal.arrived)
            run.cards = work.cards
            run.to(State.LLM_CALL)
            answers = await decider.decide(work)
        finally:
            sitting.close()
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
    return await completed(machine, run, answers, sitting.purse)


async def completed(machine: Machine, run: Run, answers: tuple[DecisionAnswer, ...], purse: Purse | None) -> Decided:
    """End a run with its answers; return them with their record, once what they cost is in the books."""
    models = [answer.model for answer in answers if answer.model is not None]
    run.model = models[0] if models else RULE
    run.answered_by = "model" if models else "rule"
    if answers and all(answer.cached for answer in answers):
        run.answered_by = "cache"
    run.decisions = answers if run.keeps_content else tuple([_discreet(answer) for answer in answers])
    run.to(State.SYNTHESIS)
    run.to(State.COMPLETED)
    record = machine.finish(run, "ok")
    if run.purse is not None or purse is not None:
        await settled(run, purse)
    response = DecisionResponse(model=run.model, answers=answers, usage=record.usage)
    return Decided(response=response, record=record, standing=run.standing())


def _discreet(answer: DecisionAnswer) -> DecisionAnswer:
    """Return the answer without words of the caller's: those of a registered type are the configuration's, and stay."""
    if answer.type is not None:
        return answer
    numbers = tuple([str(n) for n in range(len(answer.values))])
    chosen = numbers[answer.values.index(answer.chosen)]
    return msgspec.structs.replace(answer, id=str(answer.index), name=None, values=numbers, chosen=chosen)


def as_chat(request: DecisionRequest, text: str) -> ChatRequest:
    """Return a state as a chat request: for estimates, and for what holds for every request."""
    message = Message(role="user", blocks=(Text(text=text), *[one.image for one in request.media]))
    hints = NO_HINTS
    if request.session or request.data_class or request.priority:
        hints = Hints(session=request.session, data_class=request.data_class, priority=request.priority)
    return ChatRequest(
        model=request.model, messages=(message,), hints=hints, metadata=request.metadata, dialect=f"decisions/{request.dialect}"
    )
