"""Decisions over HTTP: two dialects over one request, each strict, each wording its own errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

import prefrontal
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.site import Site
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.decisions import Put, ScriptedDecisions
from prefrontal.testing.scripted import SCRIPTED_URL

A, B = "/v1/systemone", "/v1/decisions"
TYPES = {"next": {"instructions": "Next?", "options": ["go", "stop"], "rule": "'stop'"}}
QUESTION_A = {"team": {"type": "choice", "instructions": "Which?", "criteria": {"billing": None, "tech": None}}}
QUESTION_B = [{"type": "choice", "name": "team", "instructions": "Which?", "choices": [{"value": "billing"}, {"value": "tech"}]}]


class Bench:
    """A gateway in memory over a scripted engine."""

    def __init__(self, http: httpx.AsyncClient, engine: ScriptedDecisions, ledger: MemoryLedger) -> None:
        self.http, self.engine, self.ledger = http, engine, ledger

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post(path, content=content, headers={"content-type": "application/json", **headers})


def answer(_put: Put) -> Any:
    return {"billing": 0.8, "tech": 0.2, "go": 1.0}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """One model, `m`, with its own route for decisions."""
    clock = FakeClock(auto=True)
    engine, ledger = ScriptedDecisions(answer, clock=clock), MemoryLedger()
    config = {
        "models": {"m": {"profile": "llamacpp", "endpoint": SCRIPTED_URL, "context_tokens": 2000}},
        "discovery": {"enabled": False},
        "decisions": {"types": TYPES, "max_state_bytes": 20_000},
    }
    async with prefrontal.open(config, transport=engine, clock=clock, ledger=ledger) as pf:
        site = Site(pf, Metrics(pf), instance="test")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://127.0.0.1") as http:
            yield Bench(http, engine, ledger)


async def test_both_dialects_give_the_same_decision(bench: Bench) -> None:
    """One internal request: the same upstream call, the same distribution, each in its own form; headers name the trace."""
    a = await bench.post(A, {"model": "m", "state": "charged twice", "questions": QUESTION_A})
    b = await bench.post(B, {"model": "m", "input": "charged twice", "questions": QUESTION_B})
    assert (a.status_code, b.status_code) == (200, 200)
    one, two = a.json()["answers"]["team"], b.json()["answers"][0]
    assert one["choice"] == two["choice"] == "billing"
    assert one["probabilities"] == {p["value"]: p["probability"] for p in two["probabilities"]}
    assert one["confidence"] == two["confidence"] == pytest.approx(0.6)
    assert one["x_upstream_confidence"] == 0.5
    assert two["x_source"] == "native"
    assert a.json()["x_prefrontal"]["trace"] == a.headers["x-prefrontal-trace"]
    assert b.json()["usage"]["total_tokens"] == b.json()["usage"]["input_tokens"] > 0
    first, second = bench.engine.bodies
    assert first[1]["state"] == second[1]["state"] == "charged twice"


async def test_an_engine_that_is_gone_is_answered_by_the_rule_of_the_type(bench: Bench) -> None:
    """With status 200, the source and the reason; a question without a rule has confidence 0."""
    bench.engine.script = lambda _put: 0
    questions = [{"x_type": "next", "name": "n"}, *QUESTION_B]
    told = (await bench.post(B, {"model": "m", "input": "s", "questions": questions})).json()
    assert told["model"] == "rule"
    ruled, unruled = told["answers"]
    assert (ruled["choice"], ruled["x_source"], ruled["x_fallback"], ruled["name"]) == (
        "stop",
        "rule",
        "upstream_unreachable",
        "n",
    )
    assert (unruled["confidence"], unruled["x_source"]) == (0.0, "rule")


@pytest.mark.parametrize(
    ("path", "body", "status", "where"),
    [
        (A, {"state": "s", "questions": {}}, 422, ["body", "questions"]),
        (A, {"state": "s", "questions": QUESTION_A, "stream": True}, 422, ["body", "stream"]),
        (A, {"input": "s", "questions": QUESTION_B}, 400, ["body", "input"]),
        (A, b"\xff", 422, ["body"]),
        (A, {"model": "nobody", "state": "s", "questions": QUESTION_A}, 404, ["body", "model"]),
        (A, {"model": "m", "state": "word " * 3999, "questions": QUESTION_A}, 400, ["body", "state"]),
        (B, {"input": "s", "questions": []}, 400, "questions"),
        (B, {"input": "s", "questions": QUESTION_B, "stream": True}, 400, "stream"),
        (B, {"state": "s", "questions": QUESTION_A}, 400, "state"),
        (B, b"{", 400, None),
        (B, {"model": "nobody", "input": "s", "questions": QUESTION_B}, 404, "model"),
        (B, {"model": "m", "input": "s", "questions": [{"x_type": "nxt"}]}, 400, "x_type"),
    ],
)
async def test_errors_have_the_shape_of_the_route(bench: Bench, path: str, body: Any, status: int, where: Any) -> None:
    """A list of details with a path in one dialect, OpenAI's envelope in the other; nothing is asked of a model."""
    refused = await bench.post(path, body)
    assert refused.status_code == status, refused.text
    if path == A:
        (detail,) = refused.json()["detail"]
        assert detail["loc"] == where
        assert detail["msg"]
        assert detail["type"]
    else:
        error = refused.json()["error"]
        assert error["param"] == where
        assert error["message"]
        assert error["type"] == "invalid_request_error"
    assert bench.engine.bodies == []


