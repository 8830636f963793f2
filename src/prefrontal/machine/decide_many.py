"""Many decisions at once: one record, one trace and one door for a group of them, everything else for each by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from prefrontal.contracts.decision import DecisionAnswer, DecisionRequest
from prefrontal.contracts.record import RequestRecord
from prefrontal.decisions.decider import Decider
from prefrontal.decisions.state import state_text
from prefrontal.decisions.types import Types
from prefrontal.decisions.work import Work
from prefrontal.errors import InvariantBroken, PrefrontalError
from prefrontal.machine.admission import admit
from prefrontal.machine.context import CallContext, World
from prefrontal.machine.decide import as_chat, completed
from prefrontal.machine.deciding import Sitting
from prefrontal.machine.machine import Machine
from prefrontal.machine.reach import settle_reach
from prefrontal.machine.states import State

Answers = tuple[DecisionAnswer, ...] | PrefrontalError
"""What came of one request: an answer a question, or why it was wrong."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a group: for each request its answers or its error, in order, and the record of all."""

    answers: tuple[Answers, ...]
    record: RequestRecord


async def decide_group(
    machine: Machine,
    decider: Decider,
    types: Sequence[Types],
    requests: Sequence[DecisionRequest],
    context: CallContext,
    world: World,
    *,
    concurrency: int,
) -> Group:
    """Return what comes of requests of one caller, `concurrency` of them at once.

    All must name the same run, session, data class and priority, as they share what pays for them and where they may go; each has
    its own deadline, from its own turn. An error of one request is its own.

    Raises:
        PrefrontalError: the group may not be made, or its record cannot be; after writing the record of the failure.
    """
    run = machine.begin(as_chat(requests[0], f"{len(requests)} decisions"), context, world, streaming=False)
    done: list[Answers | None] = [None] * len(requests)
    try:
        if run.purse is not None:
            await run.purse.enter()
        if machine.parts.door is not None:
            await admit(run, machine.parts.door)
        settle_reach(run)
        sitting = await Sitting.of(machine, decider, run, requests[0])
        run.to(State.LLM_CALL)
        try:
            await _all(sitting, decider, list(zip(types, requests, strict=True)), done, concurrency)
        finally:
            sitting.close()
    except PrefrontalError as error:
        error.details.setdefault("trace", run.id)
        machine.finish(run, "error", error)
        raise
    except asyncio.CancelledError as gone:
        machine.give_up(run, gone)
        raise
    except BaseException as error:
        machine.finish(run, "error", InvariantBroken(f"{type(error).__name__} inside the gateway."))
        raise
    answers = tuple([one if one is not None else InvariantBroken("A decision has no answer.") for one in done])
    finished = await completed(machine, run, _numbered(answers), sitting.purse)
    return Group(answers=answers, record=finished.record)


async def _all(
    sitting: Sitting,
    decider: Decider,
    asked: Sequence[tuple[Types, DecisionRequest]],
    done: list[Answers | None],
    concurrency: int,
) -> None:
    """Answer each request; what the cache knows at once, the others by so many workers."""
    slow: list[tuple[int, Work]] = []
    for place, (types, request) in enumerate(asked):
        text = state_text(request)
        try:
            work = sitting.work(request, types, as_chat(request, text), text)
        except PrefrontalError as error:
            done[place] = error
            continue
        known = decider.known(work)
        if known is not None:
            done[place] = known
        else:
            slow.append((place, work))
    turns = iter(slow)

    async def worker() -> None:
        for place, work in turns:
            sitting.start(work)
            try:
                done[place] = await decider.decide(work)
            except PrefrontalError as error:
                done[place] = error

    if len(slow) == 1:
        await worker()
        return
    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(slow))):
            group.create_task(worker())


def _numbered(answers: Iterable[Answers]) -> tuple[DecisionAnswer, ...]:
    """Return the answers as the record holds them: each under the place of its request."""
    found: list[DecisionAnswer] = []
    for place, one in enumerate(answers):
        if isinstance(one, tuple):
            prefix = str(place)
            found += [replace(answer, id=prefix if len(one) == 1 else f"{prefix}.{answer.id}") for answer in one]
    return tuple(found)
