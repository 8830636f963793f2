"""The scripted provider: the whole library runs on it without sockets, network or real time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.reply import Reply
from prefrontal.clock import Chance
from prefrontal.contracts.wire import WireRequest
from prefrontal.errors import (
    AllAttemptsFailed,
    ProviderCut,
    ProviderRejected,
    ProviderTimeout,
    ShuttingDown,
)
from prefrontal.execute.transport.base import Timeouts, Transport
from prefrontal.testing.answers import Answer, Script, ScriptedCall
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.faults import Fault
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.scripted import SCRIPTED_URL, ScriptedTransport, scripted_config

Opened = Callable[..., Any]


@pytest.fixture
def clock() -> FakeClock:
    """Time that jumps by itself."""
    return FakeClock(auto=True)


@pytest.fixture
def opened(clock: FakeClock) -> Opened:
    """How a test opens Prefrontal on a script; gives both it and the transport."""

    @asynccontextmanager
    async def opening(script: Script | None = None, models: Any = ("small", "large"), **settings: Any) -> Any:
        transport = ScriptedTransport(script, clock=clock)
        config = scripted_config(models, **settings)
        async with prefrontal.open(config, transport=transport, clock=clock, chance=Chance(7)) as pf:
            yield pf, transport

    return opening


async def test_what_the_script_says_is_what_the_caller_reads(opened: Opened) -> None:
    """Another script gives another answer, for the same prompt, model and process."""
    async with opened({"capital of France": "Paris"}) as (pf, transport):
        assert (await pf.chat("The capital of France?", model="small")).text == "Paris"
        transport.script = {"capital of France": "Lutetia"}
        assert (await pf.chat("The capital of France?", model="small")).text == "Lutetia"
        assert (await pf.chat("Something else", model="small")).text == "Something else"
        assert [request.json["model"] for request in transport.requests] == ["small"] * 3


async def test_a_function_sees_the_whole_request(opened: Opened) -> None:
    """A script may answer by model and by any field of the body that was really rendered."""

    def script(request: Recorded) -> str:
        return f"{request.json['model']} at {request.json.get('temperature')}"

    async with opened(script) as (pf, _):
        assert (await pf.chat("Hi", model="large", temperature=0.5)).text == "large at 0.5"
        assert (await pf.chat("Hi", model="small")).text == "small at None"


async def test_thinking_tool_calls_and_usage_come_back(opened: Opened) -> None:
    """Everything an `Answer` carries arrives parsed, whole and streamed."""
    call = ScriptedCall(name="weather", arguments={"city": "Oslo"})
    answer = Answer(text="Let me look.", reasoning="A tool knows.", tool_calls=(call,), input_tokens=40, output_tokens=9)
    script = {"weather": answer}
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    models = {"small": {"profile": "deepseek", "model": "deepseek-v4-flash"}}
    async with opened(script, models) as (pf, _):
        reply = await pf.chat("The weather in Oslo?", model="small", tools=[tool])
        assert (reply.text, reply.thinking) == ("Let me look.", "A tool knows.")
        assert [(c.name, c.arguments) for c in reply.tool_calls] == [("weather", '{"city":"Oslo"}')]
        assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.source) == (40, 9, "reported")
        pieces = [piece async for piece in pf.stream("The weather in Oslo?", model="small", tools=[tool])]
    said = {kind: "".join(p.text for p in pieces if p.kind == kind) for kind in ("thinking", "content")}
    assert said == {"thinking": "A tool knows.", "content": "Let me look."}
    assert "".join(p.tool["arguments"] for p in pieces if p.kind == "tool") == '{"city":"Oslo"}'
    assert pieces[-1].record.usage.output_tokens == 9


@pytest.mark.parametrize("profile", ["openai-compatible", "anthropic", "gemini", "ollama"])
async def test_every_wire_is_spoken(opened: Opened, profile: str) -> None:
    """The same script serves models of all four wires."""
    endpoint = {"ollama": "http://scripted.invalid", "gemini": "http://scripted.invalid/v1beta"}.get(profile, SCRIPTED_URL)
    endpoint = "http://scripted.invalid" if profile == "anthropic" else endpoint
    async with opened({"Hello": "Hi there"}, {"m": {"profile": profile, "endpoint": endpoint, "key": "k"}}) as (pf, transport):
        assert (await pf.chat("Hello", model="m")).text == "Hi there"
        pieces = [piece.text async for piece in pf.stream("Hello", model="m")]
        assert "".join(pieces) == "Hi there"
        assert sum(b"Hello" in request.body for request in transport.requests) == 2


async def test_delays_pass_on_the_injected_clock(opened: Opened, clock: FakeClock) -> None:
    """Four minutes of waiting are four minutes in the record and nothing on the wall."""
    before = time.monotonic()
    async with opened({"slow": Answer(text="at last", delay_s=240.0, pace_s=5.0)}) as (pf, _):
        started = clock.monotonic()
        reply = await pf.chat("slow", model="small")
        assert clock.monotonic() - started == pytest.approx(240.0)
        assert reply.record.duration_ms == pytest.approx(240_000.0)
        assert reply.record.overhead_ms == pytest.approx(0.0, abs=1.0)
        started = clock.monotonic()
        assert [piece.text async for piece in pf.stream("slow", model="small")][:2] == ["at ", "last"]
        assert clock.monotonic() - started == pytest.approx(245.0)
    assert time.monotonic() - before < 5.0


async def test_too_slow_an_answer_runs_into_the_configured_timeout(opened: Opened) -> None:
    """Limits of the configuration hold in virtual time, with the product's own errors."""
    limits = {"timeouts": {"total_s": 60, "between_tokens_s": 10}, "retries": {"attempts": 1}}
    script = {"never": Answer(text="x", delay_s=61.0), "stuck": Answer(text="one two three", pace_s=11.0)}
    async with opened(script, limits=limits) as (pf, transport):
        with pytest.raises(ProviderTimeout) as late:
            await pf.chat("never", model="small")
        assert late.value.details["stage"] == "total"
        stream = pf.stream("stuck", model="small")
        assert (await anext(stream)).text == "one "
        with pytest.raises(ProviderTimeout) as stuck:
            await anext(stream)
        assert stuck.value.details["stage"] == "between"
        assert all(request.closed_early for request in transport.requests)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(kind="status", status=400, message="no such thing"), ProviderRejected),
        (Fault(kind="drop"), ProviderCut),
        (Fault(kind="cut_after", after_chunks=1), ProviderCut),
    ],
)
async def test_a_script_may_fail(opened: Opened, fault: Fault, expected: type[Exception]) -> None:
    """A fault in the table hits every request it fits, as an upstream's failure would, whole and streamed."""
    async with opened({"bad": fault}, limits={"retries": {"attempts": 1}}) as (pf, _):
        with pytest.raises(expected):
            await pf.chat("bad luck", model="small")
        with pytest.raises(expected):
            _ = [piece async for piece in pf.stream("bad luck", model="small")]
        assert (await pf.chat("good luck", model="small")).text == "good luck"