async def test_a_wrong_method_is_worded_by_the_route_too(bench: Bench) -> None:
    """GET is told what the route takes."""
    assert (await bench.http.get(A)).status_code == 405
    assert (await bench.http.get(B)).json()["error"]["message"].endswith("It takes POST.")


async def test_the_situation_and_the_deadline_travel_in_x_prefrontal(bench: Bench) -> None:
    """The extension object is read in both dialects, and a wrong one is refused."""
    bench.engine.delay_s = 30.0
    body = {"model": "m", "input": "s", "questions": [{"x_type": "next"}], "x_prefrontal": {"deadline_s": 0.2, "agent": "a1"}}
    told = (await bench.post(B, body)).json()
    assert told["answers"][0]["x_fallback"] == "timeout"
    wrong = await bench.post(A, {"state": "s", "questions": QUESTION_A, "x_prefrontal": {"dealine_s": 1}})
    assert wrong.status_code == 422


async def test_outcomes_are_told_over_http(bench: Bench) -> None:
    """One or several, by the trace; what is wrong is an error and keeps nothing; other methods and ids are told apart."""
    asked = await bench.post(B, {"model": "m", "input": "charged twice", "questions": QUESTION_B})
    path = f"{B}/{asked.headers['x-prefrontal-trace']}/outcome"
    told = await bench.post(path, {"option": 1, "reward": -0.5, "origin": "observed"})
    assert told.status_code == 200
    (one,) = told.json()["data"]
    assert (one["object"], one["question"], one["option"], one["origin"]) == ("outcome", 0, 1, "observed")
    several = await bench.post(path, {"outcomes": [{"question": 0, "option": 0}]})
    assert several.json()["data"][0]["option"] == 0
    for body, param in (
        (b"{", None),
        ({"option": "one"}, "option"),
        ({"wrong": 1}, None),
        ({"option": 9}, "option"),
        ({"outcomes": []}, "outcomes"),
        ({"option": 0, "reward": 2}, "reward"),
    ):
        refused = await bench.post(path, body)
        assert refused.status_code == 400, body
        assert refused.json()["error"]["param"] == param
    assert (await bench.post(f"{B}/req_none/outcome", {"option": 0})).status_code == 404
    assert (await bench.http.get(path)).status_code == 405
    routed = await bench.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    if routed.status_code == 200:
        path = f"{B}/{routed.headers['x-prefrontal-trace']}/outcome"
        kept = await bench.post(path, {"reward": 1, "model": "m"})
        assert (kept.json()["data"][0]["question"], kept.json()["data"][0]["model"]) == (None, "m")
        assert (await bench.post(path, {"label": "billing"})).status_code == 400


async def test_tiers_and_runs_are_asked_for_by_hints_and_told_in_the_answer() -> None:
    """`run`, `tier` and `most_tier` go in; the tier, the way there and what barred a better one come out."""
    clock = FakeClock(auto=True)
    engine = ScriptedDecisions(answer, clock=clock)
    model = {"profile": "llamacpp", "endpoint": SCRIPTED_URL}
    config = {
        "models": {"m": model, "n": model},
        "discovery": {"enabled": False},
        "decisions": {
            "types": {"next": {**TYPES["next"], "tier": 1, "cache": {}}},
            "tiers": {"routine": ["m"], "contextual": ["n"]},
            "cache": {"persist": False},
        },
    }
    async with prefrontal.open(config, transport=engine, clock=clock, ledger=MemoryLedger()) as pf:
        site = Site(pf, Metrics(pf), instance="test")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://127.0.0.1") as http:
            body = {"model": "auto", "input": "s", "questions": [{"type": "choice", "x_type": "next"}]}
            first = (await http.post(B, json=body)).json()["answers"][0]
            assert (first["x_tier"], first["x_tier_reason"], first["x_model"]) == (1, "type", "m")
            asked = (await http.post(B, json={**body, "x_prefrontal": {"tier": 2, "run": "r"}})).json()["answers"][0]
            assert (asked["x_tier"], asked["x_tier_reason"], asked["x_model"]) == (2, "asked", "n")
            assert (await http.post(B, json={**body, "x_prefrontal": {"tier": 4}})).status_code == 400
            assert (await http.post(B, json=body)).json()["answers"][0]["x_cached"] is True
            state = (await http.get("/v1/admin/decisions/cache")).json()
            assert (state["object"], state["hit"], state["stored"], state["entries"]) == ("decisions.cache", 1, 2, 2)
            assert (await http.request("DELETE", "/v1/admin/decisions/cache?nope=1")).status_code == 400
            assert (await http.request("DELETE", "/v1/admin/decisions/cache?model=n")).json()["deleted"] == 1
            assert (await http.request("DELETE", "/v1/admin/decisions/cache")).json()["deleted"] == 1
            assert "x_cached" not in (await http.post(B, json=body)).json()["answers"][0]
