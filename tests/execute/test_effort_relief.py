"""Thinking that used up the cap, refusals that teach, and models that only stream."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from prefrontal.errors import ProviderError, ProviderRejected

MODES = pytest.mark.parametrize("mode", ["whole", "stream"])


def eaten(wire: Any, mode: str, **fields: Any) -> Any:
    """An answer that ended at its cap with nothing to show; a stream hides its thinking, as hosted models do."""
    if mode == "stream":
        return wire.step(parts=wire.streamed(finish="length", usage=(7, 64), **fields))
    return wire.whole("", finish="length", usage=(7, 64), thinking="hm " * 20, **fields)


def sent(bench: Any, field: str) -> list[Any]:
    return [body.get(field) for _, body in bench.transport.sent]


@MODES
async def test_thinking_that_ate_the_cap_is_asked_for_less(bench: Any, wire: Any, mode: str) -> None:
    """The caller's cap stays, the effort steps down, once; both attempts and their tokens are in the journal."""
    card = bench.thinker("a", eaten(wire, mode), wire.answer("short", mode), dialect="openai_effort")
    call = bench.call(card, effort=0.8, max_output_tokens=64, cap_field="max_completion_tokens")
    assert await bench.ask(call, mode) == "short"
    first, second = sent(bench, "reasoning_effort")
    order = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
    assert order.index(second) < order.index(first)
    assert sent(bench, "max_completion_tokens") in ([64, 64], [None, None]) or sent(bench, "max_tokens") == [64, 64]
    assert bench.outcomes() == [("a", "error", "thinking_ate_cap"), ("a", "ok", None)]
    assert bench.journals[-1].usage().output_tokens == 64 + 3


@MODES
async def test_a_cap_of_ours_grows_instead(bench: Any, wire: Any, mode: str) -> None:
    """Nobody asked for the cap but we: twice as much, the effort as it was."""
    card = bench.thinker("a", eaten(wire, mode), wire.answer("long", mode), dialect="openai_effort", max_output_tokens=10_000)
    assert await bench.ask(bench.call(card, effort=0.8, default_cap=500), mode) == "long"
    caps = [body.get("max_completion_tokens") or body.get("max_tokens") for _, body in bench.transport.sent]
    assert caps == [500, 1000]
    assert len(set(sent(bench, "reasoning_effort"))) == 1


@MODES
async def test_a_cap_of_ours_grows_no_further_than_the_model_answers(bench: Any, wire: Any, mode: str) -> None:
    """At the model's own limit only less thinking is left."""
    card = bench.thinker("a", eaten(wire, mode), wire.answer("ok", mode), dialect="openai_effort", max_output_tokens=500)
    assert await bench.ask(bench.call(card, effort=0.8, default_cap=500), mode) == "ok"
    assert len(set(sent(bench, "reasoning_effort"))) == 2


@MODES
async def test_a_second_time_the_answer_passes_as_it_is(bench: Any, wire: Any, mode: str) -> None:
    """Relief is given once: an answer that is empty again is the answer, marked for what it is."""
    card = bench.thinker("a", eaten(wire, mode), dialect="openai_effort")
    assert await bench.ask(bench.call(card, effort=0.8, max_output_tokens=64), mode) == ""
    assert len(bench.asked) == 2
    assert bench.outcomes() == [("a", "error", "thinking_ate_cap"), ("a", "ok", "thinking_ate_cap")]
    assert bench.journals[-1].attempts()[-1].finish_reason == "length"


@MODES
async def test_a_model_without_effort_control_is_not_asked_twice(bench: Any, wire: Any, mode: str) -> None:
    """Nothing can be eased, so nothing is asked again; the mark says why the answer is empty."""
    card = bench.thinker("a", eaten(wire, mode), dialect="fixed")
    assert await bench.ask(bench.call(card, max_output_tokens=64), mode) == ""
    assert bench.outcomes() == [("a", "ok", "thinking_ate_cap")]


async def test_never_after_a_byte_was_sent(bench: Any, wire: Any) -> None:
    """Thinking was shown as it came: the stream ends at its cap, and nobody starts over."""
    parts = wire.streamed(finish="length", thinking="hm")
    card = bench.thinker("a", wire.step(parts=parts), wire.step(parts=wire.streamed("again")), dialect="openai_effort")
    assert await bench.text(bench.call(card, effort=0.8, max_output_tokens=64)) == ""
    assert len(bench.asked) == 1
    assert bench.outcomes() == [("a", "ok", "thinking_ate_cap")]


async def test_an_answer_cut_at_its_cap_is_no_thinking_that_ate_it(bench: Any, wire: Any) -> None:
    """A stream that showed words after its thinking is an answer, however short."""
    parts = wire.streamed("so", finish="length", thinking="hm")
    card = bench.thinker("a", wire.step(parts=parts), dialect="openai_effort")
    assert await bench.text(bench.call(card, effort=0.8, max_output_tokens=64)) == "so"
    assert bench.outcomes() == [("a", "ok", None)]


@MODES
async def test_a_refused_level_steps_to_the_nearest_and_is_remembered(bench: Any, wire: Any, mode: str) -> None:
    """The 400 names the levels there are: asked once more with the nearest, and from then on at once."""
    text = "Invalid value: 'medium'. Supported values are: 'low', 'high'."
    card = bench.thinker(
        "a", wire.refusal(400, text, param="reasoning_effort"), wire.answer("good", mode), dialect="openai_effort"
    )
    assert await bench.ask(bench.call(card, effort=0.5), mode) == "good"
    first, second = sent(bench, "reasoning_effort")
    assert first == "medium"
    assert second in ("low", "high")
    assert await bench.ask(bench.call(card, effort=0.5), mode) == "good"
    assert sent(bench, "reasoning_effort")[2:] == [second]
    assert bench.runtime.find("a").effort_levels == ("low", "high")


