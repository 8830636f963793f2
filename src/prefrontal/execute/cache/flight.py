"""One call for several equal requests: each takes a seat, and the call goes on as long as one of them is taken.

    begun ▶ landed      (the call ended, well or not; whoever waits learns it)
    begun ▶ given up    (the last seat was left: the call is cancelled)

Whoever began it is one of them: when that client leaves, the others go on waiting for the same call.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from prefrontal.chat.response import Chunk
from prefrontal.errors import InvariantBroken, PrefrontalError

T = TypeVar("T")

MAX_SEATS = 1024
"""Requests that share one call; more make one of their own (assumed: the whole process serves so many by default)."""

MAX_FLIGHTS = 4096
"""Calls that can be joined at once (assumed: four times what the process serves by default)."""


class GivenUp(Exception):
    """The call was cancelled before it ended: nobody knows its answer."""


class Source(Protocol):
    """An answer that is arriving; see `LiveStream`."""

    async def read(self) -> list[Chunk]:
        """Return the next chunks; an empty list is the end."""
        ...

    async def aclose(self) -> None:
        """Leave."""
        ...


class Flight(Generic[T]):
    """A call on its way. The creator has the first seat."""

    def __init__(self, work: Coroutine[Any, Any, T], forget: Callable[[], None]) -> None:
        self._forget = forget
        self._seats = 1
        self._ended: list[Callable[[], object]] = []
        self.over = False
        self.task: asyncio.Task[T] = asyncio.get_running_loop().create_task(work)
        self.task.add_done_callback(self._landed)

    @property
    def joinable(self) -> bool:
        """Whether another request may still take a seat."""
        return not self.over and self._seats < MAX_SEATS

    def join(self) -> None:
        """Take a seat; leave it once."""
        self._seats += 1

    def at_end(self, then: Callable[[], object]) -> None:
        """Call `then` when it is over."""
        self._ended.append(then)

    async def result(self) -> T:
        """Return what the call returned, however often this is asked. Raises what it raised, or `GivenUp`."""
        if not self.task.done():
            await asyncio.wait((self.task,))  # being cancelled here leaves the task alone
        if self.task.cancelled():
            raise GivenUp
        return self.task.result()

    async def outcome(self) -> T | None:
        """Return what the call returned, None when it failed: whoever only joined makes another attempt of its own."""
        if not self.task.done():
            await asyncio.wait((self.task,))
        return None if self.task.cancelled() or self.task.exception() is not None else self.task.result()

    async def leave(self) -> None:
        """Give a seat back; with the last one the call ends, and that is waited for."""
        self._seats -= 1
        if self._seats <= 0 and not self.over:
            self._forget()
            await self._give_up()

    async def _give_up(self) -> None:
        self.task.cancel()
        await asyncio.wait((self.task,))

    def _landed(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # it was seen, also when nobody is left to hear of it
        self._close()

    def _close(self) -> None:
        if self.over:
            return
        self.over = True
        self._forget()
        ended, self._ended = self._ended, []
        for then in ended:
            then()


class StreamFlight(Flight[T]):
    """A streamed call: what has come can be read from its beginning by everyone who joins.

    The one who is furthest reads on from the upstream, so it is never read faster than by the fastest client. `note` is shown
    every batch once, and `landed` is awaited at the good end before anybody is told of it. A stream that `note` calls too long
    takes no more readers and forgets what all have read.
    """

    def __init__(
        self,
        work: Coroutine[Any, Any, T],
        forget: Callable[[], None],
        *,
        source: Callable[[T], Source],
        note: Callable[[list[Chunk]], bool],
        landed: Callable[[], Awaitable[None]],
    ) -> None:
        self._source = source
        self._note = note
        self._arrived = landed
        self._batches: list[list[Chunk]] = []
        self._gone = 0
        self._readers: dict[object, int] = {}
        self._pulling: asyncio.Task[None] | None = None
        self._finished = False
        self._keeps = True
        self.error: BaseException | None = None
        super().__init__(work, forget)

    def _landed(self, task: asyncio.Task[T]) -> None:
        """The opening is not the end: only one that failed is."""
        if task.cancelled() or task.exception() is not None:
            self._close()

    @property
    def from_start(self) -> bool:
        """Whether everything that came is still here, and more may come or all did: whoever begins to read gets it all."""
        return self._gone == 0 and self.error is None

    def reader(self, token: object) -> None:
        """Begin to read under a token of one's own, on a seat one has taken."""
        self._readers[token] = 0

    async def batch(self, token: object) -> list[Chunk]:
        """Return the reader's next chunks; an empty list is the end. Raises PrefrontalError when the upstream broke off."""
        place = self._readers[token]
        while place - self._gone >= len(self._batches):
            if self._finished:
                if self.error is not None:
                    raise copied(self.error)
                return []
            if self._pulling is None:
                self._pulling = asyncio.get_running_loop().create_task(self._pull())
            await asyncio.wait((self._pulling,))  # being cancelled here leaves the reading alone
        found = self._batches[place - self._gone]
        self._readers[token] = place + 1
        if not self._keeps:
            self._release()
        return found

    async def leave_as(self, token: object) -> None:
        """Stop reading under a token, and leave."""
        self._readers.pop(token, None)
        if not self._keeps and self._readers:
            self._release()
        await self.leave()

    async def _pull(self) -> None:
        try:
            chunks = await self._source(self.task.result()).read()
            if chunks:
                self._batches.append(chunks)
                if self._keeps and not self._note(chunks):
                    self._keeps = False
                    self._forget()
            else:
                await self._arrived()
                self._finished = True
        except PrefrontalError as error:
            self.error, self._finished = error, True
        except BaseException as error:
            self.error, self._finished = error, True
            await self._source(self.task.result()).aclose()
            raise
        finally:
            self._pulling = None
            if self._finished:
                self._close()

    def _release(self) -> None:
        """Forget what every reader has read."""
        read = min(self._readers.values(), default=self._gone) - self._gone
        if read > 0:
            del self._batches[:read]
            self._gone += read

    async def _give_up(self) -> None:
        if self._pulling is not None:
            pulling = self._pulling
            pulling.cancel()
            await asyncio.gather(pulling, return_exceptions=True)
        if self.over:
            return
        self.task.cancel()
        await asyncio.wait((self.task,))
        if not self.task.cancelled() and self.task.exception() is None:
            await self._source(self.task.result()).aclose()
        self._finished = True
        self._close()


def copied(error: BaseException) -> BaseException:
    """Return an error for one more reader: what is written into it for one is not for the others."""
    if not isinstance(error, PrefrontalError):
        return InvariantBroken(f"{type(error).__name__} inside a shared call.")
    found = copy.copy(error)
    found.details = dict(error.details)
    return found