async def test_queued_faults_lead_to_retries_and_fallbacks(opened: Opened, clock: FakeClock) -> None:
    """The way of a failing request is the product's: it waits in virtual time, asks again, and goes to the next model."""
    models = {"first": {"priority": 5}, "second": {}}
    async with opened({"Tell": "told"}, models) as (pf, transport):
        transport.fail(Fault(kind="status", status=500))
        reply = await pf.chat("Tell me", model="first")
        assert [a.outcome for a in reply.record.attempts] == ["error", "ok"]
        assert clock.slept
        transport.fail(Fault(kind="status", status=500, times=None, when=lambda r: r.json["model"] == "first"))
        reply = await pf.chat("Tell me")
        assert reply.model == "second"
        assert {a.model for a in reply.record.attempts} == {"first", "second"}
        transport.fail(Fault(kind="status", status=500, times=None))
        with pytest.raises(AllAttemptsFailed):
            await pf.chat("Tell me")
        transport.heal()


async def test_gather_keeps_the_order_of_the_prompts(opened: Opened) -> None:
    """The last prompt is answered first here, and still stands last."""

    def script(request: Recorded) -> Answer:
        number = int(request.json["messages"][-1]["content"].split()[-1])
        return Answer(text=f"answer {number}", delay_s=10.0 - number)

    async with opened(script) as (pf, transport):
        replies = await pf.gather([f"question {n}" for n in range(8)], model="small")
    assert [reply.text for reply in replies] == [f"answer {n}" for n in range(8)]
    finished = sorted(transport.requests, key=lambda request: request.finished_s or 0.0)
    assert finished[0].json["messages"][-1]["content"] == "question 7"


