"""Each item of the fault menu, streamed and whole, for a named model and for `auto` with a second one: what the client gets.

The real command in its own process, a mock upstream that fails on request, the official SDK as the client. The outcome is part
of each test's name:

answers        the faulty model's answer arrives whole
falls back     the second model's answer arrives whole, and nothing of the first
error CODE     an HTTP error before any byte of an answer
breaks CODE    pieces of the first answer, then a well-formed error event; the second model is never asked
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, get_args

import httpx
import openai
import pytest
import pytest_asyncio

from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault, FaultKind
from prefrontal.testing.upstream import MockUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIRST = "alpha one two three four five"
SECOND = "beta says something else entirely"
LIMITS = {
    "retries": {"attempts": 1},
    "breaker": {"failures": 1000},
    "timeouts": {"first_token_s": 0.4, "between_tokens_s": 0.4, "total_s": 0.7},
}


@dataclass
class Served:
    """A gateway, its two upstreams, and clients."""

    first: MockUpstream
    second: MockUpstream
    sdk: openai.AsyncOpenAI
    http: httpx.AsyncClient

    async def trace(self, headers: Any) -> dict[str, Any]:
        """Return the record an answer names."""
        return (await self.http.get(f"/v1/traces/{headers['x-prefrontal-trace']}")).json()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any]) -> AsyncIterator[Served]:
    """A gateway with `solo` and `a` at the faulty upstream and `b` at the healthy one."""
    async with (
        MockUpstream(lambda _: Answer(text=FIRST)) as first,
        MockUpstream(lambda _: Answer(text=SECOND)) as second,
    ):
        models = {
            "solo": {"profile": "openai-compatible", "endpoint": first.base_url, "auto": False},
            "a": {"profile": "openai-compatible", "endpoint": first.base_url, "priority": 10},
            "b": {"profile": "openai-compatible", "endpoint": second.base_url},
        }
        routing = {"policy": "primary_with_fallback", "primary": "a", "affinity": {"enabled": False}}
        config = {"models": models, "routing": routing, "limits": LIMITS, "discovery": {"enabled": False}}
        gateway = start_gateway(tmp_path_factory.mktemp("faults"), config)
        async with (
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=20.0) as sdk,
            httpx.AsyncClient(base_url=gateway.url) as http,
        ):
            yield Served(first, second, sdk, http)
        assert gateway.stop() == 0, gateway.errors()
        assert "Traceback" not in gateway.errors()


@dataclass
class Seen:
    """What the client saw."""

    text: str = ""
    thinking: str = ""
    finish: str | None = None
    usage: Any = None
    extension: dict[str, Any] = field(default_factory=dict)
    headers: Any = None
    error: openai.APIError | None = None


async def ask(sdk: openai.AsyncOpenAI, model: str, mode: str) -> Seen:
    """Ask once, whole or streamed."""
    seen = Seen()
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Tell me a story"}]}
    create = sdk.chat.completions.with_raw_response.create
    try:
        if mode == "whole":
            raw = await create(**body)
            seen.headers = raw.headers
            answer = raw.parse()
            seen.text, seen.finish = answer.choices[0].message.content or "", answer.choices[0].finish_reason
            seen.usage, seen.extension = answer.usage, (answer.model_extra or {}).get("x_prefrontal", {})
            return seen
        raw = await create(**body, stream=True, stream_options={"include_usage": True})
        seen.headers = raw.headers
        async for chunk in raw.parse():
            for choice in chunk.choices:
                seen.text += choice.delta.content or ""
                seen.thinking += (choice.delta.model_extra or {}).get("reasoning_content") or ""
                seen.finish = choice.finish_reason or seen.finish
            seen.usage = chunk.usage or seen.usage
            seen.extension = (chunk.model_extra or {}).get("x_prefrontal", seen.extension)
    except openai.APIError as error:
        seen.error = error
        seen.headers = error.response.headers if isinstance(error, openai.APIStatusError) else seen.headers
    return seen


def fault(kind: str, **fields: Any) -> Fault:
    return Fault(kind=kind, delay_s=5.0, **fields)  # type: ignore[arg-type]  # a kind by name


FAULTS: dict[str, Fault] = {
    "status 500": fault("status", status=500),
    "status 429 with an hour to wait": fault("status", status=429, headers={"retry-after": "3600"}),
    "status 401": fault("status", status=401),
    "loading": fault("loading"),
    "slow headers": fault("slow_headers"),
    "slow first token": fault("slow_first_token"),
    "slow between tokens": fault("slow_between", after_chunks=2),
    "drop": fault("drop"),
    "reset": fault("drop", reset=True),
    "cut before a token": fault("cut_after"),
    "cut after tokens": fault("cut_after", after_chunks=2),
    "reset after tokens": fault("cut_after", after_chunks=2, reset=True),
    "garbage": fault("garbage"),
    "garbage after tokens": fault("garbage", after_chunks=2),
    "wrong JSON": fault("wrong_json"),
    "200 then error": fault("error_after_200"),
    "error after tokens": fault("error_midstream", after_chunks=2),
    "empty": fault("empty"),
    "keep-alive comments": fault("keepalive_comments"),
    "a line of 1 MiB": fault("huge_line"),
    "no usage": fault("usage_missing"),
    "usage beside choices": fault("usage_with_choices"),
    "nothing but thinking": fault("length_empty"),
}
OUTCOMES: dict[str, tuple[str, str]] = {  # fault → (whole, streamed), each of a named model
    "status 500": ("error upstream_error", "error upstream_error"),
    "status 429 with an hour to wait": ("error upstream_rate_limited", "error upstream_rate_limited"),
    "status 401": ("error upstream_credentials", "error upstream_credentials"),
    "loading": ("answers", "answers"),
    "slow headers": ("error upstream_timeout", "error upstream_timeout"),
    "slow first token": ("error upstream_timeout", "error upstream_timeout"),
    "slow between tokens": ("error upstream_timeout", "breaks upstream_timeout"),
    "drop": ("error upstream_cut", "error upstream_cut"),
    "reset": ("error upstream_cut", "error upstream_cut"),
    "cut before a token": ("error upstream_cut", "error upstream_cut"),
    "cut after tokens": ("error upstream_cut", "breaks upstream_cut"),
    "reset after tokens": ("error upstream_cut", "breaks upstream_cut"),
    "garbage": ("error upstream_misbehaved", "error upstream_cut"),
    "garbage after tokens": ("error upstream_misbehaved", "breaks upstream_cut"),
    "wrong JSON": ("error upstream_misbehaved", "error upstream_misbehaved"),
    "200 then error": ("error upstream_error", "error upstream_error"),
    "error after tokens": ("error upstream_error", "breaks upstream_error"),
    "empty": ("error upstream_misbehaved", "error upstream_cut"),
    "keep-alive comments": ("answers", "answers"),
    "a line of 1 MiB": ("answers", "answers"),
    "no usage": ("answers", "answers"),
    "usage beside choices": ("answers", "answers"),
    "nothing but thinking": ("answers", "answers"),
}
STATUS = {
    "upstream_error": (502, openai.InternalServerError),
    "upstream_cut": (502, openai.InternalServerError),
    "upstream_misbehaved": (502, openai.InternalServerError),
    "upstream_credentials": (502, openai.InternalServerError),
    "upstream_timeout": (504, openai.InternalServerError),
    "upstream_rate_limited": (429, openai.RateLimitError),
}


def cases() -> list[Any]:
    """Return every fault × mode × models with its outcome; with a second model what would be an error falls back."""
    found = []
    for name, outcomes in OUTCOMES.items():
        for mode, alone in zip(("whole", "stream"), outcomes, strict=True):
            both = "falls back" if alone.startswith("error ") or name == "loading" else alone
            for models, outcome in (("one model", alone), ("two models", both)):
                found.append(pytest.param(name, mode, models, outcome, id=f"{name}, {mode}, {models}: {outcome}"))
    return found


async def test_the_whole_menu_is_served() -> None:
    """No kind of fault is left out."""
    assert {item.kind for item in FAULTS.values()} == set(get_args(FaultKind))
    assert set(FAULTS) == set(OUTCOMES)


@pytest.mark.parametrize(("name", "mode", "models", "outcome"), cases())
async def test_fault(served: Served, name: str, mode: str, models: str, outcome: str) -> None:
    """The named outcome, its status and SDK exception, the record of it, and nothing of a second model spliced in."""
    served.first.heal()
    served.first.fail(FAULTS[name])
    asked_before = len(served.second.requests)
    seen = await ask(served.sdk, "solo" if models == "one model" else "auto", mode)
    assert len(served.first.faults) == 0, "the fault never happened"
    trace = await served.trace(seen.headers)
    asked_second = len(served.second.requests) - asked_before
    word, _, code = outcome.partition(" ")
    if word == "answers":
        check_answer(name, seen, trace)
    elif word == "falls":
        assert (seen.text, seen.error, seen.finish) == (SECOND, None, "stop")
        assert [(a["model"], a["outcome"]) for a in trace["attempts"]] == [("a", "error"), ("b", "ok")]
        assert (trace["model"], trace["status"], seen.headers["x-prefrontal-model"]) == ("b", "ok", "b")
    elif word == "error":
        check_error(seen, trace, code)
    else:
        check_break(seen, trace, code)
    assert asked_second == (1 if word == "falls" else 0)


def check_answer(name: str, seen: Seen, trace: dict[str, Any]) -> None:
    """Fail unless the faulty model's own answer arrived."""
    assert seen.error is None
    assert trace["status"] == "ok"
    expected = {"a line of 1 MiB": "x" * 1024 * 1024, "nothing but thinking": ""}.get(name, FIRST)
    assert seen.text == expected
    assert seen.finish == ("length" if name == "nothing but thinking" else "stop")
    source = "estimated" if name == "no usage" else "reported"
    assert (trace["usage"]["source"], seen.extension["usage_source"]) == (source, source)
    assert seen.usage is not None
    assert seen.usage.completion_tokens > 0
    waited = 2 if name == "loading" else 1
    assert len(trace["attempts"]) == waited


