"""Tool loops with thinking models: what the client drops goes back to the model that made it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from prefrontal.testing.answers import Answer, ScriptedCall

CALL = ScriptedCall(name="weather", arguments={"city": "Oslo"}, id="call_w1")
THOUGHT = "The user wants the weather — in Ósló, so I ask for it."
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
MODES = pytest.mark.parametrize("mode", ["whole", "stream"])


def script(request: Any) -> Answer:
    """Call the tool first; answer when its result is there."""
    if any("12 degrees" in msgspec.json.encode(m).decode() for m in request.json["messages"]):
        return Answer(text="It is 12 degrees.")
    return Answer(reasoning=THOUGHT, tool_calls=(CALL,))


def second_turn(**kept: Any) -> list[dict[str, Any]]:
    """Return the conversation as an OpenAI client sends it back; `kept` is what it keeps of the thinking."""
    call = {"id": CALL.id, "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    return [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [call], **kept},
        {"role": "tool", "tool_call_id": CALL.id, "content": "12 degrees"},
    ]


async def first_turn(pf: Any, mode: str, model: str) -> None:
    """Ask once and take the tool call."""
    prompt = second_turn()[:1]
    if mode == "whole":
        reply = await pf.chat(prompt, model=model, tools=TOOLS)
        assert (reply.thinking, reply.tool_calls[0].id) == (THOUGHT, CALL.id)
    else:
        pieces = [piece async for piece in pf.stream(prompt, model=model, tools=TOOLS)]
        assert "".join(p.text for p in pieces if p.kind == "thinking") == THOUGHT


@MODES
@pytest.mark.parametrize(
    "kept", [{}, {"reasoning_content": THOUGHT}, {"reasoning": THOUGHT}], ids=["nothing", "text", "other name"]
)
async def test_signed_thinking_goes_back_to_anthropic_byte_for_byte(house: Any, mode: str, kept: dict[str, str]) -> None:
    """The client keeps no thinking, or its text without the signature; the next request carries the block as it was made."""
    house.up.answers = script
    pf = await house.open({"claude": house.model("anthropic", model="claude-sonnet-4-5")})
    await first_turn(pf, mode, "claude")
    reply = await pf.chat(second_turn(**kept), model="claude", tools=TOOLS)
    assert reply.text == "It is 12 degrees."
    block = msgspec.json.encode({"type": "thinking", "thinking": THOUGHT, "signature": "mock-signature"})
    assert block in house.asked[-1].body
    turn = house.asked[-1].json["messages"][1]["content"]
    assert [part["type"] for part in turn] == ["thinking", "tool_use"]
    assert turn[1]["id"] == CALL.id


@MODES
async def test_reasoning_content_goes_back_to_deepseek(house: Any, mode: str) -> None:
    """DeepSeek refuses a tool turn without its `reasoning_content`; the client never saw that field."""
    house.up.answers = script
    pf = await house.open({"ds": house.model("deepseek", model="deepseek-v4")})
    await first_turn(pf, mode, "ds")
    await pf.chat(second_turn(), model="ds", tools=TOOLS)
    turn = house.asked[-1].json["messages"][1]
    assert turn["reasoning_content"] == THOUGHT
    assert turn["tool_calls"][0]["id"] == CALL.id


async def test_a_turn_nobody_made_here_is_left_as_it_is(house: Any) -> None:
    """A call whose thinking is not known is passed on without any."""
    house.up.answers = script
    pf = await house.open({"claude": house.model("anthropic", model="claude-sonnet-4-5")})
    await pf.chat(second_turn(), model="claude", tools=TOOLS)
    turn = house.asked[-1].json["messages"][1]["content"]
    assert [part["type"] for part in turn] == ["tool_use"]


async def test_thinking_of_one_provider_does_not_reach_another(house: Any) -> None:
    """A conversation that moves to another provider takes neither the signature nor the block along."""
    house.up.answers = script
    pf = await house.open({"claude": house.model("anthropic", model="claude-sonnet-4-5"), "gpt": house.model("openai")})
    await first_turn(pf, "whole", "claude")
    await pf.chat(second_turn(), model="gpt", tools=TOOLS)
    sent = house.asked[-1].body.decode()
    assert "mock-signature" not in sent
    assert THOUGHT not in sent
