"""Measuring a lens: a capable scripted model beats the formula, a useless one does not, and the harness says which."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

import prefrontal
from prefrontal.app.lenses import evaluate, read_lens
from prefrontal.decisions.lenses.agreement import Ranked, shipped
from prefrontal.errors import InvalidRequest, UnknownModel
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.scripted import ScriptedTransport, scripted_config

PROMPTS = shipped("domains")
RANKS = {one.prompt: one.ranks for one in PROMPTS}


def capable(request: Any) -> str:
    """It knows the order, misjudges each domain a little, and rounds as models do."""
    prompt = request.json["messages"][-1]["content"].removeprefix("<request>").removesuffix("</request>")
    chance = random.Random(prompt)
    told = {name: 0.9 - 0.25 * place + chance.gauss(0, 0.12) for name, place in RANKS[prompt].items()}
    return json.dumps({name: {"activation": round(min(1, max(0, v)), 2), "note": "n"} for name, v in told.items()})


def guessing(request: Any) -> str:
    chance = random.Random(str(request.json["messages"]))
    return json.dumps({name: {"activation": round(chance.random(), 2), "note": "n"} for name in RANKS[PROMPTS[0].prompt]})


def useless(_request: Any) -> str:
    return "prose"


@pytest.mark.parametrize(("script", "verdict"), [(capable, "better"), (guessing, "worse"), (useless, "no difference shown")])
async def test_the_harness_says_whether_a_model_beats_the_formula(script: Any, verdict: str) -> None:
    """On all ranked prompts, the seed's two among them."""
    clock = FakeClock(auto=True)
    config = scripted_config(["m"], lenses={"domains": {"preset": "fast"}}, limits={"retries": {"base_s": 0.0}})
    async with prefrontal.open(config, env={}, clock=clock, transport=ScriptedTransport(script, clock=clock)) as pf:
        seen: list[Any] = []
        found = await evaluate(pf, "domains", PROMPTS, model="m", progress=seen.append)
        assert (found.verdict, len(seen), found.formula.prompts) == (verdict, len(PROMPTS), len(PROMPTS))
        assert found.lens.by_model == (0 if verdict == "no difference shown" else len(PROMPTS))
        assert 0.2 < found.formula.tau < 0.6  # better than chance, and no more
        if verdict == "better":
            assert found.lens.tau > found.formula.tau + 0.2
        if not found.lens.by_model:
            assert found.lens.tau == found.formula.tau  # the fallback is the formula, exactly


async def test_a_lens_of_one_text_leaves_a_record_and_remembers_nothing_of_a_named_model() -> None:
    """Twice the same text are two calls; without a model the configuration's is asked, and remembered."""
    clock = FakeClock(auto=True)
    transport = ScriptedTransport(capable, clock=clock)
    config = scripted_config(["m", "n"], lenses={"domains": {"model": "n"}}, records={"enabled": True})
    text = PROMPTS[0].prompt
    async with prefrontal.open(config, env={}, clock=clock, transport=transport) as pf:
        found = [await read_lens(pf, "domains", text, model=model) for model in ("m", "m", None, None)]
        assert [(one.source, one.model) for one in found] == [("model", "m"), ("model", "m"), ("model", "n"), ("cache", "n")]
        assert [one.json["model"] for one in transport.requests] == ["m", "m", "n"]
        with pytest.raises(UnknownModel):
            await read_lens(pf, "domains", text, model="x")
        with pytest.raises(InvalidRequest):
            await read_lens(pf, "domain", text)


async def test_only_what_a_lens_ranks_can_be_evaluated() -> None:
    """The labels of the prompts must be those of the lens."""
    async with prefrontal.open(scripted_config(), env={}, transport=ScriptedTransport(clock=FakeClock())) as pf:
        odd = [Ranked(prompt="p", groups=(("x",), ("y",)))]
        for name, prompts in (("domains", odd), ("risk", PROMPTS), ("domains", ())):
            with pytest.raises(InvalidRequest):
                await evaluate(pf, name, prompts)
        assert msgspec.json.encode(PROMPTS)
