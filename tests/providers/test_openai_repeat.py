"""Events that differ only in their text are read the short way, and come out the same."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.response import Chunk
from prefrontal.providers.openai.client_stream import ChatStreamRenderer
from prefrontal.providers.openai.repeat import MOST_MISSES, Repeat
from prefrontal.providers.openai.stream import OpenAIStreamParser
from prefrontal.providers.profile import Profile

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def event(delta: dict[str, Any], finish: str | None = None, *, index: int = 0, ascii_only: bool = True, **more: Any) -> str:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return json.dumps({**HEAD, **more, "choices": [choice]}, ensure_ascii=ascii_only)


texts = st.text(max_size=12) | st.sampled_from(['"', "\\", '","content":"', "<think>", "</think>", "\n\n", "é", '"}', "😀"])
events = st.one_of(
    st.builds(lambda t, a: event({"content": t}, ascii_only=a), texts, st.booleans()),
    st.builds(lambda t, i: event({"content": t}, index=i), texts, st.integers(0, 1)),
    st.builds(lambda t: event({"reasoning_content": t}), texts),
    st.builds(lambda t, u: event({"content": t}, obfuscation=u), texts, texts),
    st.builds(lambda t: event({"role": "assistant", "content": t}), texts),
    st.builds(lambda t, c: event({"content": t}, created=c), texts, st.integers(0, 2)),
    st.builds(lambda t: event({"content": t}, "stop"), texts),
)


def framed(body: str) -> bytes:
    return b"data: " + body.encode() + b"\n\n"


def spread(chunks: list[Chunk]) -> list[Chunk]:
    """Chunks whose texts came together as one each, without those that say nothing."""
    found: list[Chunk] = []
    for chunk in chunks:
        assert not chunk.parts or chunk.text == "".join(chunk.parts)
        alone = [Chunk(choice=chunk.choice, text=part) for part in chunk.parts] or [chunk]
        found += [one for one in alone if one != Chunk(choice=one.choice)]
    return found


def run(pieces: list[bytes], *, repeat: bool, mode: str) -> list[Chunk]:
    parser = OpenAIStreamParser(Profile(title="Engine", wire="openai", provider="engine", think_tags="opened"))
    parser._mode = mode  # type: ignore[assignment]  # "unopened" would need a model that always thinks
    found = []
    for piece in pieces:
        if not repeat:
            parser._repeat = Repeat()  # one that has learnt nothing
        found += parser.feed(piece)
    return spread(found + parser.feed(b"data: [DONE]\n\n") + parser.finish())


@given(st.lists(events, max_size=12), st.sampled_from(["off", "opened", "unopened"]), st.lists(st.integers(0, 2000), max_size=6))
def test_the_short_way_reads_what_the_long_way_reads(bodies: list[str], mode: str, cuts: list[int]) -> None:
    """Whatever the events are, one a read or cut anywhere, both ways give the same chunks."""
    pieces = [framed(body) for body in bodies]
    assert run(pieces, repeat=True, mode=mode) == run(pieces, repeat=False, mode=mode)
    whole = b"".join(pieces)
    edges = sorted({0, len(whole), *[cut for cut in cuts if cut < len(whole)]})
    anyhow = [whole[a:b] for a, b in pairwise(edges)]
    assert run(anyhow, repeat=True, mode=mode) == run(pieces, repeat=False, mode=mode)


def read(repeat: Repeat, *bodies: str) -> tuple[list[Chunk], bytes]:
    """What is taken of events, and what is left."""
    chunks: list[Chunk] = []
    assert repeat.known
    return chunks, repeat.read(b"".join(map(framed, bodies)), chunks)


def test_events_like_the_one_before_are_taken() -> None:
    """After one event in full, the next are read by their text alone, escapes included, as many as have come."""
    repeat = Repeat()
    repeat.learn(event({"content": "a"}), Chunk(text="a"))
    first = 'b "c" \\ \n é'
    assert (spread(read(repeat, event({"content": first}), event({"content": ""}))[0]), b"") == ([Chunk(text=first)], b"")
    both = Chunk(text=first + "d", parts=(first, "d"))
    assert read(repeat, event({"content": first}), event({"content": "d"})) == ([both], b"")
    other = event({"content": "c"}, "stop")
    assert read(repeat, event({"content": "b"}), other) == ([Chunk(text="b")], framed(other))


@pytest.mark.parametrize(
    "other",
    [
        event({"content": "b"}, "stop"),
        event({"content": "b"}, index=1),
        event({"content": "b", "role": "assistant"}),
        event({"content": None}),
        event({"content": "b"}, created=2),
        event({"content": "b"}).replace('"b"', "12"),
        event({"content": "b"}).replace('"b"', '"b","content":"c"'),
        event({"content": "b"}).replace('"content": "b"', ""),
    ],
)
def test_an_event_that_differs_elsewhere_is_not_taken(other: str) -> None:
    """Anything but the text makes it another frame, which is read in full."""
    repeat = Repeat()
    repeat.learn(event({"content": "a"}), Chunk(text="a"))
    assert read(repeat, other) == ([], framed(other))


@pytest.mark.parametrize(
    ("body", "chunk"),
    [
        (event({"content": "a"}), Chunk(text="a", role="assistant")),
        (event({"content": "a"}), Chunk(text="b")),
        (event({"content": ""}), Chunk(text="")),
        (event({"content": "a"}, note={"content": "a"}), Chunk(text="a")),
        (event({"text": "a"}), Chunk(text="a")),
    ],
)
def test_a_frame_with_other_news_is_not_learnt(body: str, chunk: Chunk) -> None:
    """Only an event that said nothing but its text, in one place, can stand for others."""
    repeat = Repeat()
    repeat.learn(body, chunk)
    assert not repeat.known


def test_a_stream_without_repetition_is_not_tried_forever() -> None:
    """After a few frames that never fit, learning stops."""
    repeat = Repeat()
    for number in range(MOST_MISSES + 3):
        repeat.learn(event({"content": "a"}, created=number), Chunk(text="a"))
    assert not repeat.known


@given(st.lists(texts.filter(bool), min_size=2, max_size=8), st.booleans(), st.booleans())
def test_deltas_that_came_together_are_passed_on_one_by_one(parts: list[str], usage: bool, begun: bool) -> None:
    """What several deltas in one chunk look like to a client is what each by itself would."""
    together, alone = [ChatStreamRenderer(id="x", model="m", created_s=1, include_usage=usage) for _ in range(2)]
    several = Chunk(text="".join(parts), parts=tuple(parts))
    if begun:
        assert together.render(Chunk(text="a")) == alone.render(Chunk(text="a"))
        assert together.render(several) == b"".join([alone.render(Chunk(text=part)) for part in parts])
    else:
        first = json.loads(together.render(several).removeprefix(b"data: "))
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": "".join(parts)}
