"""Which beginnings of a request a provider may have cached."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.blocks import Image, Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message, Tool
from prefrontal.plan.prefixes import MAX_PREFIXES, MIN_CHARACTERS, prefixes_of

LONG = "rule " * 1000


def turn(role: Any, *blocks: Any) -> Message:
    return Message(role=role, blocks=tuple([Text(text=block) if isinstance(block, str) else block for block in blocks]))


def digests(*messages: Message, tenant: str = "a", **fields: Any) -> list[bytes]:
    return [one.digest for one in prefixes_of(ChatRequest(model="m", messages=messages, **fields), tenant)]


def test_a_conversation_that_goes_on_contains_its_earlier_request() -> None:
    """The longest beginning of a request is one of the beginnings of the next turn; thinking that comes and goes is no matter."""
    first = [turn("system", LONG), turn("user", "one")]
    answer = turn("assistant", Reasoning(text="hm", signature="s"), "two")
    whole = digests(*first)[0]
    assert whole in digests(*first, answer, turn("user", "three"))
    assert digests(*first, answer)[0] == digests(*first, turn("assistant", "two"))[0]


def test_two_questions_under_the_same_instructions_share_their_beginning() -> None:
    """Instructions and tools together; other tools, other words or another tenant make another one."""
    one, two = digests(turn("system", LONG), turn("user", "a")), digests(turn("system", LONG), turn("user", "b"))
    assert one[0] != two[0]
    assert one[-1] == two[-1]
    tools = (Tool(name="t", parameters={"type": "object"}),)
    for changed in (
        digests(turn("system", LONG + "."), turn("user", "a")),
        digests(turn("system", LONG), turn("user", "a"), tools=tools),
        digests(turn("system", LONG), turn("user", "a"), tenant="b"),
    ):
        assert not set(changed) & set(one)


def test_what_is_too_short_to_be_cached_has_no_beginning() -> None:
    """Providers cache from some thousand characters on; lengths are of the part up to there."""
    assert digests(turn("system", "x" * (MIN_CHARACTERS - 2)), turn("user", "a")) == []
    (only,) = prefixes_of(ChatRequest(model="m", messages=(turn("user", "x" * MIN_CHARACTERS),)), "a")
    assert (only.characters, only.share) == (MIN_CHARACTERS, 1.0)
    whole, instructions = prefixes_of(ChatRequest(model="m", messages=(turn("system", LONG), turn("user", LONG * 3))), "a")
    assert (whole.share, instructions.share) == (1.0, 0.25)


def test_long_conversations_are_looked_at_from_their_end() -> None:
    """The latest turns and the instructions, not hundreds of turns."""
    messages = [turn("system", LONG), *[turn("user", str(number)) for number in range(100)]]
    found = digests(*messages)
    assert len(found) == MAX_PREFIXES + 1
    assert found[0] != found[1]
    assert digests(*messages, turn("user", "new"))[1] == found[0]


def test_results_calls_and_images_count() -> None:
    """A beginning with another picture, call or result is another beginning."""
    names = [
        digests(turn("user", LONG, block))[0]
        for block in (
            Image(data="A" * 999),
            Image(data="B" * 999),
            ToolCall(id="1", name="n", arguments="{}"),
            ToolCall(id="1", name="n", arguments="[]"),
            ToolResult(call_id="1", blocks=(Text(text="r"),)),
            ToolResult(call_id="2", blocks=(Text(text="r"),)),
        )
    ]
    assert len(set(names)) == len(names)