async def test_a_level_is_asked_for_once_per_request(bench: Any, wire: Any) -> None:
    """A model that refuses that too has said no."""
    text = "reasoning_effort is not supported"
    card = bench.thinker("a", wire.refusal(400, text, param="reasoning_effort"), dialect="openai_effort")
    with pytest.raises(ProviderRejected):
        await bench.complete(bench.call(card, effort=0.5))
    assert len(bench.asked) == 2


async def test_a_refused_budget_is_left_out_and_remembered(bench: Any, wire: Any) -> None:
    """An engine without a reasoning parser refuses the budget field: the switch alone is sent from then on."""
    card = bench.thinker("a", wire.whole("x"), dialect="vllm_template")
    await bench.complete(bench.call(card, effort=0.5))
    before = msgspec.json.encode(bench.transport.sent[0][1]).decode()
    named = "thinking_token_budget" if "thinking_token_budget" in before else "thinking_budget"
    assert named in before
    card = bench.thinker("a", wire.refusal(400, f"Unknown field {named}"), wire.whole("good"), dialect="vllm_template")
    assert (await bench.complete(bench.call(card, effort=0.5))).text == "good"
    assert named not in msgspec.json.encode(bench.transport.sent[-1][1]).decode()
    await bench.complete(bench.call(card, effort=0.5))
    assert len(bench.asked) == 4


async def test_a_refusal_of_something_else_teaches_nothing(bench: Any, wire: Any) -> None:
    """Only a refusal that names the effort field is about effort."""
    card = bench.thinker("a", wire.refusal(400, "messages[0] is too long"), dialect="openai_effort")
    with pytest.raises(ProviderRejected):
        await bench.complete(bench.call(card, effort=0.5))
    assert len(bench.asked) == 1
    assert bench.runtime.find("a").effort_levels is None


async def test_what_was_learnt_is_forgotten_with_the_model(bench: Any, wire: Any) -> None:
    """After a reload the name means another endpoint: its breaker is closed and its levels are unknown."""
    card = bench.thinker("a", wire.refusal(500), dialect="openai_effort")
    limits = {"retries": {"attempts": 1}, "breaker": {"failures": 1}}
    with pytest.raises(ProviderError):
        await bench.complete(bench.call(card, limits=limits))
    state = bench.runtime.find("a")
    state.effort_levels = ("low",)
    bench.runtime.configure({"a": card}, default_limit=4, default_queue=2)
    assert (state.breaker.opened_at is not None, state.effort_levels) == (True, ("low",))
    moved = msgspec.structs.replace(card, base_url="http://elsewhere.test/v1")
    bench.runtime.configure({"a": moved}, default_limit=4, default_queue=2)
    assert (state.breaker.opened_at, state.effort_levels) == (None, None)


async def test_a_model_that_only_streams_answers_whole(bench: Any, wire: Any) -> None:
    """The upstream takes thinking only as a stream: it is streamed and put together for a caller who wants it whole."""
    card = bench.thinker("a", wire.step(parts=wire.streamed("to", "gether", thinking="let me see")), dialect="dashscope_budget")
    answer = await bench.complete(bench.call(card, effort=0.8))
    assert answer.text == "together"
    assert answer.choices[0].reasoning == "let me see"
    assert (answer.usage.source, answer.usage.output_tokens) == ("reported", 3)
    assert bench.transport.sent[0][1]["stream"] is True
    assert bench.outcomes() == [("a", "ok", None)]


async def test_a_model_that_only_streams_may_fail_in_the_middle(bench: Any, wire: Any) -> None:
    """Nothing of it was shown, so another model may still answer; nothing is spliced."""
    from prefrontal.errors import ProviderCut

    broken = wire.step(parts=[wire.event({"content": "Half an"}), ProviderCut("gone")])
    card = bench.thinker("a", broken, dialect="dashscope_budget")
    limits = {"retries": {"attempts": 1}}
    answer = await bench.complete(bench.call(card, bench.model("b", wire.whole("whole")), effort=0.8, limits=limits))
    assert answer.text == "whole"
    assert bench.outcomes() == [("a", "error", "upstream_cut"), ("b", "ok", None)]


async def test_a_model_that_only_streams_may_think_its_cap_away(bench: Any, wire: Any) -> None:
    """Its visible thinking went to nobody yet: it is asked again with less."""
    parts = wire.streamed(finish="length", thinking="hm")
    card = bench.thinker("a", wire.step(parts=parts), wire.step(parts=wire.streamed("ok")), dialect="dashscope_budget")
    call = bench.call(card, effort=0.8, max_output_tokens=8_000)
    assert (await bench.complete(call)).text == "ok"
    assert bench.outcomes() == [("a", "error", "thinking_ate_cap"), ("a", "ok", None)]


async def test_a_stream_without_usage_is_collected_with_an_estimate(bench: Any, wire: Any) -> None:
    """The whole answer says where its count comes from."""
    card = bench.thinker("a", wire.step(parts=wire.streamed("word " * 40, usage=None)), dialect="dashscope_budget")
    assert (await bench.complete(bench.call(card, effort=0.8))).usage.source == "estimated"