def check_error(seen: Seen, trace: dict[str, Any], code: str) -> None:
    """Fail unless the SDK raised the right class for an HTTP error with the exact envelope."""
    status, cls = STATUS[code]
    error = seen.error
    assert seen.text == ""
    assert isinstance(error, cls)
    assert (error.status_code, error.code) == (status, code)
    envelope = error.response.json()["error"]
    assert set(envelope) == {"message", "type", "param", "code"}
    assert error.response.headers["x-should-retry"] == "false"
    if code == "upstream_rate_limited":
        assert error.response.headers["retry-after"] == "3600"
    assert (trace["status"], trace["error_code"], trace["http_status"]) == ("error", code, status)
    assert [a["outcome"] for a in trace["attempts"]] == ["error"]


def check_break(seen: Seen, trace: dict[str, Any], code: str) -> None:
    """Fail unless pieces of the first answer were followed by an error event that the SDK raises as APIError."""
    error = seen.error
    assert type(error) is openai.APIError
    assert seen.text.split() == FIRST.split()[:2]
    assert isinstance(error.body, dict)
    assert set(error.body) >= {"message", "type", "param", "code"}
    assert error.body["code"] == code
    assert (trace["status"], trace["error_code"]) == ("error", code)
    assert (len(trace["attempts"]), trace["usage"]["source"]) == (1, "estimated")
