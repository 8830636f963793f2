"""Providers' own prompt caches: who has read a beginning gets what goes on from it, and cached tokens have their own price."""

from __future__ import annotations

from typing import Any

import pytest

from prefrontal.app.library import Prefrontal
from prefrontal.execute.prefixes import Prefixes
from prefrontal.plan.inputs import Stay
from prefrontal.plan.prefixes import Prefix
from prefrontal.testing.answers import Answer
from prefrontal.testing.clock import FakeClock

RULES = "Follow the rules of the house. " * 300


def beginning(number: int, share: float = 1.0) -> Prefix:
    return Prefix(digest=bytes([number]), characters=4000, share=share)


def test_the_longest_beginning_that_was_read_lately_counts() -> None:
    """Within the provider's time, of the model and deployment that read it; the longest unread makes room."""
    prefixes = Prefixes(max_prefixes=3)
    prefixes.note([beginning(1), beginning(2, 0.5)], "a", "east", 1000, now=0.0)
    assert prefixes.find([beginning(9), beginning(1), beginning(2)], 10.0, 300.0) == Stay(
        model="a", deployment="east", cached_tokens=1000, by="prefix"
    )
    assert prefixes.find([beginning(2)], 10.0, 300.0) == Stay(model="a", deployment="east", cached_tokens=500, by="prefix")
    assert prefixes.find([beginning(2)], 301.0, 300.0) is None
    for number in range(3, 9):
        prefixes.note([beginning(number)], "b", None, 10, now=400.0)
    assert len(prefixes) == 3
    prefixes.note([], "b", None, 10, now=400.0)


async def auto(pf: Prefrontal, question: str, rules: str = RULES) -> Any:
    messages = [{"role": "system", "content": rules}, {"role": "user", "content": question}]
    return (await pf.chat(messages, model="auto")).record


async def test_peers_20_a_request_goes_where_its_beginning_is_cached(house: Any) -> None:
    """litellm#28427, hermes-agent#71576: the same long instructions meet the same model while its cache lives.

    That under a policy that takes turns; short, other and later ones take theirs. The reason is in the plan.
    """
    clock = FakeClock()
    models = {name: house.model(model=name) for name in ("a", "b", "c")}
    pf = await house.open(models, routing={"policy": "round_robin"}, clock=clock)
    first = await auto(pf, "one?")
    following = [await auto(pf, f"and {number}?") for number in range(4)]
    assert {record.model for record in following} == {first.model}
    assert any(r.rule == "affinity" and "cached there" in r.effect for r in following[0].plan.reasons)
    assert len({(await auto(pf, f"short {number}?", "Be brief.")).model for number in range(6)}) == 3
    assert len({(await auto(pf, "other?", f"{number} {RULES}")).model for number in range(6)}) == 3
    later = set()
    for number in range(3):
        await clock.advance(301.0)
        later.add((await auto(pf, f"later {number}?")).model)
    assert len(later) == 3
    off = await house.open(models, routing={"policy": "round_robin", "affinity": {"enabled": False}})
    assert len({(await auto(off, f"{number}?")).model for number in range(6)}) == 3


async def test_one_model_at_several_places_is_asked_where_the_beginning_is_cached(house: Any) -> None:
    """Also a model that is named: the place that read the instructions, or the conversation of that name, reads on."""
    places = [{"name": name, "endpoint": house.up.base_url, "key": name} for name in ("east", "west", "north")]
    entry = {"profile": "openai-compatible", "deployments": places, "balance": "weighted"}
    pf = await house.open({"m": entry})

    async def place(question: str, rules: str = RULES, **options: Any) -> str:
        messages = [{"role": "system", "content": rules}, {"role": "user", "content": question}]
        record = (await pf.chat(messages, model="m", **options)).record
        found: str = record.attempts[-1].deployment
        return found

    assert len({await place(f"{number}?") for number in range(6)}) == 1
    assert len({await place(f"{number}?", "Be brief.") for number in range(15)}) == 3
    assert len({await place(f"{number}?", "Be brief.", prompt_cache_key="tea") for number in range(6)}) == 1
    assert len({await place(f"{number}?", "Be brief.", x_prefrontal={"session": "s"}) for number in range(6)}) == 1


async def test_cached_tokens_have_their_own_price(house: Any) -> None:
    """Read and written parts of the input are told apart and paid apart; without a price of their own they cost as input."""
    price = {"input_usd": 10.0, "output_usd": 0.0, "cache_read_usd": 1.0, "cache_write_usd": 12.5}
    house.up.answers = lambda _request: Answer(text="ok", input_tokens=1000, cached_tokens=800)
    plain = {"input_usd": 10.0, "output_usd": 0.0}
    pf = await house.open({"m": house.model(price=price), "plain": house.model(price=plain)})
    record = (await pf.chat("hi", model="m")).record
    assert (record.usage.cache_read_tokens, record.usage.uncached_input_tokens) == (800, 200)
    assert record.cost_usd == pytest.approx((800 * 1.0 + 200 * 10.0) / 1e6)
    assert (await pf.chat("hi", model="plain")).record.cost_usd == pytest.approx(1000 * 10.0 / 1e6)
    usage = {"prompt_tokens": 1000, "completion_tokens": 1, "total_tokens": 1001}
    usage["prompt_tokens_details"] = {"cached_tokens": 600, "cache_write_tokens": 300}  # type: ignore[assignment]
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    whole = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    house.up.routes[("POST", "/v1/chat/completions")] = (200, whole)
    record = (await pf.chat("hi", model="m")).record
    assert record.cost_usd == pytest.approx((600 * 1.0 + 300 * 12.5 + 100 * 10.0) / 1e6)


async def test_marks_and_keys_of_prompt_caches_are_passed_on(house: Any) -> None:
    """`cache_control` on parts reaches upstreams of both dialects that know it, `prompt_cache_key` those of its own."""
    pf = await house.open({"m": house.model(), "claude": house.model("anthropic")})
    mark = {"type": "ephemeral", "ttl": "1h"}
    parts = [{"type": "text", "text": "long rules", "cache_control": mark}]
    messages = [{"role": "system", "content": parts}, {"role": "user", "content": "hi"}]
    await pf.chat(messages, model="m", prompt_cache_key="tea")
    sent = house.asked[-1].json
    assert sent["messages"][0]["content"][0]["cache_control"] == mark
    assert sent["prompt_cache_key"] == "tea"
    await pf.chat(messages, model="claude", max_tokens=50)
    assert house.asked[-1].json["system"][0]["cache_control"] == mark
