"""The paths of requests through the states, and what each of them calls."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from prefrontal.errors import (
    CapabilityMissing,
    ContextTooLong,
    InvalidRequest,
    ProviderError,
    UnknownModel,
)
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.faults import Fault

SUM = "what is 17.5% of 2,340?"
NAMED = ["INIT", "LLM_CALL", "SYNTHESIS", "COMPLETED"]
ROUTED = ["INIT", "ROUTING_DECISION", "MODEL_SELECTION", "LLM_CALL", "SYNTHESIS", "COMPLETED"]
REFLEX = ["INIT", "ROUTING_DECISION", "TOOL_ONLY_EXECUTION", "SYNTHESIS", "COMPLETED"]


async def streamed(pf: Any, prompt: Any, **options: Any) -> tuple[str, Any]:
    """Return the text and the record of a stream."""
    pieces = [piece async for piece in pf.stream(prompt, **options)]
    return "".join(piece.text for piece in pieces if piece.kind == "content"), pieces[-1].record


async def test_a_named_model_is_called_without_any_assessment(house: Any) -> None:
    """Naming a model goes straight to it, also with a question that a reflex could answer."""
    pf = await house.open()
    reply = await pf.chat(SUM, model="m")
    assert list(reply.record.states) == NAMED
    assert (reply.record.assessment, reply.record.plan, reply.record.answered_by) == (None, None, "model")
    assert len(house.asked) == 1


async def test_auto_goes_by_way_of_a_plan(house: Any) -> None:
    """What no reflex knows is assessed, planned and answered by a model; streamed and whole take the same way."""
    pf = await house.open()
    reply = await pf.chat("Tell me a story")
    text, record = await streamed(pf, "Tell me a story")
    assert list(reply.record.states) == list(record.states) == ROUTED
    assert reply.text == text == "Tell me a story"
    assert reply.record.plan is not None
    assert reply.record.plan.model == "m"
    assert (reply.record.stream, record.stream) == (False, True)


async def test_a_reflex_answers_without_a_model(house: Any) -> None:
    """No upstream is called, nothing is paid, and the record says that a tool answered."""
    pf = await house.open()
    reply = await pf.chat(SUM)
    text, record = await streamed(pf, SUM)
    for found in (reply.record, record):
        assert list(found.states) == REFLEX
        assert (found.answered_by, found.cost_usd, found.attempts, found.tool) == ("tool", 0.0, (), "calculator")
    assert "409.5" in reply.text
    assert text == reply.text
    assert house.asked == []


async def test_a_reflex_that_abstains_leaves_it_to_a_model(house: Any) -> None:
    """Recognised and then not answered: MODEL_SELECTION follows, and a model answers."""
    pf = await house.open()
    reflexes = pf.machine.parts.reflexes

    class Shy:
        def propose(self, text: str, context: Any) -> Any:
            return reflexes.propose(text, context)

        def answer(self, _proposal: Any, _context: Any) -> None:
            return None

    pf.machine.parts = msgspec.structs.replace(pf.machine.parts, reflexes=Shy())
    reply = await pf.chat(SUM)
    assert list(reply.record.states) == [*REFLEX[:3], *ROUTED[2:]]
    assert (reply.record.answered_by, reply.record.plan.path) == ("model", "model")
    assert len(house.asked) == 1


IMAGE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}, {"type": "text", "text": SUM}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
MODEL_QUESTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "system prompt": ([{"role": "system", "content": "Answer in French."}, {"role": "user", "content": SUM}], {}),
    "developer prompt": ([{"role": "developer", "content": "Be rude."}, {"role": "user", "content": SUM}], {}),
    "tools": (SUM, {"tools": [TOOL]}),
    "several choices": (SUM, {"n": 2}),
    "image": ([{"role": "user", "content": IMAGE}], {}),
    "output format": (SUM, {"response_format": {"type": "json_object"}}),
    "log-probabilities": (SUM, {"logprobs": True}),
    "sound": (SUM, {"modalities": ["text", "audio"]}),
    "legacy functions": (SUM, {"functions": [{"name": "f"}]}),
    "demanded capability": (SUM, {"x_prefrontal": {"needs": ["vision"]}}),
    "the caller's word": (SUM, {"x_prefrontal": {"reflex": False}}),
    "the code channel": (SUM, {"model": "auto/code"}),
    "an assistant's turn": ([{"role": "user", "content": SUM}, {"role": "assistant", "content": "Let me see:"}], {}),
}


@pytest.mark.parametrize("case", MODEL_QUESTIONS)
async def test_a_reflex_does_not_answer_what_only_a_model_can(house: Any, case: str) -> None:
    """The same sum goes to a model when the request asks for more than a sum."""
    prompt, options = MODEL_QUESTIONS[case]
    pf = await house.open({"m": house.model(capabilities=dict.fromkeys(("vision", "audio", "tools", "structured_output"), True))})
    house.up.answers = lambda _request: '{"sum":2}'
    reply = await pf.chat(prompt, **options)
    assert reply.record.answered_by == "model"
    assert len(house.asked) == 1


@pytest.mark.parametrize("system", ["You are a helpful assistant.", "You are a friendly, concise AI assistant"])
async def test_a_system_prompt_that_says_nothing_does_not_switch_reflexes_off(house: Any, system: str) -> None:
    """Many clients send one by default."""
    pf = await house.open()
    reply = await pf.chat([{"role": "system", "content": system}, {"role": "user", "content": SUM}])
    assert reply.record.answered_by == "tool"


@pytest.mark.parametrize("reflexes", [{"enabled": False}, {"tools": ["timezone"]}])
async def test_reflexes_can_be_switched_off(house: Any, reflexes: dict[str, Any]) -> None:
    """All of them, or all but those that are named."""
    pf = await house.open(routing={"reflexes": reflexes})
    assert (await pf.chat(SUM)).record.answered_by == "model"


async def test_the_model_reflex_answers_without_a_model_or_not_at_all(house: Any) -> None:
    """`reflex` answers also where `auto` may not; what it does not know is refused, and no model is called."""
    pf = await house.open(routing={"reflexes": {"enabled": False}})
    assert "409.5" in (await pf.chat(SUM, model="reflex")).text
    with pytest.raises(CapabilityMissing) as caught:
        await pf.chat("Tell me a story", model="reflex")
    assert "auto" in caught.value.text
    assert house.asked == []
    assert [record.status for record in house.records] == ["ok", "error"]


async def test_an_unknown_model_fails_before_anything_is_called(house: Any) -> None:
    """INIT, FAILED, and the names that come near."""
    pf = await house.open({"mistral-small": house.model()})
    with pytest.raises(UnknownModel) as caught:
        await pf.chat("Hi", model="mistral-smal")
    assert caught.value.details["nearest"] == ["mistral-small"]
    record = house.records[0]
    assert list(record.states) == ["INIT", "FAILED"]
    assert (record.status, record.http_status, record.error_code) == ("error", 404, "model_not_found")
    assert caught.value.details["trace"] == record.id
    assert house.asked == []


async def test_a_named_model_is_asked_only_for_what_it_can(house: Any) -> None:
    """Images to a text model, chat to an embedding model, and far too long an input are refused here, naming who could."""
    pf = await house.open(
        {
            "text": house.model(capabilities={"vision": False}, context_tokens=1000),
            "eyes": house.model(capabilities={"vision": True}, context_tokens=100_000),
            "vectors": house.model(capabilities={"embedding": True, "chat": False}),
        }
    )
    with pytest.raises(CapabilityMissing) as caught:
        await pf.chat([{"role": "user", "content": IMAGE}], model="text")
    assert "eyes" in caught.value.text
    with pytest.raises(CapabilityMissing, match="does not chat"):
        await pf.chat("Hi", model="vectors")
    with pytest.raises(ContextTooLong) as long:
        await pf.chat("word " * 5000, model="text")
    assert long.value.details["models"] == ["eyes"]
    assert house.asked == []


async def test_the_answer_is_the_upstreams(house: Any) -> None:
    """Another scripted answer gives another answer, and another count of tokens."""
    pf = await house.open()
    house.up.answers = {"colour": "blue"}
    first = await pf.chat("Which colour?", model="m")
    house.up.answers = {"colour": "not blue at all"}
    second = await pf.chat("Which colour?", model="m")
    assert (first.text, second.text) == ("blue", "not blue at all")
    assert (first.usage.output_tokens, second.usage.output_tokens) == (1, 4)


async def test_an_explanation_calls_nothing_and_records_nothing(house: Any) -> None:
    """The plan is the one that would be carried out; neither the upstream, the ledger nor the round robin notices."""
    models = {"a": house.model(), "b": house.model()}
    pf = await house.open(models, routing={"policy": "round_robin"})
    plans = [(await pf.explain("Tell me a story")).plan for _ in range(3)]
    assert len({plan.model for plan in plans}) == 1
    assert (await pf.explain(SUM)).plan.tool == "calculator"
    assert (await pf.explain("Hi", model="a")).plan.model == "a"
    assert (house.asked, house.records) == ([], [])
    reply = await pf.chat("Tell me a story")
    assert reply.model == plans[0].model
    assert (await pf.chat("Tell me a story")).model != reply.model
    with pytest.raises(UnknownModel):
        await pf.explain("Hi", model="nobody")


async def test_one_prompt_over_three_channels_gives_three_plans(house: Any) -> None:
    """Each channel has its own models, effort and preference."""
    models = {
        "quick": house.model(priority=1, latency_ms=50.0),
        "coder": house.model(roles=["coding"], quality=0.9),
        "wise": house.model(quality=0.95, price={"input_usd": 5, "output_usd": 20}),
    }
    pf = await house.open(models)
    prompt = "Why does my server answer so slowly since this morning?"
    found = {}
    for channel in ("chat", "code", "system_health"):
        plan = (await pf.explain(prompt, model=f"auto/{channel}")).plan
        found[channel] = (plan.channel, plan.model, plan.effort.score)
        by_hint = (await pf.explain(prompt, x_prefrontal={"channel": channel})).plan
        assert (by_hint.channel, by_hint.model, by_hint.effort.score) == found[channel]
    assert len({(model, score) for _, model, score in found.values()}) == 3
    assert found["code"] == ("code", "coder", 0.6)
    assert found["system_health"][2] == 0.0


@pytest.mark.parametrize(("options", "param"), [({"model": "auto/nope"}, "model"), ({"x_prefrontal": {"channel": "nope"}}, None)])
async def test_an_unknown_channel_is_said_to_be_one(house: Any, options: dict[str, Any], param: str | None) -> None:
    """Wherever it is named; the known ones are listed."""
    pf = await house.open()
    with pytest.raises(InvalidRequest, match="no channel 'nope'") as caught:
        await pf.chat("Hi", **options)
    assert caught.value.param == (param or "x_prefrontal.channel")
    assert "system_health" in caught.value.text


async def test_a_channels_defaults_are_sent_where_the_caller_says_nothing(house: Any) -> None:
    """Temperature and cap of the channel; the caller's own win."""
    channels = {"chat": {"temperature": 0.25, "max_output_tokens": 77}}
    pf = await house.open(routing={"channels": channels})
    await pf.chat("Tell me a story")
    await pf.chat("Tell me a story", temperature=0.9, max_tokens=5)
    ours, theirs = (request.json for request in house.asked)
    assert (ours["temperature"], ours.get("max_tokens") or ours.get("max_completion_tokens")) == (0.25, 77)
    assert (theirs["temperature"], theirs.get("max_tokens")) == (0.9, 5)


