"""One text read through one lens, and nothing else: for looking at a lens and measuring it. It leaves a record."""

from __future__ import annotations

import asyncio

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, Hints, Message
from prefrontal.contracts.lens import LensName, LensReading
from prefrontal.errors import InvariantBroken, PrefrontalError
from prefrontal.machine.admission import admit
from prefrontal.machine.context import CallContext, World
from prefrontal.machine.lenses import PLAIN, read
from prefrontal.machine.machine import Machine
from prefrontal.machine.money import settled
from prefrontal.machine.reach import settle_reach
from prefrontal.machine.states import State

DIALECT = "lens"


async def view(
    machine: Machine, name: LensName, text: str, context: CallContext, world: World, *, model: str | None = None
) -> LensReading:
    """Return what a lens sees in a text; `model` reads in place of those of the configuration, and nothing is remembered then.

    Raises:
        PrefrontalError: the request may not be made, or there is no such model; models that fail are no error.
    """
    if model is not None:
        if not model.startswith("role/"):
            model = world.registry.require(model).id
        config = world.config
        entry = msgspec.structs.replace(config.lenses.get(name, PLAIN), model=model, secondary=None, cache=False)
        world = msgspec.structs.replace(world, config=msgspec.structs.replace(config, lenses={**config.lenses, name: entry}))
    message = Message(role="user", blocks=(Text(text=text),))
    request = ChatRequest(model=model or "auto", messages=(message,), hints=Hints(lens=name), dialect=DIALECT)
    run = machine.begin(request, context, world, streaming=False)
    run.lenses = (name,)
    try:
        if run.purse is not None:
            await run.purse.enter()
        if machine.parts.door is not None:
            await admit(run, machine.parts.door)
        settle_reach(run)
        run.to(State.LLM_CALL)
        await read(run, machine.parts, machine.reader)
    except PrefrontalError as error:
        machine.finish(run, "error", error)
        raise
    except asyncio.CancelledError as gone:
        machine.give_up(run, gone)
        raise
    except BaseException as error:
        machine.finish(run, "error", InvariantBroken(f"{type(error).__name__} inside the gateway."))
        raise
    assert run.assessment is not None
    (reading,) = run.assessment.lens
    run.model, run.answered_by = reading.model or "rule", "rule" if reading.source == "fallback" else "model"
    run.to(State.SYNTHESIS)
    run.to(State.COMPLETED)
    machine.finish(run, "ok")
    if run.purse is not None:
        await settled(run)
    return reading
