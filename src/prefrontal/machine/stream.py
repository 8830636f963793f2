"""A streamed answer on its way to the client, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from prefrontal.chat.collect import Collector
from prefrontal.chat.replay import chunks_of
from prefrontal.chat.response import Chunk
from prefrontal.chat.usage import Usage
from prefrontal.contracts.record import RequestRecord
from prefrontal.errors import InvariantBroken, PrefrontalError, cause_of
from prefrontal.machine.money import settled
from prefrontal.machine.run import Run, extension
from prefrontal.machine.states import State
from prefrontal.machine.validation import Watch

Finish = Callable[..., RequestRecord]


class AnswerStream:
    """Chunks in batches; then the usage and the record. Close it whatever happens: only then is the request settled."""

    __slots__ = ("_chunks", "_collector", "_finish", "_keep", "_watch", "run")

    def __init__(self, run: Run, finish: Finish, watch: Watch | None = None) -> None:
        self.run = run
        self._finish = finish
        self._watch = watch
        self._keep = run.keeps_content or bool(run.words)
        self._collector: Collector | None = Collector() if self._keep else None
        self._chunks: list[Chunk] | None = None if run.live is not None else _whole(run)

    async def read(self) -> list[Chunk]:
        """Return the next chunks; an empty list is the end, and then the record is written.

        Raises:
            ProviderError: the upstream broke off after its first token; the record says so.
        """
        run = self.run
        if run.live is None:
            chunks, self._chunks = self._chunks or [], []
            if not chunks:
                self._end()
                if run.purse is not None:
                    await settled(run)
            return chunks
        try:
            chunks = await run.live.read()
        except PrefrontalError as error:
            error.details.setdefault("trace", run.id)
            self._remember()
            self._finish(run, "error", error)
            await settled(run)
            raise
        except asyncio.CancelledError as gone:
            await self.aclose(cause_of(gone))
            raise
        except BaseException as error:
            await run.live.aclose()
            self._finish(run, "error", InvariantBroken(f"{type(error).__name__} inside the gateway."))
            raise
        self._see(chunks)
        if not chunks:
            await self._judge()
            self._end()
            if run.purse is not None:
                await settled(run)
        return chunks

    def _see(self, chunks: list[Chunk]) -> None:
        """Collect what is needed of the answer when it has been passed on."""
        for chunk in chunks:
            if self._keep or chunk.reasoning or chunk.tool_calls or chunk.signature or chunk.redacted:
                if self._collector is None:
                    self._collector = Collector()
                self._collector.add(chunk)
        if self._watch is not None:
            self._watch.see(chunks)

    async def _judge(self) -> None:
        """Say whether what was passed on holds. Raises StructuredOutputInvalid; the record is written then."""
        watch, run = self._watch, self.run
        if watch is None or run.finished:
            return
        wrong = watch.end()
        if wrong is None:
            run.to(State.SYNTHESIS)
            return
        wrong.details.setdefault("trace", run.id)
        self._remember()
        self._finish(run, "error", wrong)
        await settled(run)
        raise wrong

    def _end(self) -> None:
        if self.run.finished:
            return
        self._remember()
        self.run.to(State.COMPLETED)
        self._finish(self.run, "ok")

    def _remember(self) -> None:
        if self._collector is not None and self.run.response is None:
            self.run.response = self._collector.response()

    async def aclose(self, error: PrefrontalError | None = None) -> None:
        """End the request: closes the upstream. A stream not read to its end counts as cancelled, or as failed of `error`."""
        run = self.run
        if run.live is not None:
            await run.live.aclose()
        if run.finished:
            return
        self._remember()
        if error is None:
            self._finish(run, "cancelled")
        else:
            error.details.setdefault("trace", run.id)
            self._finish(run, "error", error)

    @property
    def usage(self) -> Usage:
        """The tokens of the answer; final once `read` has returned the end."""
        return self.record.usage if self.run.record is not None else self.run.journal.usage()

    @property
    def record(self) -> RequestRecord:
        """The record; provisional before the end."""
        return self.run.record or self.run.make_record("ok")

    def extension(self) -> dict[str, Any]:
        """Return the `x_prefrontal` object for the last chunk."""
        return extension(self.record)


def _whole(run: Run) -> list[Chunk]:
    """A whole answer, of a reflex or from the cache, as a stream."""
    return [] if run.response is None else chunks_of(run.response)
