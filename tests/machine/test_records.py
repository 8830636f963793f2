"""What every request leaves behind."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from prefrontal.errors import AllAttemptsFailed, CapabilityMissing, ProviderError
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.faults import Fault

NAMED = ["INIT", "LLM_CALL", "SYNTHESIS", "COMPLETED"]


async def test_each_request_leaves_one_record(house: Any) -> None:
    """Answered, failed and cancelled requests are recorded once each, with states, attempts, usage source and cost."""
    price = {"input_usd": 1.0, "output_usd": 2.0}
    pf = await house.open({"m": house.model(price=price)}, limits={"retries": {"attempts": 1}})
    await pf.chat("one two three", model="m")
    house.up.fail(Fault(kind="status", status=500))
    with pytest.raises(ProviderError):
        await pf.chat("one two three", model="m")
    house.up.fail(Fault(kind="slow_headers", delay_s=30.0))
    task = asyncio.create_task(pf.chat("one two three", model="m"))
    await house.up.arrived(len(house.up.requests) + 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    good, bad, left = house.records
    assert [r.status for r in (good, bad, left)] == ["ok", "error", "cancelled"]
    assert [r.states[-1] for r in (good, bad, left)] == ["COMPLETED", "FAILED", "CANCELLED"]
    assert [[a.outcome for a in r.attempts] for r in (good, bad, left)] == [["ok"], ["error"], ["cancelled"]]
    assert (good.usage.source, good.usage.input_tokens, good.usage.output_tokens) == ("reported", 3, 3)
    assert good.cost_usd == pytest.approx((3 * 1.0 + 3 * 2.0) / 1e6)
    assert (bad.error_code, bad.http_status, bad.attempts[0].upstream_status) == ("upstream_error", 502, 500)
    assert len({r.id for r in (good, bad, left)}) == 3


async def test_a_stream_that_is_left_is_recorded_as_left(house: Any) -> None:
    """What had been shown is counted by estimate; the upstream is told to stop."""
    pf = await house.open()
    house.up.fail(Fault(kind="slow_between", after_chunks=1, delay_s=30.0))
    source = pf.stream("one two three", model="m")
    assert (await anext(source)).text.strip() == "one"
    await source.aclose()
    record = house.records[0]
    assert (record.status, record.usage.source) == ("cancelled", "estimated")
    await asyncio.wait_for(house.asked[0].over(), 1.0)
    assert house.asked[0].closed_early


async def test_a_stream_that_breaks_is_recorded_as_an_error(house: Any) -> None:
    """The pieces before it were shown; the record has the error and its attempt."""
    pf = await house.open({"a": house.model(priority=9), "b": house.model()})
    house.up.fail(Fault(kind="cut_after", after_chunks=2))
    source = pf.stream("one two three")
    assert [(await anext(source)).text.strip() for _ in range(2)] == ["one", "two"]
    with pytest.raises(ProviderError):
        await anext(source)
    record = house.records[0]
    assert (record.status, record.states[-1], len(record.attempts)) == ("error", "FAILED", 1)


async def test_several_failures_are_one_error_with_all(house: Any) -> None:
    """Both models' failures are told, and both attempts are in the record."""
    pf = await house.open({"a": house.model(priority=9), "b": house.model()}, limits={"retries": {"attempts": 1}})
    house.up.fail(Fault(kind="status", status=500, times=2))
    with pytest.raises(AllAttemptsFailed) as caught:
        await pf.chat("Tell me a story")
    assert [e.model for e in caught.value.errors] == ["a", "b"]
    assert [a.model for a in house.records[0].attempts] == ["a", "b"]


async def test_content_is_kept_only_when_asked_for_and_never_with_secrets(house: Any) -> None:
    """By default no word of the prompt is stored; with `records.content` it is, without the keys of the registry."""
    key = "sk-very-secret-key-of-the-registry"
    models = {"m": house.model(key=key)}
    quiet = await house.open(models)
    await quiet.chat(f"my key is {key}", model="m")
    assert house.records[-1].content is None
    loud = await house.open(models, records={"content": True})
    await loud.chat(f"my key is {key}", model="m")
    async for _ in loud.stream(f"my key is {key}", model="m"):
        pass
    for record in house.records[-2:]:
        stored = msgspec.json.encode(record.content).decode()
        assert "my key is" in stored
        assert key not in stored
    assert all(key not in msgspec.json.encode(record).decode() for record in house.records)


async def test_a_bug_of_ours_is_recorded_too(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is not ours to raise passes, and the request is not left without a record."""
    pf = await house.open()

    async def broken(*_: Any) -> Any:
        raise RuntimeError("bug")

    monkeypatch.setattr(pf.machine.parts.executor, "complete", broken)
    with pytest.raises(RuntimeError):
        await pf.chat("Hi", model="m")
    monkeypatch.setattr(pf.machine.parts.executor, "embed", broken)
    with pytest.raises(RuntimeError):
        await pf.embed(["Hi"], model="m")
    assert [(r.status, r.error_code) for r in house.records] == [("error", "internal_error")] * 2


async def test_embeddings_take_the_model_of_their_role(house: Any) -> None:
    """`auto` takes the embedding model, a chat model is refused by name, and both are recorded."""
    chat = house.model(capabilities={"embedding": False})
    pf = await house.open({"m": chat, "vectors": house.model(roles=["embedding"], capabilities={"embedding": True})})
    done = await pf.embed(["one", "two"])
    assert len(done.response.vectors if hasattr(done.response, "vectors") else done.response.data) == 2
    assert done.record.model == "vectors"
    assert list(done.record.states) == NAMED
    with pytest.raises(CapabilityMissing):
        await pf.embed(["one"], model="m")
    assert [r.status for r in house.records] == ["ok", "error"]


async def test_metered_models_stop_at_the_days_limit(house: Any) -> None:
    """Models found only by their key join `auto` until their limit of the day is used up, and again on the next."""
    clock = FakeClock()
    models = {"m": house.model(price={"input_usd": 0.0, "output_usd": 100_000.0}, capabilities={"chat": True})}
    pf = await house.open(models, clock=clock, limits={"discovered_spend_usd_per_day": 0.15})
    found = msgspec.structs.replace(pf.registry.cards["m"], origin="discovered", self_hosted=False)
    pf.holder._current = msgspec.structs.replace(
        pf.holder.current, registry=msgspec.structs.replace(pf.registry, cards={"m": found})
    )
    assert (await pf.chat("Tell me a story")).cost_usd == pytest.approx(0.4)
    with pytest.raises(Exception, match="spend limit"):
        await pf.chat("Tell me a story")
    clock.jump_wall(86_400.0)
    assert (await pf.chat("Tell me a story")).model == "m"


async def test_a_bug_inside_a_stream_is_an_error_and_not_a_leaving(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upstream is closed and the record does not blame the client."""
    pf = await house.open()
    house.up.fail(Fault(kind="slow_between", after_chunks=1, delay_s=30.0))
    source = pf.stream("one two three", model="m")
    await anext(source)

    async def broken(_self: Any) -> Any:
        raise RuntimeError("bug")

    monkeypatch.setattr("prefrontal.execute.live.LiveStream.pull", broken)
    with pytest.raises(RuntimeError):
        await anext(source)
    assert [(r.status, r.error_code) for r in house.records] == [("error", "internal_error")]
    await asyncio.wait_for(house.asked[0].over(), 1.0)
    assert pf.runtime.find("m").slots.held == 0
