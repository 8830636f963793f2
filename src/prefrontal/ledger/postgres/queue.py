"""Records on their way to the database: bounded in content, never in settlements. Belongs to one event loop.

The rules are those of the writer on SQLite (`ledger.writer`), which does the same between two threads.
"""

from __future__ import annotations

import asyncio
from itertools import islice

import msgspec

from prefrontal.contracts.record import RequestRecord
from prefrontal.ledger.rows import encode_content
from prefrontal.ledger.writer import CONTENT_BYTES, GROUP_MAX, Waiting


class Queue:
    """A record is in `_queued`, then in `writing`, and leaves that only when it is committed.

    One put again under the same id replaces the one that still waits, in its place; while the older is being written it waits
    behind it, so the newest is always written last.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.writing: dict[str, Waiting] = {}
        self.written = 0
        self.content_dropped = 0
        self.wake = asyncio.Event()
        self._queued: dict[str, Waiting] = {}
        self._content_bytes = 0
        self._number = 0
        self._waiters: list[tuple[int, asyncio.Future[str | None]]] = []

    def __len__(self) -> int:
        return len(self._queued) + len(self.writing)

    @property
    def hurried(self) -> bool:
        """Whether somebody waits, or a group is full."""
        return bool(self._waiters) or len(self._queued) >= GROUP_MAX

    def put(self, record: RequestRecord) -> None:
        """Queue a record. Over the bounds its content is dropped and counted, never the record."""
        content = None
        dropped = False
        if record.content is not None:
            content = encode_content(record.content)
            dropped = content is None
            record = msgspec.structs.replace(record, content=None)
        if content is not None and (len(self) >= self.bound or self._content_bytes + len(content) > CONTENT_BYTES):
            content, dropped = None, True
        if dropped:
            self.content_dropped += 1
            record = msgspec.structs.replace(record, content_dropped=True)
        older = self._queued.get(record.id)
        if older is not None:
            self._content_bytes -= len(older.content or b"")
        # one that replaces another keeps its number, or a flush that waits for the older would not wait for it
        self._queued[record.id] = Waiting(self._number if older is None else older.number, record, content)
        self._number += 1
        self._content_bytes += len(content or b"")
        self.wake.set()

    def find(self, record_id: str) -> Waiting | None:
        """Return the newest version of a record that is not committed yet."""
        return self._queued.get(record_id) or self.writing.get(record_id)

    def waiting(self) -> dict[str, RequestRecord]:
        """Return the records not yet committed, the newest version of each."""
        return {name: waiting.record for name, waiting in {**self.writing, **self._queued}.items()}

    def take(self) -> dict[str, Waiting]:
        """Return the group to write: the one that failed, else the oldest records."""
        if not self.writing:
            self.writing = dict(islice(self._queued.items(), GROUP_MAX))
            for name in self.writing:
                del self._queued[name]
        return self.writing

    def landed(self) -> None:
        """The group is committed: forget it and tell those who waited for no more than that."""
        self.written += len(self.writing)
        self._content_bytes -= sum([len(waiting.content or b"") for waiting in self.writing.values()])
        self.writing = {}
        first = next(iter(self._queued.values()), None)
        reached = self._number if first is None else first.number
        ready = [waiter for number, waiter in self._waiters if number <= reached]
        self._waiters = [waiter for waiter in self._waiters if waiter[0] > reached]
        _tell(ready, None)

    def failed(self, error: str) -> None:
        """The group could not be written and stays: tell everybody who waits."""
        waiters, self._waiters = self._waiters, []
        _tell([waiter for _, waiter in waiters], error)

    def flushed(self) -> asyncio.Future[str | None]:
        """Return what gives None when everything put so far is committed, or why it could not be."""
        waiter: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiters.append((self._number, waiter))
        self.wake.set()
        return waiter


def _tell(waiters: list[asyncio.Future[str | None]], error: str | None) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(error)
