"""The response cache on a request's way: what is answered from it, for whom, and what it costs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

import prefrontal
from prefrontal.app.compose import compose
from prefrontal.app.library import Prefrontal
from prefrontal.chat.blocks import Reasoning, ToolCall
from prefrontal.contracts.access import Grant
from prefrontal.contracts.money import Payer, Rate
from prefrontal.errors import LimitExceeded, PrefrontalError
from prefrontal.machine.context import LIBRARY, CallContext
from prefrontal.testing.answers import Answer, ScriptedCall
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.faults import Fault

PRICE = {"price": {"input_usd": 2.0, "output_usd": 10.0}}
USE = {"x_prefrontal": {"cache": "use"}}


def of(key: str, **fields: Any) -> CallContext:
    payer = fields.pop("payer", None) or Payer(key_id=key, team=fields.pop("team", None))
    return CallContext(key_id=key, grant=Grant(payer=payer, **fields))


async def ask(pf: Prefrontal, text: str = "tell me a story", context: CallContext = LIBRARY, **options: Any) -> Any:
    request = compose(text, {"model": "m", **options}, stream=False)
    return await pf.answer(request, context)


async def streamed(pf: Prefrontal, text: str = "tell me a story", **options: Any) -> Any:
    source = await pf.open_stream(compose(text, {"model": "m", **options}, stream=True), LIBRARY)
    try:
        chunks = []
        while batch := await source.read():
            chunks += batch
        return "".join([chunk.text for chunk in chunks]), source.record, chunks
    finally:
        await source.aclose()


async def test_nothing_is_cached_unless_somebody_asks(house: Any) -> None:
    """Two equal requests are two calls, and neither says a word of a cache."""
    pf = await house.open()
    records = [(await ask(pf)).record for _ in range(2)]
    assert len(house.asked) == 2
    assert [record.cache for record in records] == [None, None]
    assert pf.machine.parts.cache is not None
    assert (await pf.machine.parts.cache.state()).entries == 0


async def test_the_same_request_gets_the_same_answer_without_a_call(house: Any) -> None:
    """Tokens as they were, cost 0, what was saved, and the way it took in the record."""
    pf = await house.open({"m": house.model(**PRICE)})
    first, again = await ask(pf, **USE), await ask(pf, **USE)
    assert len(house.asked) == 1
    assert again.response == first.response
    assert (first.record.cache.status, again.record.cache.status) == ("stored", "hit")
    assert again.record.cache.id == first.record.cache.id
    assert (again.record.answered_by, again.record.cost_usd, again.record.attempts) == ("cache", 0.0, ())
    assert again.record.usage == first.record.usage
    assert again.record.cache.saved_usd == first.record.cost_usd == pytest.approx((4 * 2 + 4 * 10) / 1e6)
    assert "CACHE_LOOKUP" in again.record.states
    assert "LLM_CALL" not in again.record.states


async def test_an_answer_is_given_until_it_is_too_old(house: Any) -> None:
    """By the clock of the gateway; the age is told."""
    clock = FakeClock()
    pf = await house.open(cache={"ttl_s": 60}, clock=clock)
    await ask(pf, **USE)
    await clock.advance(59.0)
    assert (await ask(pf, **USE)).record.cache.age_s == 59.0
    await clock.advance(2.0)
    assert (await ask(pf, **USE)).record.cache.status == "stored"
    assert len(house.asked) == 2


async def test_peers_21_no_key_ever_sees_the_answer_of_another_tenant(house: Any) -> None:
    """GPTCache#8, vSR#2134: by default each key is alone; with a team, its keys share and nobody else; only `all` is all."""
    people = [of("k1", team="red"), of("k2", team="red"), of("k3", team="blue"), of("k4"), LIBRARY, CallContext(key_id="plain")]
    calls = {}
    for scope in ("key", "team", "all"):
        pf = await house.open(cache={"scope": scope, "mode": "all"})
        before = len(house.asked)
        for context in people:
            assert (await ask(pf, context=context)).record.answered_by in ("model", "cache")
        calls[scope] = len(house.asked) - before
        for context in people:
            assert (await ask(pf, context=context)).record.cache.status == "hit"
    assert calls == {"key": 6, "team": 5, "all": 1}


