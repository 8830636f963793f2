"""Decisions of real llama.cpp on self-made GGUFs, and the real OpenAI client in front."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

import prefrontal
from prefrontal.app.evaluating import evaluate
from prefrontal.app.library import Prefrontal
from prefrontal.contracts.decision import Option, Question
from prefrontal.decisions.training.cases import Case
from prefrontal.decisions.wire.systemone_client import parse_systemone
from prefrontal.machine.context import LIBRARY
from prefrontal.testing.engines import running_engine
from prefrontal.testing.gguf import build_decision, build_rules

RULES = {"refund": "A", "parcel": "B", "login": "C"}
"""The rules model answers with the letter of the team that is shown in that place."""

TEAMS = {
    "instructions": "Which team should take this ticket?",
    "options": ["billing", "shipping", "tech"],
    "rule": "state.contains('lost') ? 'shipping' : 'tech'",
    "samples": ["it is lost"],
}
QUESTIONS = {
    "route": {"type": "choice", "instructions": "Which team?", "criteria": {"billing": "payments and refunds", "tech": None}},
    "urgent": {"type": "score", "instructions": "How urgent is it?", "criteria": ["can wait", "today", "now"]},
    "refund": {"type": "noul", "instructions": "Is money asked for?", "criteria": {"true": "asks for it", "false": None}},
    "many": {"type": "choice", "instructions": "Which?", "criteria": {f"option {n}": None for n in range(52)}},
}

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a decision route, and one without."""
    found = tmp_path_factory.mktemp("gguf")
    build_decision(found / "decider.gguf")
    build_rules(found / "rules.gguf", RULES, default="C")
    return found


@pytest.fixture
async def pf(folder: Path) -> AsyncIterator[Prefrontal]:
    """One engine under two names: on its own route, and as if it had none."""
    async with running_engine(folder / "decider.gguf") as url:
        entry = {"profile": "llamacpp", "endpoint": f"{url}/v1"}
        models = {"native": entry, "chat": {**entry, "decisions": {"dialect": None}}}
        config = {"models": models, "discovery": {"enabled": False}, "records": {"enabled": False}}
        async with prefrontal.open(config) as found:
            yield found


async def decided(pf: Prefrontal, model: str, state: Any, questions: dict[str, Any]) -> Any:
    body = json.dumps({"model": model, "state": state, "questions": questions}).encode()
    request = parse_systemone(body, max_state_bytes=100_000, lookup=pf.decisions.types(pf.config.decisions).lookup)
    return await pf.decide_all(request, LIBRARY)


@pytest.mark.parametrize("name", list(QUESTIONS))
async def test_the_native_route_and_the_fallback_agree(pf: Prefrontal, name: str) -> None:
    """The same prompt, token for token, and the same distribution to 1e-4: the fallback is an equivalent, no emulation.

    Each prompt is asked once before, since an engine rounds a prompt it has in its cache in another way than a new one.
    """
    for state in ("I was charged twice, refund please", "Ticket 7: a lost parcel"):
        await decided(pf, "native", state, {name: QUESTIONS[name]})
        found = [await decided(pf, model, state, {name: QUESTIONS[name]}) for model in ("native", "chat")]
        native, chat = (one.response.answers[0] for one in found)
        assert (native.source, chat.source) == ("native", "logprobs")
        assert chat.probabilities == pytest.approx(native.probabilities, abs=1e-4)
        assert found[0].response.usage.input_tokens == found[1].response.usage.input_tokens
        if native.upstream_confidence is not None:
            assert native.confidence == pytest.approx(native.upstream_confidence, abs=1e-5)


async def test_the_question_matters_to_the_engine(pf: Prefrontal) -> None:
    """Another state is another distribution, on both ways."""
    for model in ("native", "chat"):
        one = (await decided(pf, model, "refund", {"q": QUESTIONS["urgent"]})).response.answers[0]
        two = (await decided(pf, model, "parcel", {"q": QUESTIONS["urgent"]})).response.answers[0]
        assert one.probabilities != pytest.approx(two.probabilities, abs=1e-3)


async def test_more_options_than_the_engine_takes_are_asked_in_two_stages(pf: Prefrontal) -> None:
    """Its own route takes 52 and answers 400 to 53; chat in groups answers all the same."""
    question = {"type": "choice", "instructions": "Which?", "criteria": {f"o{n}": None for n in range(53)}}
    answer = (await decided(pf, "native", "s", {"q": question})).response.answers[0]
    assert (answer.source, answer.degraded, len(answer.probabilities)) == ("logprobs", "two_stage", 53)


# -- the whole product ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gateway(start_gateway: Start, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The real command with the rules model, which has no decision route, in its folder."""
    home = tmp_path_factory.mktemp("decisions")
    (home / "models").mkdir()
    shutil.copy(folder / "rules.gguf", home / "models" / "rules.gguf")
    config = {"models": {"rules": {"path": "rules.gguf"}}, "decisions": {"types": {"team": TEAMS}, "deadline_s": 5}}
    return start_gateway(home, config)


