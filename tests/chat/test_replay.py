"""A whole answer taken apart into chunks is the same answer once they are put together."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.blocks import Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.collect import Collector
from prefrontal.chat.replay import chunks_of
from prefrontal.chat.response import ChatResponse, Choice, Chunk
from prefrontal.chat.usage import Usage

WORDS = st.text("abc ", min_size=1, max_size=8)
BLOCKS = st.one_of(
    st.builds(Text, text=WORDS),
    st.builds(Refusal, text=WORDS),
    st.builds(Reasoning, text=WORDS, signature=WORDS, provider=st.just("p")),
    st.builds(lambda data: Reasoning(redacted=True, data=data, provider="p"), WORDS),
    st.builds(ToolCall, id=WORDS, name=WORDS, arguments=WORDS, signature=st.none() | WORDS),
)


def alone(blocks: list[object]) -> bool:
    """Neighbouring texts are one block in any stream."""
    kinds = [type(block) for block in blocks]
    return all(one is not two or one not in (Text, Refusal) for one, two in pairwise(kinds))


CHOICES = st.builds(
    Choice,
    blocks=st.lists(BLOCKS, max_size=5).filter(alone).map(tuple),
    finish_reason=st.sampled_from(["stop", "length", "tool_calls"]),
    raw_finish=st.just("end"),
    logprobs=st.none() | st.just({"content": [{"token": "a"}]}),
    extra=st.none() | st.just({"message": {"annotations": [1]}}) | st.just({"stop_sequence": "x"}),
)
RESPONSES = st.builds(
    lambda choices, extra: ChatResponse(
        id="i",
        model="m",
        created_s=7,
        choices=tuple([Choice(**{**fields(choice), "index": index}) for index, choice in enumerate(choices)]),
        usage=Usage(uncached_input_tokens=3, output_tokens=2, source="reported"),
        extra=extra,
    ),
    st.lists(CHOICES, min_size=1, max_size=2),
    st.none() | st.just({"service_tier": "default"}),
)


def fields(choice: Choice) -> dict[str, object]:
    return {name: getattr(choice, name) for name in choice.__struct_fields__}


@given(RESPONSES)
def test_the_chunks_of_an_answer_add_up_to_it(response: ChatResponse) -> None:
    """Text, thinking with its seal, refusals, calls, several choices, logprobs and unknown fields."""
    collector = Collector()
    for chunk in chunks_of(response):
        collector.add(chunk)
    assert collector.response() == response


def test_a_plain_text_is_two_chunks() -> None:
    """The first has the role and the text, the last the end; what nobody gave is not made up."""
    answer = ChatResponse(choices=(Choice(blocks=(Text(text="4"),), finish_reason="stop"),))
    assert chunks_of(answer)[:2] == [Chunk(role="assistant", text="4"), Chunk(finish_reason="stop", raw_finish="stop")]
