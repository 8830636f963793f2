"""Server-sent events are read the same way however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.errors import ProviderMisbehaved
from prefrontal.providers.sse import Event, SSEDecoder

STREAM = (
    b"\xef\xbb\xbf: hello\n\ndata: one\n\nevent: ping\r\ndata: two\r\ndata:  three\r\n\r\n"
    b"id: 7\rdata:four\r\rdata\n\nretry: 5\n\ndata: caf\xc3\xa9 \xff\n\nerror: {}\n\ndata: last"
)
EVENTS = [
    Event(None, "one"),
    Event("ping", "two\n three"),
    Event(None, "four"),
    Event(None, ""),
    Event(None, "café \ufffd"),
    Event("error", "{}"),
    Event(None, "last"),
]


def decode(pieces: list[bytes]) -> list[Event]:
    """All events of a stream that arrives in `pieces`."""
    decoder = SSEDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    """Comments, three line ends, a BOM, bad UTF-8 and an unfinished last event survive every cut."""
    edges = [0, *sorted(cuts), len(STREAM)]
    assert decode([STREAM[a:b] for a, b in pairwise(edges)]) == EVENTS


def test_one_byte_at_a_time() -> None:
    """The smallest pieces give the same events as one large one."""
    assert decode([STREAM[i : i + 1] for i in range(len(STREAM))]) == decode([STREAM]) == EVENTS


def test_one_event_a_piece() -> None:
    """Pieces that are whole events, as paced streams bring them, give what one piece gives, pending names and lines included."""
    pieces = [b"data: a\n\n", b"data: b\n\n", b"event: n\n", b"data: c\n\n", b"data: d\n", b"data: e\n\n", b"data: f\n\n"]
    expected = [Event(None, "a"), Event(None, "b"), Event("n", "c"), Event(None, "d\ne"), Event(None, "f")]
    assert decode(pieces) == decode([b"".join(pieces)]) == expected


def test_an_event_name_without_data_is_no_event_and_does_not_leak() -> None:
    """A name alone dispatches nothing, and does not name the next event."""
    assert decode([b"event: a\n\ndata: x\n\n"]) == [Event(None, "x")]


@pytest.mark.parametrize("pieces", [[b"data: " + b"x" * 200], [b"data: ", b"x" * 200 + b"\n\n"], [b"data: xxxxxxxxxx\n"] * 20])
def test_length_is_bounded(pieces: list[bytes]) -> None:
    """A line without an end, a long line, and an event of many lines are all refused."""
    with pytest.raises(ProviderMisbehaved):
        feed_all(SSEDecoder(max_line_bytes=100), pieces)


def feed_all(decoder: SSEDecoder, pieces: list[bytes]) -> None:
    """Feed every piece."""
    for piece in pieces:
        decoder.feed(piece)


def test_a_line_feed_after_a_return_that_was_followed_by_more_is_a_line_end() -> None:
    """Only a line feed right behind a return belongs to it, also when the bytes are cut between the next line and its end."""
    pieces = [b"event: a\rdata: x", b"\n", b"\ndata: y\r", b"\n\r"]
    assert decode(pieces) == decode([b"".join(pieces)]) == [Event("a", "x"), Event(None, "y")]