async def test_a_thousand_calls_of_a_minute_take_a_moment(opened: Opened, clock: FakeClock) -> None:
    """1,000 calls of a minute each, 50 at once, are 20 minutes of virtual time and about a second of real time."""
    async with opened(lambda _: Answer(text="done", delay_s=60.0)) as (pf, transport):
        began, real = clock.monotonic(), time.process_time()
        replies = await pf.gather([f"job {n}" for n in range(1000)], concurrency=50, model="small")
        real = time.process_time() - real
        assert clock.monotonic() - began == pytest.approx(1200.0)
        assert all(isinstance(reply, Reply) for reply in replies)
        assert len(transport.requests) == 1000
    assert real < 2.0  # measured: 0.5 s on a quiet machine


async def test_leaving_a_stream_stops_its_script(opened: Opened) -> None:
    """An answer nobody reads any more is closed early, as a socket would be."""
    async with opened({"long": Answer(text="word " * 50, pace_s=1.0)}) as (pf, transport):
        stream = pf.stream("long story", model="small")
        async for _ in stream:
            break
        await stream.aclose()
        assert transport.requests[0].closed_early
        assert transport.requests[0].chunks_sent < 50


async def test_cancelling_a_call_is_recorded(clock: FakeClock) -> None:
    """A call cancelled by its caller ends at once, by hand-moved time too."""
    by_hand = FakeClock()
    transport = ScriptedTransport({"slow": Answer(text="x", delay_s=5.0)}, clock=by_hand)
    async with prefrontal.open(scripted_config(), transport=transport, clock=by_hand) as pf:
        records: list[Any] = []
        pf.observers.append(records.append)
        asking = asyncio.create_task(pf.chat("slow", model="scripted"))
        await by_hand.sleepers(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert [record.status for record in records] == ["cancelled"]


async def test_nothing_is_written_and_nothing_listens(opened: Opened, own_environment: Path) -> None:
    """A scripted run leaves the home as it was."""
    async with opened() as (pf, _):
        await pf.chat("Hi", model="small")
    assert os.listdir(own_environment) == []


async def test_a_closed_transport_refuses(clock: FakeClock) -> None:
    """Calls after the end fail as with the real transport."""
    transport: Transport = ScriptedTransport(clock=clock)
    await transport.aclose()
    with pytest.raises(ShuttingDown):
        await transport.send(WireRequest(url=SCRIPTED_URL), Timeouts())


async def test_a_script_that_is_wrong_says_so(opened: Opened) -> None:
    """An exception of the test's own function reaches the test, whole and streamed, instead of a hang."""

    def broken(_request: Recorded) -> str:
        raise ZeroDivisionError("the script is wrong")

    async with opened(broken) as (pf, _):
        with pytest.raises(ZeroDivisionError):
            await pf.chat("Hi", model="small")
        with pytest.raises(ZeroDivisionError):
            _ = [piece async for piece in pf.stream("Hi", model="small")]
