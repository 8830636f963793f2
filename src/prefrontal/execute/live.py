"""An answer that is still arriving: the held opening first, then the rest, then the settlement."""

from __future__ import annotations

from collections.abc import Callable

from prefrontal.chat.response import Chunk
from prefrontal.chat.usage import Usage
from prefrontal.clock import Clock
from prefrontal.errors import PrefrontalError, ProviderTimeout
from prefrontal.execute.journal import Entry, Journal
from prefrontal.execute.transport.base import WireStream
from prefrontal.providers.base import StreamParser

Settle = Callable[["LiveStream", PrefrontalError | None, bool], None]


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

    async def pull(self) -> list[Chunk]:
        """Read once from the upstream; an empty list with `ended` set is the end. Raises ProviderError."""
        before = self.clock.monotonic()
        try:
            data = await self._stream.read()
        finally:
            self.journal.waited_s += self.clock.monotonic() - before
        if data:
            chunks = self._parser.feed(data)
        else:
            chunks = self._parser.finish()
            self.ended = True
        self._note(chunks)
        return chunks

    def _note(self, chunks: list[Chunk]) -> None:
        entry = self.entry
        for chunk in chunks:
            if chunk.usage is not None:
                self.usage = chunk.usage
            if chunk.finish_reason is not None:
                entry.finish_reason = chunk.finish_reason
            if chunk.text or chunk.reasoning or chunk.tool_calls or chunk.refusal or chunk.redacted:
                if entry.first_token_ms is None:
                    entry.first_token_ms = self.journal.elapsed_ms()
                self.characters += len(chunk.text) + len(chunk.reasoning)
                for delta in chunk.tool_calls:
                    self.characters += len(delta.arguments)

    async def read(self) -> list[Chunk]:
        """Return the next chunks; an empty list is the end.

        Raises:
            ProviderError: the upstream broke off or sent an error; the attempt is settled with it.
        """
        if self.held is not None:
            held, self.held = self.held, None
            if self.ended:
                self._settle(self, None, False)
            if held:
                return held
        while not self.ended:
            try:
                if self._deadline is not None and self.clock.monotonic() > self._deadline:
                    raise ProviderTimeout("The request's time ran out inside the answer.", details={"stage": "total"})
                chunks = await self.pull()
            except PrefrontalError as error:
                self.ended = True
                self._settle(self, error, False)
                await self._stream.aclose()
                raise
            if self.ended:
                self._settle(self, None, False)
                await self._stream.aclose()
            if chunks:
                return chunks
        return []

    async def aclose(self) -> None:
        """Leave: closes the upstream at once and settles what was relayed. Safe to call at any time, more than once."""
        if not self.ended:
            self.ended = True
            self._settle(self, None, True)
        await self._stream.aclose()

    async def abandon(self) -> None:
        """Close the upstream without settling: the opening failed and the caller settles it."""
        self.ended = True
        await self._stream.aclose()
