"""Usage adds up, blocks survive JSON, and the small readers of messages and answers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.blocks import Audio, Block, File, Image, Opaque, Reasoning, Refusal, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message, last_user_text, text_of
from prefrontal.chat.response import ChatResponse, Choice, Chunk, ToolCallDelta
from prefrontal.chat.usage import Usage

counts = st.integers(0, 10**9)
usages = st.builds(
    Usage,
    uncached_input_tokens=counts, cache_read_tokens=counts, cache_write_tokens=counts, output_tokens=counts,
    reasoning_tokens=counts, source=st.sampled_from(["reported", "estimated", "unknown"]),
)  # fmt: skip
WEAKER = ("reported", "estimated", "unknown")


@given(usages, usages, usages)
def test_usage_adds_up_in_any_order(a: Usage, b: Usage, c: Usage) -> None:
    """Sums are commutative and associative, totals add, and the weaker source wins."""
    assert a.plus(b) == b.plus(a)
    assert a.plus(b).plus(c) == a.plus(b.plus(c))
    assert a.plus(b).total_tokens == a.total_tokens + b.total_tokens
    assert WEAKER.index(a.plus(b).source) == max(WEAKER.index(a.source), WEAKER.index(b.source))


def test_input_is_the_sum_of_its_parts() -> None:
    """Cached or not, it is input."""
    usage = Usage(uncached_input_tokens=1, cache_read_tokens=10, cache_write_tokens=100, output_tokens=1000)
    assert (usage.input_tokens, usage.total_tokens) == (111, 1111)


SAMPLES: list[Block] = [
    Text(text="a", extra={"cache_control": {"type": "ephemeral"}}),
    Image(url="https://example.org/a.png", detail="low"),
    Image(data="aGk=", media_type="image/png"),
    Audio(data="aGk=", format="wav"),
    File(file_id="f", filename="a.pdf"),
    Reasoning(text="hm", signature="s", provider="anthropic", field="reasoning_content"),
    Reasoning(redacted=True, data="x"),
    ToolCall(id="1", name="f", arguments='{"a": 1}', signature="s"),
    ToolResult(call_id="1", blocks=(Text(text="r"), Image(data="aGk=")), is_error=True),
    Refusal(text="no"),
    Opaque(dialect="anthropic", value={"type": "new", "x": [1, None]}),
]


@pytest.mark.parametrize("block", SAMPLES, ids=lambda block: type(block).__name__)
def test_a_block_survives_json(block: Block) -> None:
    """Records and durable jobs store blocks; each comes back as what it was."""
    assert msgspec.json.decode(msgspec.json.encode(block), type=Block) == block


def test_the_samples_are_all_blocks() -> None:
    """A new kind of block needs a sample here."""
    assert {type(sample) for sample in SAMPLES} == set(Block.__args__)


def test_the_text_of_a_message_is_its_text_blocks() -> None:
    """Other blocks say nothing; several are joined by lines."""
    assert text_of(Message(role="user", blocks=(Text(text="a"),))) == "a"
    assert text_of(Message(role="user", blocks=(Text(text="a"), Image(url="u"), Text(text="b")))) == "a\nb"
    assert text_of(Message(role="user", blocks=(Image(url="u"),))) == ""
    assert text_of(Message(role="user")) == ""


def test_the_last_thing_the_user_said() -> None:
    """Later turns of others do not hide it."""
    said = [Message(role=role, blocks=(Text(text=text),)) for role, text in (("user", "1"), ("user", "2"), ("assistant", "3"))]
    assert last_user_text(ChatRequest(model="auto", messages=tuple(said))) == "2"
    assert last_user_text(ChatRequest(model="auto", messages=())) == ""


def test_an_answer_reads_as_text_thinking_and_refusal() -> None:
    """Each property takes its own blocks; there is a refusal only when there is one."""
    choice = Choice(blocks=(Reasoning(text="h"), Reasoning(text="m"), Text(text="a"), Text(text="b")))
    assert (choice.text, choice.reasoning, choice.refusal) == ("ab", "hm", None)
    assert Choice(blocks=(Refusal(text=""),)).refusal == ""
    assert ChatResponse(choices=(choice, Choice())).text == "ab"
    assert ChatResponse().text == ""


@pytest.mark.parametrize(
    ("chunk", "token"),
    [
        (Chunk(text="a"), True),
        (Chunk(reasoning="a"), True),
        (Chunk(refusal="a"), True),
        (Chunk(redacted="a"), True),
        (Chunk(tool_calls=(ToolCallDelta(index=0),)), True),
        (Chunk(role="assistant"), False),
        (Chunk(signature="s"), False),
        (Chunk(finish_reason="stop", usage=Usage()), False),
    ],
)
def test_what_counts_as_a_token_a_user_could_see(chunk: Chunk, token: bool) -> None:
    """After one of these no other model may answer."""
    assert chunk.has_token is token