async def test_what_differs_is_asked_again(house: Any) -> None:
    """One letter, one parameter, one tool: each its own answer; how it travels and who signs it do not matter."""
    pf = await house.open()
    await ask(pf, **USE)
    different = [
        {"text": "tell me a story."},
        {"temperature": 0.0},
        {"seed": 1},
        {"max_tokens": 9},
        {"stop": ["x"]},
        {"reasoning_effort": "low"},
        {"top_unknown": 1},
        {"tools": [{"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}]},
    ]
    for options in different:
        assert (await ask(pf, **options, **USE)).record.cache.status == "stored", options
    asked = len(house.asked)
    for options in ({"user": "u"}, {"metadata": {"a": "b"}}, {"stream_options": {"include_usage": True}}):
        assert (await ask(pf, **options, **USE)).record.cache.status == "hit", options
    assert len(house.asked) == asked == 1 + len(different)


async def test_the_words_of_a_request_steer_it(house: Any) -> None:
    """no-store looks and keeps nothing, refresh replaces what is kept, bypass leaves it alone, each with its status."""
    pf = await house.open()

    async def status(wish: str) -> str:
        found: str = (await ask(pf, x_prefrontal={"cache": wish})).record.cache.status
        return found

    assert [await status(wish) for wish in ("no-store", "use", "no-store", "bypass", "refresh", "use")] == [
        "miss",
        "stored",
        "hit",
        "bypass",
        "stored",
        "hit",
    ]
    assert len(house.asked) == 4


async def test_a_key_a_channel_or_a_model_may_ask_for_it_or_forbid_it(house: Any) -> None:
    """Without a word in the request; a no of the operator holds against the request's yes."""
    models = {"m": house.model(), "on": house.model(cache=True), "off": house.model(cache=False)}
    pf = await house.open(models, routing={"channels": {"chat": {"cache": True}}})
    assert (await ask(pf)).record.cache is None  # a named model has no channel
    assert (await ask(pf, model="auto", context=of("k"))).record.cache.status == "stored"
    assert (await ask(pf, model="on")).record.cache.status == "stored"
    assert (await ask(pf, context=of("k", cache=True))).record.cache.status == "stored"
    for refused in (await ask(pf, model="off", **USE), await ask(pf, context=of("k", cache=False), **USE)):
        assert refused.record.cache.status == "bypass"
        assert "declines" in refused.record.cache.reason


async def test_a_private_key_leaves_nothing_behind(house: Any) -> None:
    """`store_content: false` holds for the cache as well, unless it is allowed for it."""
    pf = await house.open(cache={"mode": "all"})
    private = of("k", store_content=False)
    assert (await ask(pf, context=private, **USE)).record.cache.status == "bypass"
    assert (await pf.machine.parts.cache.state()).entries == 0  # type: ignore[union-attr]
    allowed = await house.open(cache={"private_keys": True})
    assert (await ask(allowed, context=private, **USE)).record.cache.status == "stored"


@pytest.mark.parametrize(
    ("answer", "why"),
    [(Answer(text="cut off", finish="length"), "length"), (Answer(text="no", finish="content_filter"), "content_filter")],
)
async def test_answers_that_are_not_whole_are_not_kept(house: Any, answer: Answer, why: str) -> None:
    """The reason is in the record, and the next request asks again."""
    house.up.answers = lambda _request: answer
    pf = await house.open()
    for _ in range(2):
        note = (await ask(pf, **USE)).record.cache
        assert (note.status, why in note.reason) == ("miss", True)
    assert len(house.asked) == 2


async def test_errors_are_not_kept(house: Any) -> None:
    """A failure is told to the one who asked, and the next one is asked for anew."""
    pf = await house.open(limits={"retries": {"attempts": 1}})
    house.up.fail(Fault(kind="status", status=500))
    with pytest.raises(PrefrontalError):
        await ask(pf, **USE)
    assert (await ask(pf, **USE)).record.cache.status == "stored"


async def test_the_answer_of_a_fallback_is_not_kept_for_the_model_that_failed(house: Any) -> None:
    """It would be given as the first model's for an hour after that is well again."""
    models = {"a": house.model(priority=9), "b": house.model(model="second")}
    routing = {"policy": "primary_with_fallback", "primary": "a"}
    pf = await house.open(models, routing=routing, limits={"retries": {"attempts": 1}})
    house.up.fail(Fault(kind="status", status=500))
    record = (await ask(pf, model="auto", **USE)).record
    assert (record.model, record.cache.status) == ("b", "miss")
    assert "stood in" in record.cache.reason
    assert (await ask(pf, model="auto", **USE)).record.model == "a"


async def test_a_stream_fills_the_cache_and_a_hit_is_streamed(house: Any) -> None:
    """Both ways: what one form kept the other gives; the chunks add up, with the usage and the end."""
    pf = await house.open()
    text, record, _ = await streamed(pf, **USE)
    assert (text, record.cache.status) == ("tell me a story", "stored")
    assert (await ask(pf, **USE)).response.text == text
    again, hit, chunks = await streamed(pf, **USE)
    assert (again, hit.cache.status, hit.answered_by) == (text, "hit", "cache")
    assert hit.usage == record.usage
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    assert len(house.asked) == 1


async def test_a_stream_that_its_client_leaves_is_not_kept(house: Any) -> None:
    """Half an answer is none; the upstream is closed as without a cache."""
    house.up.answers = lambda _request: Answer(text="one two three four five", pace_s=0.05)
    pf = await house.open()
    source = await pf.open_stream(compose("count", {"model": "m", **USE}, stream=True), LIBRARY)
    await source.read()
    await source.aclose()
    assert source.record.status == "cancelled"
    assert source.record.attempts[0].outcome == "cancelled"
    assert (await pf.machine.parts.cache.state()).entries == 0  # type: ignore[union-attr]


async def test_a_tool_call_from_the_cache_goes_on_with_its_thinking(house: Any) -> None:
    """The loop's state is part of the name; the signed thought of a cached turn is put back like any other."""
    thought = Answer(reasoning="A tool knows.", tool_calls=(ScriptedCall(name="t", arguments={"a": 1}, id="call_9"),))
    house.up.answers = lambda _request: thought
    pf = await house.open({"m": house.model("deepseek")})
    tools = [{"type": "function", "function": {"name": "t", "parameters": {"type": "object"}}}]
    await ask(pf, "look", tools=tools, **USE)
    pf.machine.parts.turns._turns.clear()  # as after a restart with a cache on disk
    hit = await ask(pf, "look", tools=tools, **USE)
    assert hit.record.cache.status == "hit"
    assert [type(block) for block in hit.response.choices[0].blocks] == [Reasoning, ToolCall]
    call = {"id": "call_9", "type": "function", "function": {"name": "t", "arguments": '{"a":1}'}}
    history = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_9", "content": "42"},
    ]
    house.up.answers = lambda _request: Answer(text="done")
    await pf.chat(history, model="m", tools=tools)
    assert "A tool knows." in str(house.asked[-1].json["messages"])


async def test_a_hit_costs_no_budget_and_counts_as_a_request(house: Any) -> None:
    """With every cent spent a kept answer still comes; the limit of requests holds for hits as for calls."""
    budget = {"name": "day", "scope": "key", "window": "day", "usd": 0.00006}
    pf = await house.open({"m": house.model(**PRICE)}, budgets=[budget])
    payer = Payer(key_id="k", rates=(Rate(name="r", scope="key", window="minute", requests=4),))
    context = of("k", payer=payer)
    await ask(pf, context=context, max_tokens=4, **USE)
    (state,) = [state for state in pf.money.treasury.states() if state.of == "k"]
    for _ in range(2):
        assert (await ask(pf, context=context, max_tokens=4, **USE)).record.cost_usd == 0.0
    (after,) = [state for state in pf.money.treasury.states() if state.of == "k"]
    assert after.spent_usd == state.spent_usd
    with pytest.raises(PrefrontalError) as caught:
        await ask(pf, "something else", context, max_tokens=4)
    assert caught.value.code == "insufficient_quota"
    with pytest.raises(LimitExceeded):
        await ask(pf, context=context, max_tokens=4, **USE)


async def test_a_persistent_cache_survives_the_process(house: Any, tmp_path: Path) -> None:
    """Another gateway on the same file gives what the first one kept; without `persist` nothing touches the disk."""
    settings = {"persist": True, "path": str(tmp_path / "answers.db")}
    first = await house.open(cache=settings)
    await ask(first, **USE)
    second = await house.open(cache=settings)
    assert (await ask(second, **USE)).record.cache.status == "hit"
    assert len(house.asked) == 1
    await ask(await house.open(), **USE)
    assert not (tmp_path / "cache.db").exists()


async def test_a_new_price_keeps_the_answers_and_a_new_place_does_not(house: Any) -> None:
    """What is behind a name is part of the answer's name."""
    pf = await house.open()
    await ask(pf, **USE)
    cache = pf.machine.parts.cache
    assert cache is not None
    for entry, status in ((house.model(**PRICE), "hit"), (house.model(model="a-newer-one"), "stored")):
        new = await house.open({"m": entry})
        assert new.machine.parts.cache is not None
        new.machine.parts.cache.move_to(cache._store)
        assert (await ask(new, **USE)).record.cache.status == status


async def test_settings_of_the_cache_follow_the_file(house: Any, tmp_path: Path) -> None:
    """Switched off and on again while it runs: what was kept is still there, and no request has to wait for a restart."""
    file = tmp_path / "prefrontal.yaml"

    def write(**cache: Any) -> None:
        tree = {"models": {"m": house.model()}, "discovery": {"enabled": False}, "cache": cache}
        file.write_text(msgspec.json.encode(tree).decode())

    write(max_bytes=100_000)
    async with prefrontal.open(file, env={"PREFRONTAL_HOME": str(tmp_path)}, ledger=house.ledger) as pf:
        await ask(pf, **USE)
        write(mode="off")
        await pf.holder.reload_now()
        assert (await ask(pf, **USE)).record.cache.reason == "it is switched off"
        write(max_bytes=1024)
        await pf.holder.reload_now()
        assert (await ask(pf, **USE)).record.cache.status == "hit"
        for number in range(10):
            await ask(pf, f"{number} " + "word " * 50, **USE)
        assert pf.machine.parts.cache is not None
        state = await pf.machine.parts.cache.state()
        assert state.bytes is not None
        assert state.bytes <= state.max_bytes == 1024
        assert state.evicted > 0


async def test_whoever_leaves_while_a_checked_answer_is_kept_lets_go_of_the_door(house: Any) -> None:
    """A store may take its time; the place in the gateway is free again and the request has its record."""
    pf = await house.open()
    parts = pf.machine.parts
    writing, store = asyncio.Event(), parts.cache._store

    async def put(*_: Any) -> None:
        writing.set()
        await asyncio.Event().wait()

    store.put = put
    request = compose('{"a": 1}', {"model": "m", "response_format": {"type": "json_object"}, **USE}, stream=False)
    asking = asyncio.create_task(pf.answer(request, LIBRARY))
    async with asyncio.timeout(5.0):
        await writing.wait()
    assert parts.door.slots.held == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert parts.door.slots.held == 0
    assert [record.status for record in house.records] == ["cancelled"]
