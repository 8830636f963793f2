"""One call for several: it goes on as long as somebody waits, and ends with the last of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefrontal.chat.response import Chunk
from prefrontal.errors import InvariantBroken, ProviderCut
from prefrontal.execute.cache.flight import MAX_SEATS, Flight, GivenUp, StreamFlight


class Work:
    """A call that ends when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.cancelled = False
        self.error: BaseException | None = None

    async def run(self) -> str:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.error is not None:
            raise self.error
        return "done"


async def test_the_one_who_began_may_leave_and_the_others_get_the_answer() -> None:
    """Being cancelled while waiting leaves the call alone; leaving is a step of its own."""
    work, forgotten = Work(), list[int]()
    flight = Flight(work.run(), lambda: forgotten.append(1))
    leader = asyncio.create_task(flight.result())
    flight.join()
    follower = asyncio.create_task(flight.outcome())
    await asyncio.sleep(0)
    leader.cancel()
    await asyncio.gather(leader, return_exceptions=True)
    await flight.leave()
    assert not flight.over
    work.go.set()
    assert await follower == "done"
    assert (work.cancelled, flight.over, forgotten) == (False, True, [1])


async def test_the_last_to_leave_ends_the_call() -> None:
    """And has waited for its end: what it cost is settled by then, and whoever wants to know is told."""
    work, ended = Work(), list[str]()
    flight = Flight(work.run(), lambda: None)
    flight.at_end(lambda: ended.append("ended"))
    flight.join()
    await asyncio.sleep(0)
    await flight.leave()
    assert not work.cancelled
    await flight.leave()
    assert work.cancelled
    assert (flight.over, flight.joinable, ended) == (True, False, ["ended"])
    with pytest.raises(GivenUp):
        await flight.result()
    assert await flight.outcome() is None


async def test_a_failure_is_its_beginner_s_alone() -> None:
    """It is raised there; the others learn that there is no answer. A failure nobody waits for is not shouted about."""
    work = Work()
    work.error = ProviderCut("cut")
    flight = Flight(work.run(), lambda: None)
    work.go.set()
    with pytest.raises(ProviderCut):
        await flight.result()
    assert await flight.outcome() is None
    await flight.leave()


async def test_seats_are_bounded() -> None:
    """Beyond them a request makes a call of its own."""
    work = Work()
    flight = Flight(work.run(), lambda: None)
    for _ in range(MAX_SEATS - 1):
        flight.join()
    assert not flight.joinable
    work.go.set()
    await flight.result()


class Source:
    """A stream of numbered chunks; `gate` lets it go on, an error ends it."""

    def __init__(self, count: int = 3, error: BaseException | None = None) -> None:
        self.left, self.error = [Chunk(text=str(n)) for n in range(count)], error
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = 0
        self.reads = 0

    async def read(self) -> list[Chunk]:
        self.reads += 1
        await self.gate.wait()
        if self.left:
            return [self.left.pop(0)]
        if self.error is not None:
            raise self.error
        return []

    async def aclose(self) -> None:
        self.closed += 1


class Stream:
    """A flight over a source, and what it told."""

    def __init__(self, source: Source, *, keeps: int = 100) -> None:
        self.seen: list[Chunk] = []
        self.landed = 0
        self.forgotten = 0

        async def opening() -> Source:
            return source

        async def landed() -> None:
            self.landed += 1

        def note(chunks: list[Chunk]) -> bool:
            self.seen += chunks
            return len(self.seen) <= keeps

        def forget() -> None:
            self.forgotten += 1

        self.flight: StreamFlight[Any] = StreamFlight(opening(), forget, source=lambda s: s, note=note, landed=landed)

    async def all(self, token: object) -> str:
        texts = ""
        while chunks := await self.flight.batch(token):
            texts += "".join([chunk.text for chunk in chunks])
        return texts


async def test_every_reader_gets_all_of_a_stream_and_the_upstream_is_read_once() -> None:
    """Also one that comes when half of it is over; the end is told once, before anybody hears of it."""
    source = Source()
    stream = Stream(source)
    await stream.flight.result()
    stream.flight.reader("one")
    assert (await stream.flight.batch("one"))[0].text == "0"
    stream.flight.join()
    stream.flight.reader("two")
    assert await asyncio.gather(stream.all("one"), stream.all("two")) == ["12", "012"]
    assert (source.reads, stream.landed, stream.flight.over) == (4, 1, True)
    assert "".join([chunk.text for chunk in stream.seen]) == "012"
    await stream.flight.leave_as("one")
    await stream.flight.leave_as("two")
    assert source.closed == 0  # it had come to its end by itself


async def test_leaving_in_the_middle_closes_the_upstream_only_when_nobody_reads_on() -> None:
    """Even while a read is under way."""
    source = Source()
    stream = Stream(source)
    await stream.flight.result()
    stream.flight.reader("one")
    stream.flight.join()
    stream.flight.reader("two")
    await stream.flight.batch("one")
    source.gate.clear()
    reading = asyncio.create_task(stream.flight.batch("one"))
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await stream.flight.leave_as("one")
    assert (source.closed, stream.flight.over) == (0, False)
    assert (await stream.flight.batch("two"))[0].text == "0"
    last = asyncio.create_task(stream.flight.batch("two"))
    await asyncio.sleep(0.01)
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)
    await stream.flight.leave_as("two")
    assert (source.closed, stream.flight.over, stream.landed) == (1, True, 0)


async def test_a_stream_that_breaks_breaks_for_all_each_with_an_error_of_its_own() -> None:
    """What one writes into its error is not read by the other; a fault of ours is not worded as one of the upstream."""
    stream = Stream(Source(1, ProviderCut("cut", details={"a": 1})))
    await stream.flight.result()
    errors: list[ProviderCut] = []
    for token in ("one", "two"):
        stream.flight.reader(token)
        with pytest.raises(ProviderCut) as caught:
            await stream.all(token)
        caught.value.details["trace"] = token
        errors.append(caught.value)
    assert [error.details for error in errors] == [{"a": 1, "trace": "one"}, {"a": 1, "trace": "two"}]
    assert (stream.landed, stream.flight.over, stream.flight.from_start) == (0, True, False)
    broken = Stream(Source(0, RuntimeError("bug")))
    await broken.flight.result()
    broken.flight.reader("one")
    with pytest.raises(InvariantBroken, match="RuntimeError"):
        await broken.all("one")


async def test_a_stream_too_long_to_keep_takes_nobody_more_and_is_forgotten_as_it_is_read() -> None:
    """Memory holds what the slowest reader has still to read, and no more."""
    stream = Stream(Source(10), keeps=2)
    await stream.flight.result()
    stream.flight.reader("one")
    stream.flight.join()
    stream.flight.reader("two")
    for _ in range(6):
        await stream.flight.batch("one")
    assert stream.forgotten == 1
    assert len(stream.flight._batches) == 6
    await stream.flight.batch("two")
    await stream.flight.leave_as("two")
    assert len(stream.flight._batches) == 0
    assert not stream.flight.from_start
    assert await stream.all("one") == "6789"
