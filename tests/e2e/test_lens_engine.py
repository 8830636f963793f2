"""A lens read by real llama.cpp on self-made GGUFs: on its own route for decisions, by chat, and when it is killed."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.compose import compose
from prefrontal.app.lenses import read_lens
from prefrontal.app.library import Prefrontal
from prefrontal.machine.context import LIBRARY
from prefrontal.testing.engines import running_engine
from prefrontal.testing.gguf import build_decision
from prefrontal.testing.upstream import MockUpstream

LARGE = "The large model's answer."


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a decision route; its answers mean nothing, but depend on every word."""
    return build_decision(tmp_path_factory.mktemp("lens") / "tiny.gguf")


@pytest.fixture
async def pf(gguf: Path, tmp_path: Path) -> AsyncIterator[Prefrontal]:
    """The engine under two names, on its own route and as if it had none, and a scripted large model."""
    async with running_engine(gguf) as engine, MockUpstream(lambda _request: LARGE) as up:
        tiny = {"profile": "llamacpp", "endpoint": f"{engine}/v1", "auto": False}
        models = {
            "large": {"profile": "openai-compatible", "endpoint": up.base_url, "key": "k"},
            "native": {**tiny, "decisions": {"dialect": "systemone"}},
            "chat": {**tiny, "decisions": {"dialect": None}},
        }
        config = {"models": models, "discovery": {"enabled": False}, "lenses": {"domains": {"model": "native"}}}
        async with prefrontal.open(config, env={"PREFRONTAL_HOME": str(tmp_path)}) as found:
            yield found


async def ask(pf: Prefrontal, text: str) -> Any:
    options = {"model": "auto", "x_prefrontal": {"lens": ["domains", "risk", "task"]}}
    return await pf.answer(compose(text, options, stream=False), LIBRARY)


async def test_the_decision_route_reads_a_whole_state_in_one_call(pf: Prefrontal) -> None:
    """Four numbers from one request; another text is another state, the same text the same."""
    found = [await read_lens(pf, "domains", text, model="native") for text in ("Sort a list", "I miss you", "Sort a list")]
    for one in found:
        assert (one.source, one.attempts, one.finding) == ("model", 1, None)
        assert len(one.state["boundaries"]) == 6
    values = [[each["activation"] for each in one.state["domains"].values()] for one in found]
    assert values[0] != values[1]
    assert values[0] == pytest.approx(values[2], abs=1e-3)
    assert statistics.mean(values[0]) == pytest.approx(0.5, abs=0.45)


async def test_a_model_without_sense_leaves_the_formula_and_the_answer_is_there(pf: Prefrontal) -> None:
    """By chat a random model either fills the schema or not; whatever it says, a valid state and the answer come."""
    one = await read_lens(pf, "risk", "Is it safe to mix bleach and ammonia?", model="chat")
    assert one.source in ("model", "fallback")
    assert 0.0 <= one.state["level"] <= 1.0
    answer = await ask(pf, "Is it safe to mix bleach and ammonia?")
    assert answer.response.text == LARGE
    assert [reading.name for reading in answer.record.assessment.lens] == ["domains", "risk", "task"]


async def test_a_killed_engine_leaves_the_formula(gguf: Path, tmp_path: Path) -> None:
    """The engine dies between two requests: the next reading is the formula's, and the large model answers."""
    options = {"model": "auto", "x_prefrontal": {"lens": "domains"}}
    async with AsyncExitStack() as stack, AsyncExitStack() as alive:
        up = await stack.enter_async_context(MockUpstream(lambda _request: LARGE))
        engine = await alive.enter_async_context(running_engine(gguf))
        large = {"profile": "openai-compatible", "endpoint": up.base_url, "key": "k"}
        tiny = {"profile": "llamacpp", "endpoint": f"{engine}/v1", "auto": False, "decisions": {"dialect": "systemone"}}
        config = {
            "models": {"large": large, "tiny": tiny},
            "discovery": {"enabled": False},
            "lenses": {"domains": {"model": "tiny", "preset": "fast", "cache": False}},
        }
        pf = await stack.enter_async_context(prefrontal.open(config, env={"PREFRONTAL_HOME": str(tmp_path)}))
        first = await pf.answer(compose("Sort a list", options, stream=False), LIBRARY)
        await alive.aclose()
        second = await pf.answer(compose("Sort a list", options, stream=False), LIBRARY)
    assert first.record.assessment.lens[0].source == "model"
    reading = second.record.assessment.lens[0]
    assert (reading.source, second.response.text) == ("fallback", LARGE)
    assert reading.finding is not None
    assert reading.finding.startswith("upstream_")
