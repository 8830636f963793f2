"""Chunks add up to the answer they were cut from."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from prefrontal.chat.blocks import Block, Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.collect import Collector
from prefrontal.chat.response import ChatResponse, Choice, Chunk, ToolCallDelta
from prefrontal.chat.usage import Usage

words = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12)
thoughts = st.builds(Reasoning, text=words)
signed = st.builds(Reasoning, text=words | st.just(""), signature=words, provider=st.just("anthropic"))
redacted = st.builds(Reasoning, redacted=st.just(True), data=words, provider=st.just("anthropic"))
calls = st.builds(ToolCall, id=words, name=words, arguments=words | st.just(""), signature=st.none() | words)
blocks = st.lists(st.builds(Text, text=words) | thoughts | signed | redacted | calls | st.builds(Refusal, text=words), max_size=5)


def kind(block: Block) -> str:
    """What must not stand next to itself to be told apart."""
    closed = isinstance(block, ToolCall) or (isinstance(block, Reasoning) and (block.signature or block.redacted))
    return "" if closed else type(block).__name__


def separable(found: list[Block]) -> list[Block]:
    """The blocks without those a stream cannot tell from the one before: neighbours of one kind, a signature behind a thought."""
    kept: list[Block] = []
    for block in found:
        if kept and kind(kept[-1]) and kind(kept[-1]) == type(block).__name__ and not getattr(block, "redacted", False):
            continue
        kept.append(block)
    return kept


choices = st.builds(
    Choice,
    blocks=blocks.map(separable).map(tuple),
    finish_reason=st.sampled_from(["stop", "length", "tool_calls"]),
    raw_finish=words,
    logprobs=st.none() | st.just({"content": [{"token": "a"}, {"token": "b"}]}),
)
answers = st.builds(
    ChatResponse,
    id=words, model=words, created_s=st.integers(1, 2**31),
    choices=st.lists(choices, min_size=1, max_size=3).map(
        lambda found: tuple(msgspec.structs.replace(c, index=i) for i, c in enumerate(found))
    ),
    usage=st.builds(Usage, output_tokens=st.integers(0, 99), source=st.just("reported")),
)  # fmt: skip


def cut(text: str, draw: st.DataObject) -> list[str]:
    """The text in pieces, none of them empty."""
    places = sorted(draw.draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=3))) if len(text) > 1 else []
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True) if text[a:b]]


def chunks_of(choice: Choice, draw: st.DataObject) -> list[Chunk]:
    """One choice as a stream."""
    index, out = choice.index, [Chunk(choice=choice.index, role="assistant")]
    number = 0
    for block in choice.blocks:
        if isinstance(block, Text):
            out += [Chunk(choice=index, text=piece) for piece in cut(block.text, draw)]
        elif isinstance(block, Refusal):
            out += [Chunk(choice=index, refusal=piece) for piece in cut(block.text, draw)]
        elif isinstance(block, Reasoning) and block.redacted:
            out.append(Chunk(choice=index, redacted=block.data, provider=block.provider))
        elif isinstance(block, Reasoning):
            out += [Chunk(choice=index, reasoning=piece) for piece in cut(block.text, draw)]
            if block.signature:
                out.append(Chunk(choice=index, signature=block.signature, provider=block.provider))
        elif isinstance(block, ToolCall):
            deltas = [ToolCallDelta(index=number, id=block.id, name=block.name, signature=block.signature)]
            deltas += [ToolCallDelta(index=number, arguments=piece) for piece in cut(block.arguments, draw)]
            out += [Chunk(choice=index, tool_calls=(delta,)) for delta in deltas]
            number += 1
    if choice.logprobs:
        out += [Chunk(choice=index, logprobs={"content": [entry]}) for entry in choice.logprobs["content"]]
    return [*out, Chunk(choice=index, finish_reason=choice.finish_reason, raw_finish=choice.raw_finish)]


@settings(max_examples=80, deadline=None)
@given(answers, st.data())
def test_an_answer_cut_into_chunks_comes_together_as_it_was(answer: ChatResponse, data: st.DataObject) -> None:
    """However it was cut, and however the choices were interleaved; looking in between changes nothing."""
    streams = [chunks_of(choice, data) for choice in answer.choices]
    collector = Collector()
    collector.add(Chunk(id=answer.id, model=answer.model, created_s=answer.created_s))
    while any(streams):
        stream = data.draw(st.sampled_from([s for s in streams if s]))
        collector.add(stream.pop(0))
        if data.draw(st.booleans()):
            collector.response()
    collector.add(Chunk(usage=Usage(output_tokens=0)))
    collector.add(Chunk(usage=answer.usage))
    assert collector.response() == answer


def collected(*chunks: Chunk) -> ChatResponse:
    collector = Collector()
    for chunk in chunks:
        collector.add(chunk)
    return collector.response()


def delta(index: int, **fields: Any) -> Chunk:
    return Chunk(tool_calls=(ToolCallDelta(index=index, **fields),))


def test_calls_whose_pieces_alternate_are_told_apart_and_keep_their_place() -> None:
    """Two calls grow side by side; text between them stays between them."""
    answer = collected(
        delta(0, id="a", name="f"), Chunk(text="and"), delta(1, id="b", name="g"),
        delta(0, arguments="{"), delta(1, arguments="[]"), delta(0, arguments="}"),
    )  # fmt: skip
    assert answer.choices[0].blocks == (
        ToolCall(id="a", name="f", arguments="{}"),
        Text(text="and"),
        ToolCall(id="b", name="g", arguments="[]"),
    )


def test_nothing_adds_up_to_nothing() -> None:
    """A stream without choices is an answer without choices; one with only a role has an empty choice."""
    assert collected() == ChatResponse()
    assert collected(Chunk(role="assistant")).choices == (Choice(),)


def test_the_last_usage_wins_and_the_first_identity_stays() -> None:
    """Counts are cumulative; chunks without an id do not erase it."""
    answer = collected(
        Chunk(id="x", usage=Usage(output_tokens=1)), Chunk(text="a", usage=Usage(output_tokens=5)), Chunk(text="b")
    )
    assert (answer.id, answer.text, answer.usage.output_tokens) == ("x", "ab", 5)


def test_unknown_fields_come_to_where_a_whole_answer_has_them() -> None:
    """Of the answer, of the choice and of the message; lists grow, other values are replaced."""
    answer = collected(
        Chunk(text="a", extra={"system_fingerprint": "fp", "usage": {"x": 1}, "choice": {"stop_reason": None}, "anthropic": {}}),
        Chunk(text="b", extra={"choice": {"stop_reason": 7}, "delta": {"annotations": [1]}}),
        Chunk(extra={"delta": {"annotations": [2]}}),
    )
    assert answer.extra == {"system_fingerprint": "fp", "usage": {"x": 1}}
    assert answer.choices[0].extra == {"stop_reason": 7, "message": {"annotations": [1, 2]}}


def test_log_probabilities_of_every_kind_are_kept() -> None:
    """Lists are joined by key, whatever a provider calls them."""
    answer = collected(
        Chunk(text="a", logprobs={"content": [1], "refusal": None}),
        Chunk(text="b", logprobs={"content": [2]}),
        Chunk(logprobs={"gemini": {"x": 1}}),
    )
    assert answer.choices[0].logprobs == {"content": [1, 2], "refusal": None, "gemini": {"x": 1}}