@pytest.fixture
def client(gateway: Any) -> Iterator[openai.OpenAI]:
    """The official client."""
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=30) as found:
        yield found


CHOICES: list[Any] = [{"value": "billing", "description": "payments"}, {"value": True}, {"value": "tech"}]


def test_the_official_client_s_decisions_work(client: openai.OpenAI, gateway: Any) -> None:
    """Parsed typed answers in order, booleans kept, names or null, a request id, and our fields beside theirs."""
    done = client.decisions.create(
        model="auto",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "I want a refund, a refund!"}]}],
        questions=[
            {"type": "choice", "name": "team", "instructions": "Which team?", "choices": CHOICES},
            {"type": "score", "instructions": "How urgent?", "levels": [{"label": "low"}, {"label": "mid"}, {"label": "high"}]},
            {"type": "predicate", "instructions": "Is money asked for?"},
        ],
        safety_identifier="user-1",
    )
    team, urgent, refund = done.answers
    assert team.type == "choice"
    assert team.choice == "billing"
    assert team.name == "team"
    assert team.probabilities[1].value is True
    assert team.confidence > 0.99
    assert urgent.type == "score"
    assert urgent.score < 0.01
    assert urgent.probabilities[2].label == "high"
    assert refund.type == "predicate"
    assert refund.probability > 0.99
    assert refund.name is None
    assert (refund.model_extra or {})["x_source"] == "logprobs"
    assert done.model == "rules"
    assert done.usage.total_tokens > 0
    trace = httpx.get(f"{gateway.url}/v1/traces/{(done.model_extra or {})['x_prefrontal']['trace']}").json()
    assert [attempt["error_code"] for attempt in trace["attempts"]] == ["capability_missing", None, None, None]
    assert [one["source"] for one in trace["decisions"]] == ["logprobs"] * 3


def test_a_wrong_body_is_the_client_s_bad_request(client: openai.OpenAI) -> None:
    """The SDK's own exception, with the path of the field."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.decisions.create(model="auto", input="", questions=[{"type": "predicate", "instructions": "?"}])
    assert refused.value.param == "input"


def engine_of(url: str) -> psutil.Process:
    (engine,) = httpx.get(f"{url}/v1/engines").json()["data"]
    return psutil.Process(engine["pid"])


def test_an_engine_killed_again_and_again_leaves_the_decision_to_the_rule(gateway: Any) -> None:
    """While it answers, its letter; while it is gone, the rule, with source `rule` in the answer; and then the letter again."""

    def ask(text: str, deadline_s: float = 5.0) -> dict[str, Any]:
        body = {"state": text, "questions": {"q": {"x_type": "team"}}, "x_prefrontal": {"deadline_s": deadline_s}}
        answer: dict[str, Any] = httpx.post(f"{gateway.url}/v1/systemone", json=body, timeout=20).json()["answers"]["q"]
        return answer

    assert (ask("my refund is lost")["choice"], ask("my refund is lost")["x_source"]) == ("billing", "logprobs")
    engine_of(gateway.url).suspend()  # hangs, as a busy or broken engine does
    stuck = ask("my refund is lost", 0.5)
    assert (stuck["choice"], stuck["x_source"], stuck["x_fallback"]) == ("shipping", "rule", "timeout")
    engine_of(gateway.url).kill()
    gone = ask("my refund", 0.05)
    assert (gone["choice"], gone["x_source"]) == ("tech", "rule")
    until = time.monotonic() + 15
    while ask("my refund is lost")["x_source"] == "rule" and time.monotonic() < until:
        time.sleep(0.1)
    assert ask("my refund is lost")["choice"] == "billing"


async def test_asyncio_is_not_blocked_by_many_at_once(pf: Prefrontal) -> None:
    """Thirty decisions at once on one engine all come back."""
    asked = [decided(pf, "native", f"ticket {n}", {"q": QUESTIONS["route"]}) for n in range(30)]
    done = await asyncio.gather(*asked)
    assert {one.response.answers[0].source for one in done} == {"native"}


# -- judged on a real engine -----------------------------------------------------------------------------------------------


async def test_answers_keep_the_form_on_a_real_engine(folder: Path) -> None:
    """100 cases on the tiny rules model under a grammar: at least 98 % of its bare answers are in form, and it is right."""
    options = tuple([Option(value=one) for one in TEAMS["options"]])
    question = Question(kind="choice", instructions="Which team?", options=options)
    asked = [(f"{word} number {number}", place) for number in range(34) for place, word in enumerate(RULES)][:100]
    cases = [Case(question=question, state=state, option=place, origin="observed") for state, place in asked]
    async with running_engine(folder / "rules.gguf") as url:
        models = {"tiny": {"profile": "llamacpp", "endpoint": f"{url}/v1"}}
        async with prefrontal.open({"models": models, "discovery": {"enabled": False}, "records": {"enabled": False}}) as found:
            report = await evaluate(found, "tiny", cases)
    assert report.cases == 100
    assert report.format_compliance is not None
    assert report.format_compliance >= 0.98
    assert report.answered >= 0.98
    assert report.action_accuracy > 0.9
    assert report.calibration is not None
