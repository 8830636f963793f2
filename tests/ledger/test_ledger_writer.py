"""The writer thread under load: order, wake-ups, flushes and many threads at once."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prefrontal.ledger import writer as writing
from prefrontal.ledger.bulk import Bulk
from prefrontal.ledger.schema import migrate
from prefrontal.ledger.sqlite import SqliteLedger, connect
from prefrontal.ledger.writer import Writer
from prefrontal.testing.ledger_contract import make_record

Make = Callable[..., Writer]


@pytest.fixture
def make_writer(tmp_path: Path) -> Iterator[Make]:
    made: list[Writer] = []
    path = str(tmp_path / "w.db")
    first = connect(path)
    migrate(first)
    first.close()

    def build(*, opener: Callable[[str], sqlite3.Connection] = connect, **settings: Any) -> Writer:
        made.append(Writer(lambda: opener(path), bound=settings.pop("bound", 10_000), **settings))
        made[-1].start()
        return made[-1]

    yield build
    for one in made:
        assert one.stop(10.0)


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    """A thousand times more switches between threads than usual, so that a race shows itself."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(usual)


def flush(writer: Writer, timeout_s: float = 5.0) -> str | None:
    """Wait for everything put so far; return the error."""
    done = threading.Event()
    said: list[str | None] = []

    def settle(error: str | None) -> None:
        said.append(error)
        done.set()

    writer.on_flushed(settle)
    assert done.wait(timeout_s), "a flush was never answered"
    return said[0]


def stored(tmp_path: Path) -> dict[str, float | None]:
    connection = sqlite3.connect(tmp_path / "w.db")
    try:
        return dict(connection.execute("SELECT id, cost_usd FROM records").fetchall())
    finally:
        connection.close()


def test_a_record_put_while_the_writer_falls_asleep_is_written(make_writer: Make) -> None:
    """No wake-up is lost: single records, each put at a random moment of the writer's round, reach the disk by themselves."""
    writer = make_writer()
    chance = random.Random(1)
    for number in range(25):
        writer.put(make_record(number))
        deadline = time.monotonic() + 2.0
        while writer.queued and time.monotonic() < deadline:
            time.sleep(chance.random() * 0.002)
        assert writer.queued == 0, f"record {number} was left lying"
        time.sleep(chance.random() * 0.003)


def test_records_of_many_threads_all_arrive(make_writer: Make, tmp_path: Path) -> None:
    """Puts, flushes and lookups from several threads at once lose nothing and answer everybody."""
    writer = make_writer()
    failures: list[str] = []

    def work(first: int) -> None:
        for number in range(first, first + 300):
            writer.put(make_record(number, cost_usd=1.0))
            if number % 50 == 0:
                error = flush(writer)
                if error is not None or writer.find(f"req_{number:08d}") is not None:
                    failures.append(f"{number}: {error}")
            elif number % 7 == 0:
                writer.waiting()

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 4000, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert flush(writer) is None
    assert failures == []
    assert len(stored(tmp_path)) == 1200
    assert (writer.queued, writer.written) == (0, 1200)


def test_the_newest_version_of_a_record_is_the_last_on_disk(make_writer: Make, tmp_path: Path) -> None:
    """Put again and again under one id while it is being written, the last value stays."""
    writer = make_writer()
    for value in range(2000):
        writer.put(make_record(value % 3, cost_usd=float(value)))
        if value % 100 == 0:
            time.sleep(0.002)
    assert flush(writer) is None
    assert stored(tmp_path) == {"req_00000000": 1998.0, "req_00000001": 1999.0, "req_00000002": 1997.0}


def test_a_flush_waits_for_a_record_that_was_replaced_meanwhile(make_writer: Make, tmp_path: Path) -> None:
    """Putting the same id again neither ends a flush too early nor keeps it waiting for ever."""
    gate = threading.Event()

    def opener(path: str) -> sqlite3.Connection:
        gate.wait(5)
        return connect(path)

    writer = make_writer(opener=opener)
    answered: list[tuple[str | None, int]] = []
    ready = threading.Event()

    def settle(error: str | None) -> None:
        answered.append((error, len(stored(tmp_path))))
        ready.set()

    writer.put(make_record(1))
    writer.on_flushed(settle)
    writer.put(make_record(1, cost_usd=2.0))
    writer.put(make_record(2))
    assert not ready.wait(0.1)
    gate.set()
    assert ready.wait(5)
    assert answered[0][0] is None
    assert answered[0][1] >= 1


def test_a_flush_is_answered_under_steady_load(make_writer: Make) -> None:
    """It waits for what was put before it, not for the queue to be empty."""
    writer = make_writer()
    stop = threading.Event()

    def load() -> None:
        number = 0
        while not stop.is_set():
            writer.put(make_record(number))
            writer.put(make_record(number % 10))
            number += 1
            time.sleep(0.0002)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(5):
            assert flush(writer, timeout_s=2.0) is None
    finally:
        stop.set()
        thread.join()


def test_records_are_committed_in_groups(make_writer: Make) -> None:
    """A burst costs few commits, and a huge one is cut."""
    commits: list[str] = []

    def opener(path: str) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(lambda statement: commits.append(statement) if statement == "COMMIT" else None)
        return connection

    writer = make_writer(opener=opener)
    for number in range(2 * writing.GROUP_MAX + 1):
        writer.put(make_record(number))
    assert flush(writer) is None
    assert 3 <= len(commits) <= 5