async def test_a_role_is_a_name(house: Any) -> None:
    """`role/NAME` plans among the models of the role; an unknown role lists the known ones."""
    pf = await house.open({"a": house.model(priority=9), "b": house.model(roles=["coding"])})
    assert (await pf.chat("Tell me a story", model="role/coding")).model == "b"
    with pytest.raises(UnknownModel) as caught:
        await pf.chat("Hi", model="role/cooking")
    assert "coding" in caught.value.text


async def test_fallbacks_are_followed_unless_the_caller_forbids_it(house: Any) -> None:
    """The plan's next model answers; with `fallback: false` the first one's failure is the answer."""
    pf = await house.open({"a": house.model(priority=9), "b": house.model()}, limits={"retries": {"attempts": 1}})
    broken = Fault(kind="status", status=500, times=None, when=lambda r: (r.json or {}).get("model") == "a")
    house.up.fail(broken)
    reply = await pf.chat("Tell me a story")
    assert reply.model == "b"
    assert [a.model for a in reply.record.attempts] == ["a", "b"]
    with pytest.raises(ProviderError):
        await pf.chat("Tell me a story", x_prefrontal={"fallback": False})


async def test_a_session_stays_on_its_model_while_its_cache_lives(house: Any) -> None:
    """The model that answered last keeps the conversation against a slightly better one, until the cache is cold."""
    clock = FakeClock()
    models = {"a": house.model(priority=1), "b": house.model()}
    pf = await house.open(models, clock=clock)
    turns = [{"role": "user", "content": "Tell me a story"}]
    assert (await pf.chat(turns)).model == "a"
    hints = {"session": "s1"}
    assert (await pf.chat(turns, model="b", x_prefrontal=hints)).model == "b"
    stay = await pf.chat(turns, x_prefrontal=hints)
    assert stay.model == "b"
    assert any(reason.rule == "affinity" for reason in stay.record.plan.reasons)
    assert (await pf.chat(turns, x_prefrontal={"session": "s2"})).model == "a"
    await clock.advance(301.0)
    assert (await pf.chat(turns, x_prefrontal=hints)).model == "a"


async def test_a_conversation_is_recognised_without_a_session(house: Any) -> None:
    """A later turn of the same beginning counts as the same conversation; another beginning does not."""
    pf = await house.open({"a": house.model(priority=1), "b": house.model()})
    first = {"role": "user", "content": "Tell me a story"}
    await pf.chat("Hi", model="a")  # both latencies are known: priority alone decides
    await pf.chat([first], model="b")
    later = [first, {"role": "assistant", "content": "Once."}, {"role": "user", "content": "Tell me more"}]
    assert (await pf.chat(later)).model == "b"
    other = [{"role": "user", "content": "Sing me a song"}, *later[1:]]
    assert (await pf.chat(other)).model == "a"
