"""What the ledger's tests share: a clock that stands still, an opener that can be made to fail."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest

from prefrontal.ledger.sqlite import SqliteLedger, connect


class StillClock:
    """Time moves only when a test moves it; waiting is real and short."""

    def __init__(self) -> None:
        self.time_s = 1_700_000_000.0

    def now(self) -> float:
        return self.time_s

    def monotonic(self) -> float:
        return self.time_s

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)

    def timeout(self, delay_s: float | None) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(delay_s)


class Fragile:
    """A connection whose statements fail while its disk is broken."""

    def __init__(self, connection: sqlite3.Connection, disk: Disk) -> None:
        self._connection = connection
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        if self._disk.broken:
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(*arguments)


class Disk:
    """Opens databases with a bound that a test moves, or not at all. `full_at` is in bytes, None: no bound."""

    def __init__(self) -> None:
        self.full_at: int | None = None
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, path: str) -> sqlite3.Connection:
        self.gate.wait(10)
        if self.broken:
            raise sqlite3.OperationalError("disk I/O error")
        return cast("sqlite3.Connection", Fragile(connect(path, max_bytes=self.full_at), self))


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def disk() -> Disk:
    return Disk()


Open = Callable[..., SqliteLedger]


@pytest.fixture
async def open_ledger(tmp_path: Path, clock: StillClock, disk: Disk) -> AsyncIterator[Open]:
    """Opens ledgers on one file and closes them."""
    opened: list[SqliteLedger] = []

    def build(**settings: Any) -> SqliteLedger:
        settings.setdefault("opener", disk)
        settings.setdefault("clock", clock)
        ledger = SqliteLedger(settings.pop("path", tmp_path / "records.db"), **settings).open()
        opened.append(ledger)
        return ledger

    yield build
    disk.full_at, disk.broken = None, False
    disk.gate.set()
    for ledger in opened:
        await ledger.aclose()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Waits until a condition holds, at most five seconds."""

    async def wait(condition: Callable[[], bool]) -> None:
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come true within five seconds")

    return wait
