"""Looking at a lens and measuring it: one text, or prompts ranked by hand, beside what its formula says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prefrontal.assess.assessor import assess
from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.contracts.lens import LensReading
from prefrontal.decisions.lenses.agreement import Comparison, Ranked, compare
from prefrontal.decisions.lenses.lens import Seen
from prefrontal.decisions.lenses.shipped import LENSES, lens_named
from prefrontal.errors import InvalidRequest
from prefrontal.machine.context import LIBRARY
from prefrontal.machine.view import view
from prefrontal.plan.tokens import estimate_request

if TYPE_CHECKING:
    from prefrontal.app.library import Prefrontal

AT_ONCE = 4
"""Prompts that are read at the same time (assumed: what a small local engine has slots for)."""


async def read_lens(pf: Prefrontal, name: str, text: str, *, model: str | None = None) -> LensReading:
    """Return what a lens sees in a text. It leaves a record.

    model: who reads, in place of the configuration's; a model's name or ``role/NAME``, and nothing is remembered then.

    Raises:
        PrefrontalError: no such lens or model. Models that fail are no error: then the formula answers, and `finding` says why.
    """
    pf.ledger.admit()
    return await view(pf.machine, lens_named(name, "lens"), text, LIBRARY, pf.world(), model=model)


async def evaluate(
    pf: Prefrontal,
    name: str,
    prompts: Sequence[Ranked],
    *,
    model: str | None = None,
    at_once: int = AT_ONCE,
    progress: Callable[[LensReading], None] = lambda _reading: None,
) -> Comparison:
    """Return how a lens, read by `model`, ranks prompts beside its formula. Raises InvalidRequest where nothing can be ranked."""
    lens = LENSES[lens_named(name, "lens")]
    formula = [lens.scores(lens.fallback(_seen(pf, one.prompt)).data) for one in prompts]
    unranked = [one for one, scores in zip(prompts, formula, strict=True) if set(one.ranks) != set(scores)]
    if not prompts or unranked:
        what = ", ".join(formula[0]) if formula and formula[0] else "nothing"
        raise InvalidRequest(f"The lens '{name}' ranks {what}; these prompts do not.", param="prompts")
    gate = asyncio.Semaphore(at_once)

    async def one(prompt: str) -> LensReading:
        async with gate:
            reading = await read_lens(pf, name, prompt, model=model)
        progress(reading)
        return reading

    readings = await asyncio.gather(*[one(each.prompt) for each in prompts])
    by_model = sum([reading.source != "fallback" for reading in readings])
    return compare(prompts, [lens.scores(reading.state) for reading in readings], formula, by_model=by_model)


def _seen(pf: Prefrontal, text: str) -> Seen:
    request = ChatRequest(model="auto", messages=(Message(role="user", blocks=(Text(text=text),)),))
    rules = pf.machine.parts.rules
    return Seen(text=text, assessment=assess(request, input_tokens=estimate_request(request), rules=rules))