def test_a_commit_that_fails_half_way_leaves_no_half_group(make_writer: Make, tmp_path: Path) -> None:
    """Rows and bodies come together or not at all, and the group is tried again as it was."""
    broken = [True]

    class Flaky(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if broken[0] and "bodies" in sql:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *values)

    writer = make_writer(opener=lambda path: sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Flaky))
    for number in range(5):
        writer.put(make_record(number))
    assert flush(writer) == "disk I/O error"
    assert stored(tmp_path) == {}
    assert (writer.writable, writer.queued) == (False, 5)
    broken[0] = False
    writer.put(make_record(9))
    assert flush(writer) is None
    assert len(stored(tmp_path)) == 6
    assert (writer.writable, writer.queued, writer.written) == (True, 0, 6)


def test_a_fault_of_our_own_does_not_end_the_thread(make_writer: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised on the thread, the records stay and are tried again."""
    sound = writing.to_rows
    monkeypatch.setattr(writing, "to_rows", lambda *a: 1 / 0)
    writer = make_writer()
    writer.put(make_record(1))
    assert "ZeroDivisionError" in (flush(writer) or "")
    monkeypatch.setattr(writing, "to_rows", sound)
    assert flush(writer) is None


def test_a_flush_of_nothing_or_without_a_thread_is_answered_at_once(tmp_path: Path) -> None:
    """Nobody waits for a writer that does not run."""
    writer = Writer(lambda: connect(str(tmp_path / "x.db")), bound=10)
    assert flush(writer, 0.1) is None
    writer.put(make_record(1))
    assert flush(writer, 0.1) == "the ledger is not open"
    assert not writer.stop(0.1)


async def test_a_flush_that_is_cancelled_harms_nobody(tmp_path: Path) -> None:
    """The writer's answer comes to a future nobody waits for."""
    from prefrontal.clock import SystemClock

    ledger = SqliteLedger(tmp_path / "records.db", clock=SystemClock()).open()
    ledger.put(make_record(1))
    task = asyncio.create_task(ledger.flush())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ledger.flush()
    assert ledger.status().written == 1
    await ledger.aclose()


def test_a_group_without_statements_is_told_at_once(make_writer: Make) -> None:
    """Who asks only whether all before it is on disk hears of it, however idle the writer is."""
    writer = make_writer()
    assert flush(writer) is None
    for _ in range(20):
        told = threading.Event()
        writer.submit([], lambda _error, told=told: told.set())  # type: ignore[misc]  # the default binds this round's event
        assert told.wait(5.0)


async def test_nothing_overtakes_statements_that_wait(open_ledger: Any) -> None:
    """What was given to the writer while the disk was in trouble comes before what could be written at once by now."""
    ledger = open_ledger()
    writer = ledger._writer
    writer.problem = "no space"
    first = "INSERT INTO audit (at_s, actor, action, target, details) VALUES (1, 'a', 'first', '', '')"
    writer.submit([(first, ())], lambda _: None)
    writer.problem = None  # as after the group before
    assert not ledger.write_now([("DELETE FROM audit", ())])
    done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    ledger.submit([("UPDATE audit SET target = 'second'", ())], lambda error: loop.call_soon_threadsafe(done.set_result, error))
    assert await asyncio.wait_for(done, 5.0) is None
    assert not writer.behind
    assert ledger.write_now([("UPDATE audit SET actor = 'last'", ())])
    found = await ledger.read(lambda db: db.execute("SELECT actor, action, target FROM audit").fetchall())
    assert found == [("last", "first", "second")]


async def test_a_step_that_trips_halfway_leaves_nothing_behind(open_ledger: Any) -> None:
    """What it had written is taken back, and what stands beside it in the group is kept."""
    ledger = open_ledger()
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str | None] = loop.create_future()
    add = "INSERT INTO audit (at_s, actor, action, target, details) VALUES (1, ?, '', '', ?)"

    def trips(db: sqlite3.Connection) -> None:
        db.execute(add, ("half", ""))
        db.execute(add, ("never", 2**63))

    ops = [(add, ("before", "")), trips, lambda db: db.execute(add, ("after", "")) and None]
    ledger.submit(ops, lambda error: loop.call_soon_threadsafe(done.set_result, error))
    assert await asyncio.wait_for(done, 5.0) is None
    found = await ledger.read(lambda db: db.execute("SELECT actor FROM audit ORDER BY number").fetchall())
    assert found == [("before",), ("after",)]


def test_rows_of_any_number_are_all_written_in_their_order(tmp_path: Path) -> None:
    """However many rows there are, statements of many and of one write each once; the last of two with one id stands."""
    with sqlite3.connect(tmp_path / "bulk.db") as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT)")
        bulk = Bulk("INSERT OR REPLACE INTO t (id, word) VALUES (?,?)")
        for count in (0, 1, 7, 8, 9, 63, 64, 65, 200):
            connection.execute("DELETE FROM t")
            bulk.insert(connection, [(number, str(number)) for number in range(count)] + [(0, "again")] * (count > 0))
            found = connection.execute("SELECT id, word FROM t ORDER BY id").fetchall()
            assert found == [(number, str(number) if number else "again") for number in range(count)]
