"""Calls that equal requests share: who begins one pays for it and has it in its record, the others wait for what it brings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from prefrontal.chat.collect import Collector
from prefrontal.chat.response import ChatResponse, Chunk
from prefrontal.clock import Clock
from prefrontal.contracts.cache import CacheNote
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import ProviderTimeout
from prefrontal.execute.cache.flight import MAX_FLIGHTS, Flight, GivenUp, StreamFlight
from prefrontal.execute.call import Call
from prefrontal.execute.executor import Executor
from prefrontal.execute.live import LiveStream
from prefrontal.machine.reuse import Lookup, Reused, SharedReader
from prefrontal.machine.run import Run

T = TypeVar("T")
F = TypeVar("F", bound=Flight[Any])

Keep = Callable[[ChatResponse, ModelCard], Awaitable[None]]
"""Called with a complete answer and its model, before anybody is told of it."""

Whole = tuple[ChatResponse, ModelCard]
Opened = tuple[LiveStream, ModelCard]


class Sharing:
    """The calls that can be joined now, by the name of their answer, each with the request that began it."""

    def __init__(self, *, executor: Executor, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        self._whole: dict[str, tuple[Flight[Whole], Run]] = {}
        self._streams: dict[str, tuple[StreamFlight[Opened], Run]] = {}

    def __len__(self) -> int:
        """Calls that can be joined now."""
        return len(self._whole) + len(self._streams)

    # -- joining -------------------------------------------------------------------------------------------------------

    async def follow(self, run: Run, call: Call, name: str) -> bool | None:
        """Wait for an equal request's call; return whether it answered this one too, None when there is none to join.

        A call that failed, that was given up, or that another model than the first had to answer does not count for others.

        Raises:
            ProviderTimeout: this request's time ran out meanwhile.
        """
        if run.streaming:
            stream = self._streams.get(name)
            return None if stream is None or not stream[0].joinable else await self._follow_stream(run, call, *stream)
        whole = self._whole.get(name)
        return None if whole is None or not whole[0].joinable else await self._follow_whole(run, call, *whole)

    async def _follow_whole(self, run: Run, call: Call, flight: Flight[Whole], leader: Run) -> bool:
        flight.join()
        try:
            found = await self._waited(run, call, flight)
        finally:
            await flight.leave()
        if found is None or found[1].id != call.cards[0].id:
            return False
        run.response, run.model, run.answered_by = found[0], found[1].id, "cache"
        _learn(run, leader)
        return True

    async def _follow_stream(self, run: Run, call: Call, flight: StreamFlight[Opened], leader: Run) -> bool:
        flight.join()
        reads = False
        try:
            found = await self._waited(run, call, flight)
            if found is not None and found[1].id == call.cards[0].id and flight.from_start:
                run.live = SharedReader(
                    flight, clock=self._clock, journal=run.journal, deadline=call.deadline, ended=lambda: _learn(run, leader)
                )
                run.model, run.answered_by = found[1].id, "cache"
                run.reused, run.cache = Reused(dropped=leader.dropped()), CacheNote(status="shared")
                reads = True
        finally:
            if not reads:
                await flight.leave()
        return reads

    async def _waited(self, run: Run, call: Call, flight: Flight[T]) -> T | None:
        before = self._clock.monotonic()
        try:
            async with self._clock.timeout(call.remaining_s(before, None)):
                return await flight.outcome()
        except TimeoutError as error:
            raise _late() from error
        finally:
            run.journal.waited_s += self._clock.monotonic() - before

    # -- beginning -----------------------------------------------------------------------------------------------------

    async def complete(self, run: Run, call: Call, lookup: Lookup, keep: Keep) -> Whole:
        """Make a call that equal requests may join; raises like `Executor.complete`."""
        name, flights = lookup.key.name, self._whole
        joinable = lookup.join and name not in flights and len(flights) < MAX_FLIGHTS
        own = _without_deadline(call) if joinable else call

        async def work() -> Whole:
            response, card = await self._executor.complete(own, run.journal)
            await keep(response, card)
            return response, card

        flight = run.flight = Flight(work(), lambda: _forget(flights, name, run))
        if joinable:
            flights[name] = (flight, run)
        try:
            return await self._led(call, flight)
        finally:
            await flight.leave()

    async def open(self, run: Run, call: Call, lookup: Lookup, keep: Keep, max_bytes: int) -> ModelCard:
        """Open a stream that equal requests may join, and set the run's `live`; raises like `Executor.open`."""
        name, flights = lookup.key.name, self._streams
        joinable = lookup.join and name not in flights and len(flights) < MAX_FLIGHTS
        collected = _Collected(max_bytes)

        async def landed() -> None:
            if not collected.too_long:
                await keep(collected.collector.response(), flight.task.result()[1])

        flight = run.flight = StreamFlight(
            self._executor.open(_without_deadline(call) if joinable else call, run.journal),
            lambda: _forget(flights, name, run),
            source=_live,
            note=collected.add,
            landed=landed,
        )
        if joinable:
            flights[name] = (flight, run)
        reads = False
        try:
            opened: Opened = await self._led(call, flight)
            run.live = SharedReader(flight, clock=self._clock, deadline=call.deadline)
            reads = True
        finally:
            if not reads:
                await flight.leave()
        return opened[1]

    async def _led(self, call: Call, flight: Flight[T]) -> T:
        """Wait for one's own call, as long as one's own deadline says: it may go on for others."""
        try:
            async with self._clock.timeout(call.remaining_s(self._clock.monotonic(), None)):
                return await flight.result()
        except TimeoutError as error:
            raise _late() from error
        except GivenUp:
            raise asyncio.CancelledError from None  # the whole process is ending


class _Collected:
    """What has come of a stream, up to the size from which it is not kept."""

    def __init__(self, max_bytes: int) -> None:
        self.collector = Collector()
        self.too_long = False
        self._left = max_bytes

    def add(self, chunks: list[Chunk]) -> bool:
        """Take chunks; return whether the answer can still be kept."""
        for chunk in chunks:
            self.collector.add(chunk)
            self._left -= len(chunk.text) + len(chunk.reasoning) + sum([len(one.arguments) for one in chunk.tool_calls])
        if self._left < 0 and not self.too_long:
            self.too_long, self.collector = True, Collector()
        return not self.too_long


def _learn(run: Run, leader: Run) -> None:
    """Note what a shared call used and cost, once it has ended."""
    run.reused = Reused(usage=leader.journal.usage(), dropped=leader.dropped())
    kept_as = None if leader.cache is None else leader.cache.id
    run.cache = CacheNote(status="shared", id=kept_as, saved_usd=leader.journal.cost_usd())


def _late() -> ProviderTimeout:
    return ProviderTimeout("The request's time ran out before its answer was there.", details={"stage": "total"})


def _without_deadline(call: Call) -> Call:
    """Return the call for all who may join it: each waits as long as its own deadline says."""
    return msgspec.structs.replace(call, deadline=None)


def _live(opened: Opened) -> LiveStream:
    return opened[0]


def _forget(flights: dict[str, tuple[F, Run]], name: str, run: Run) -> None:
    """Let nobody join the call that `run` began any more."""
    found = flights.get(name)
    if found is not None and found[1] is run:
        del flights[name]
