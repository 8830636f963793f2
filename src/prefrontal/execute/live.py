"""An answer that is still arriving: the held opening first, then the rest, then the settlement."""

from __future__ import annotations

from collections.abc import Callable

from prefrontal.chat.response import Chunk
from prefrontal.chat.usage import Usage
from prefrontal.clock import Clock
from prefrontal.errors import PrefrontalError, ProviderCut, ProviderTimeout
from prefrontal.execute.guarded import guarded
from prefrontal.execute.journal import Entry, Journal
from prefrontal.execute.transport.base import WireStream
from prefrontal.providers.base import StreamParser

Settle = Callable[["LiveStream", PrefrontalError | None, bool], None]
"""Called with the stream, the error it ended with, and whether its reader left before the end. Must settle only once."""


class LiveStream:
    """Chunks of one attempt, in batches as they arrive. Belongs to one reader.

    Guarantees: the first batch is there when the object is; after the last batch, an error, or `aclose`, the attempt is settled
    exactly once and its slot is free.
    """

    __slots__ = (
        "_deadline",
        "_parser",
        "_settle",
        "_stream",
        "characters",
        "clock",
        "ended",
        "entry",
        "held",
        "journal",
        "shown",
        "usage",
    )

    def __init__(
        self,
        *,
        stream: WireStream,
        parser: StreamParser,
        entry: Entry,
        journal: Journal,
        clock: Clock,
        settle: Settle,
        deadline: float | None,
    ) -> None:
        self._stream = stream
        self._parser = parser
        self._settle = settle
        self._deadline = deadline
        self.clock = clock
        self.entry = entry
        self.journal = journal
        self.held: list[Chunk] | None = None
        self.ended = False
        self.usage: Usage | None = None
        self.characters = 0
        self.shown = False  # whether more than thinking has come

    async def pull(self) -> list[Chunk]:
        """Read once from the upstream; an empty list with `ended` set is the end. Raises ProviderError."""
        try:
            return await self._pull()
        except ProviderCut as error:
            error.details["status"] = self._stream.status  # an answer had begun, and what it cost may have to be paid
            raise

    async def _pull(self) -> list[Chunk]:
        before = self.clock.monotonic()
        try:
            data = await self._stream.read()
        finally:
            self.journal.waited_s += self.clock.monotonic() - before
        model, parser = self.entry.card.id, self._parser
        chunks = guarded("The answer", model, parser.feed, data) if data else guarded("The answer", model, parser.finish)
        self.ended = not data
        self._note(chunks)
        return chunks

    def _note(self, chunks: list[Chunk]) -> None:
        entry = self.entry
        for chunk in chunks:
            if chunk.usage is not None:
                self.usage = chunk.usage
            if chunk.model is not None:
                entry.response_model = chunk.model
            if chunk.finish_reason is not None:
                entry.finish_reason = chunk.finish_reason
            if chunk.has_token:
                entry.chunks += len(chunk.parts) or 1
                if entry.first_token_ms is None:
                    entry.first_token_ms = self.journal.elapsed_ms()
                if not self.shown:
                    self.shown = bool(chunk.text or chunk.refusal or chunk.tool_calls)
                self.characters += len(chunk.text) + len(chunk.reasoning) + len(chunk.refusal)
                for delta in chunk.tool_calls:
                    self.characters += len(delta.arguments)

    async def read(self) -> list[Chunk]:
        """Return the next chunks; an empty list is the end.

        Raises:
            ProviderError: the upstream broke off or sent an error, or the time ran out; the attempt is settled with it.
        """
        if self.held is not None:
            held, self.held = self.held, None
            await self._end_if_over()
            if held:
                return held
        while not self.ended:
            try:
                chunks = await (self.pull() if self._deadline is None else self._pull_until(self._deadline))
            except PrefrontalError as error:
                self.ended = True
                await self._end(error)
                raise
            await self._end_if_over()
            if chunks:
                return chunks
        return []

    async def _pull_until(self, deadline: float) -> list[Chunk]:
        left_s = deadline - self.clock.monotonic()
        try:
            if left_s <= 0:
                raise TimeoutError
            async with self.clock.timeout(left_s):
                return await self.pull()
        except TimeoutError as error:
            raise ProviderTimeout("The request's time ran out inside the answer.", details={"stage": "total"}) from error

    async def _end_if_over(self) -> None:
        if self.ended:
            await self._end(None)

    async def _end(self, error: PrefrontalError | None) -> None:
        self._settle(self, error, False)
        await self._stream.aclose()

    async def aclose(self) -> None:
        """Leave: closes the upstream at once and settles what was relayed. Safe to call at any time, more than once."""
        self.ended = True
        self._settle(self, None, True)
        await self._stream.aclose()

    async def abandon(self) -> None:
        """Close the upstream without settling: the opening failed and the caller settles it."""
        self.ended = True
        await self._stream.aclose()
