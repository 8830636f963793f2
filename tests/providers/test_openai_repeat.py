"""Events that differ only in their text are read the short way, and come out the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.response import Chunk
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


class NoRepeat:
    """Reads every event in full."""

    def read(self, data: str) -> None:
        return None

    def learn(self, data: str, chunk: Chunk) -> None:
        return None

    def forget(self) -> None:
        return None


def run(bodies: list[str], *, repeat: bool, mode: str) -> list[Chunk]:
    parser = OpenAIStreamParser(Profile(title="Engine", wire="openai", provider="engine", think_tags="opened"))
    parser._mode = mode  # type: ignore[assignment]  # "unopened" would need a model that always thinks
    if not repeat:
        parser._repeat = NoRepeat()  # type: ignore[assignment]
    found = []
    for body in bodies:
        found += parser.feed(b"data: " + body.encode() + b"\n\n")
    found += parser.feed(b"data: [DONE]\n\n")
    return found + parser.finish()


@given(st.lists(events, max_size=12), st.sampled_from(["off", "opened", "unopened"]))
def test_the_short_way_reads_what_the_long_way_reads(bodies: list[str], mode: str) -> None:
    """Whatever the events are, both ways give the same chunks."""
    assert run(bodies, repeat=True, mode=mode) == run(bodies, repeat=False, mode=mode)


def test_an_event_like_the_one_before_is_taken() -> None:
    """After one event in full, the next is read by its text alone, escapes included."""
    repeat = Repeat()
    repeat.learn(event({"content": "a"}), Chunk(text="a"))
    assert repeat.read(event({"content": 'b "c" \\ \n é'})) == Chunk(text='b "c" \\ \n é')
    assert repeat.read(event({"content": ""})) == Chunk(text="")


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
    assert repeat.read(other) is None


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
    assert repeat.read(body) is None


def test_a_stream_without_repetition_is_not_tried_forever() -> None:
    """After a few frames that never fit, learning stops."""
    repeat = Repeat()
    for number in range(MOST_MISSES + 3):
        repeat.learn(event({"content": "a"}, created=number), Chunk(text="a"))
    assert repeat.read(event({"content": "b"}, created=MOST_MISSES + 2)) is None
