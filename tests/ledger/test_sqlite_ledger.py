"""The ledger on SQLite when things go wrong: full disks, broken files, killed processes, other processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.clock import SystemClock
from prefrontal.errors import Overloaded, StoreError
from prefrontal.ledger.schema import MIGRATIONS, migrate
from prefrontal.ledger.sqlite import SqliteLedger, connect
from prefrontal.ledger.store import RecordFilter
from prefrontal.testing.ledger_contract import full_record, make_record

Open = Callable[..., SqliteLedger]
TEXT = {"messages": ["x" * 20_000]}


def ids(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT id FROM records ORDER BY id")]
    finally:
        connection.close()


async def test_a_full_disk_refuses_new_work_keeps_settlements_and_recovers(
    open_ledger: Open, disk: Any, eventually: Any, tmp_path: Path
) -> None:
    """The bound of the real file is reached: 503 before work, everything put is kept, and written when space returns."""
    path = tmp_path / "records.db"
    first = open_ledger()
    for number in range(20):
        first.put(full_record(number))
    await first.aclose()
    disk.full_at = path.stat().st_size + 8192
    ledger = open_ledger()
    ledger.admit()
    for number in range(20, 80):
        ledger.put(make_record(number, content=TEXT))
    with pytest.raises(StoreError, match="full"):
        await ledger.flush()
    with pytest.raises(Overloaded) as refused:
        ledger.admit()
    assert refused.value.retry_after_s
    assert "full" in refused.value.message
    status = ledger.status()
    assert (status.writable, status.queued) == (False, 60)
    assert len(await ledger.find(RecordFilter(limit=100))) == 80  # reading goes on
    got = await ledger.get("req_00000079")
    assert got is not None
    assert got.content == TEXT
    disk.full_at = None
    await eventually(lambda: ledger.status().writable)
    await ledger.flush()
    ledger.admit()
    assert len(ids(path)) == 80
    got = await ledger.get("req_00000079")
    assert got is not None
    assert got.content == TEXT


async def test_a_disk_with_hardly_any_room_refuses_new_work_and_still_settles(open_ledger: Open, eventually: Any) -> None:
    """Before the disk is really full: requests in progress are written, new ones get 503, until there is room again."""
    free = [10**9]
    ledger = open_ledger(free_bytes=lambda: free[0])
    ledger.put(make_record(1))
    await ledger.flush()
    free[0] = 1000
    ledger.put(make_record(2))
    await ledger.flush()
    await eventually(lambda: not ledger.status().writable)
    with pytest.raises(Overloaded, match="free on the disk"):
        ledger.admit()
    ledger.put(make_record(3))
    await eventually(lambda: ledger.status().queued == 0)
    free[0] = 10**9
    await eventually(lambda: ledger.status().writable)
    ledger.admit()


async def test_a_full_disk_is_called_full_whatever_the_database_calls_it(open_ledger: Open, disk: Any, eventually: Any) -> None:
    """SQLite says `disk I/O error` when the log beside the database cannot grow; that sends people to the wrong place."""
    free = [10**9]
    ledger = open_ledger(free_bytes=lambda: free[0])
    free[0], disk.broken = 0, True
    ledger.put(make_record(1))
    await eventually(lambda: not ledger.status().writable)
    assert ledger.status().last_error == "the disk is full (disk I/O error)"
    disk.broken, free[0] = False, 10**9
    await eventually(lambda: ledger.status().queued == 0)


async def test_a_disk_without_room_is_noticed_before_the_first_request(open_ledger: Open) -> None:
    """Nothing has to fail first."""
    with pytest.raises(Overloaded):
        open_ledger(free_bytes=lambda: 0).admit()


async def test_near_its_bound_the_queue_refuses_new_work_and_over_it_drops_content(open_ledger: Open, disk: Any) -> None:
    """While nothing can be written, 503 comes at nine tenths; beyond the bound content goes, and is counted, records stay."""
    ledger = open_ledger(queue_size=20)
    disk.gate.clear()
    for number in range(18):
        ledger.admit()
        ledger.put(full_record(number))
    with pytest.raises(Overloaded, match="more slowly"):
        ledger.admit()
    for number in range(18, 25):  # requests that were admitted before
        ledger.put(full_record(number))
    assert ledger.status().content_dropped == 5
    disk.gate.set()
    await ledger.flush()
    assert len(await ledger.find(RecordFilter(limit=100))) == 25
    kept, bare = await ledger.get("req_00000019"), await ledger.get("req_00000020")
    assert kept is not None
    assert bare is not None
    assert (kept.content is not None, kept.content_dropped) == (True, False)
    assert (bare.content, bare.content_dropped, bare.cost_usd) == (None, True, 0.25)
    ledger.admit()


async def test_content_that_waits_is_bounded_in_bytes(open_ledger: Open, disk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few very long conversations do not fill the memory; what was written makes room for more."""
    monkeypatch.setattr("prefrontal.ledger.writer.CONTENT_BYTES", 50_000)
    ledger = open_ledger()
    disk.gate.clear()
    for number in range(4):
        ledger.put(make_record(number, content=TEXT))
    assert ledger.status().content_dropped == 2
    disk.gate.set()
    await ledger.flush()
    ledger.put(make_record(9, content=TEXT))
    assert ledger.status().content_dropped == 2


async def test_a_failing_database_is_tried_again_and_nothing_is_lost(open_ledger: Open, disk: Any, tmp_path: Path) -> None:
    """An error that passes costs nobody a record."""
    ledger = open_ledger()
    disk.broken = True
    ledger.put(make_record(1))
    with pytest.raises(StoreError, match="I/O"):
        await ledger.flush()
    ledger.put(make_record(2))
    disk.broken = False
    for _ in range(50):
        try:
            await ledger.flush()
            break
        except StoreError:
            continue
    assert ids(tmp_path / "records.db") == ["req_00000001", "req_00000002"]
    assert ledger.status().last_error is not None


async def test_at_the_end_content_goes_before_settlements(open_ledger: Open, disk: Any, tmp_path: Path) -> None:
    """Closing on a disk that has room only for small rows writes them without content."""
    ledger = open_ledger()
    disk.full_at = (tmp_path / "records.db").stat().st_size + 3 * 4096
    for number in range(4):
        ledger.put(make_record(number, content=TEXT))
    with pytest.raises(StoreError):
        await ledger.flush()
    await ledger.aclose()
    assert len(ids(tmp_path / "records.db")) == 4
    assert ledger.status().content_dropped == 4


async def test_closing_on_a_dead_disk_ends_and_says_what_is_lost(
    open_ledger: Open, disk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Bounded in time, and not silent."""
    ledger = open_ledger()
    disk.broken = True
    ledger.put(make_record(1))
    async with asyncio.timeout(5):
        await ledger.aclose()
    assert "1 records could not be written" in caplog.text
    with pytest.raises(StoreError):
        await ledger.find(RecordFilter())
    with pytest.raises(StoreError):
        await ledger.flush()


async def test_closing_writes_what_is_queued(open_ledger: Open, tmp_path: Path) -> None:
    """Nobody has to flush before."""
    ledger = open_ledger()
    for number in range(2500):  # more than one group
        ledger.put(make_record(number))
    await ledger.aclose()
    assert len(ids(tmp_path / "records.db")) == 2500


async def test_a_record_that_is_no_json_keeps_its_settlement_and_harms_no_other(open_ledger: Open) -> None:
    """Foreign objects, half characters and huge numbers cost the details of one record."""
    from prefrontal.chat.usage import Usage

    ledger = open_ledger()
    huge = Usage(uncached_input_tokens=2**70, output_tokens=1, source="reported")
    ledger.put(make_record(1, metadata={"x": object()}, cost_usd=1.5))
    ledger.put(make_record(2, error="half \ud800", cost_usd=2.5))
    ledger.put(make_record(3, usage=huge))
    ledger.put(make_record(4, content={"x": object()}))
    ledger.put(make_record(5, metadata={"fine": 1}))
    await ledger.flush()
    found = {record.id[-1]: record for record in await ledger.find(RecordFilter())}
    assert (found["1"].cost_usd, found["1"].metadata) == (1.5, None)
    assert (found["2"].cost_usd, found["2"].error) == (2.5, "half ?")
    assert found["4"].content_dropped
    assert found["5"].metadata == {"fine": 1}
    assert ledger.status().content_dropped == 1


async def test_a_body_nobody_can_read_is_an_error_alone_and_left_out_of_listings(open_ledger: Open, tmp_path: Path) -> None:
    """One bad row does not hide the others."""
    ledger = open_ledger()
    for number in range(3):
        ledger.put(make_record(number))
    await ledger.flush()
    connection = connect(str(tmp_path / "records.db"))
    connection.execute("UPDATE bodies SET body = '{' WHERE id = 'req_00000001'")
    connection.close()
    assert [record.id[-1] for record in await ledger.find(RecordFilter())] == ["2", "0"]
    with pytest.raises(StoreError, match="req_00000001"):
        await ledger.get("req_00000001")


async def test_records_past_their_retention_are_deleted_also_without_new_ones(
    open_ledger: Open, clock: Any, eventually: Any, tmp_path: Path
) -> None:
    """At start and then every hour; more than fit one step, and with their content."""
    first = open_ledger()
    for number in range(1200):
        first.put(make_record(number, started_s=clock.time_s - 10 * 86_400 + number / 1e6))
    first.put(make_record(5000, started_s=clock.time_s - 86_400))
    await first.aclose()
    ledger = open_ledger(retention_days=2.0)
    await eventually(lambda: ids(tmp_path / "records.db") == ["req_00005000"])
    connection = sqlite3.connect(tmp_path / "records.db")
    assert connection.execute("SELECT count(*) FROM bodies").fetchone() == (1,)
    connection.close()
    clock.time_s += 1.5 * 86_400
    ledger.put(make_record(6000, started_s=clock.time_s))  # anything wakes the writer
    await eventually(lambda: ids(tmp_path / "records.db") == ["req_00006000"])


def test_a_file_of_a_newer_version_is_refused_and_untouched(tmp_path: Path) -> None:
    """The message says both versions."""
    path = tmp_path / "records.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(StoreError, match=f"format {len(MIGRATIONS) + 1}.*up to {len(MIGRATIONS)}"):
        SqliteLedger(path, clock=SystemClock()).open()
    assert sqlite3.connect(path).execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_migrating_twice_or_from_a_half_way_changes_nothing_or_everything(tmp_path: Path) -> None:
    """A migration that fails leaves the database as it was."""
    connection = connect(str(tmp_path / "a.db"))
    migrate(connection)
    migrate(connection)
    connection.close()
    broken = connect(str(tmp_path / "b.db"))
    broken.execute("CREATE TABLE bodies (x)")  # in the way of the last statement
    with pytest.raises(sqlite3.OperationalError):
        migrate(broken)
    assert [row[0] for row in broken.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == ["bodies"]
    assert broken.execute("PRAGMA user_version").fetchone() == (0,)
    broken.close()


@pytest.mark.parametrize("trouble", ["parent is a file", "is a folder", "is no database", "is read-only"])
def test_a_place_that_cannot_be_used_is_said_at_start(tmp_path: Path, trouble: str) -> None:
    """The path and the setting to look at are named."""
    path = tmp_path / "records.db"
    opener: Callable[[str], sqlite3.Connection] = connect
    if trouble == "parent is a file":
        path.write_text("")
        path = path / "records.db"
    elif trouble == "is a folder":
        path.mkdir()
    elif trouble == "is no database":
        path.write_text("certainly not a database, and long enough to have a header" * 40)
    else:
        SqliteLedger(path, clock=SystemClock()).open()._writer.stop(5)

        def opener(name: str) -> sqlite3.Connection:
            return sqlite3.connect(f"file:{name}?mode=ro", uri=True, isolation_level=None)

    with pytest.raises(StoreError) as caught:
        SqliteLedger(path, clock=SystemClock(), opener=opener).open()
    assert str(path) in caught.value.message
    assert "records.path" in (caught.value.hint or "")


def test_two_processes_may_open_one_file_at_the_same_moment(tmp_path: Path) -> None:
    """Both migrate it, neither fails, and both write."""
    code = """
        import asyncio, sys
        from pathlib import Path
        from prefrontal.clock import SystemClock
        from prefrontal.ledger.sqlite import SqliteLedger
        from prefrontal.testing.ledger_contract import make_record
        async def main():
            ledger = SqliteLedger(Path(sys.argv[1]), clock=SystemClock()).open()
            for number in range(200):
                ledger.put(make_record(number + int(sys.argv[2])))
            await ledger.flush()
            await ledger.aclose()
        asyncio.run(main())
    """
    path = tmp_path / "records.db"
    started = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path), str(first)], stderr=subprocess.PIPE)
        for first in (0, 1000)
    ]
    for process in started:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors.decode()
    assert len(ids(path)) == 400


async def test_another_process_reads_while_this_one_writes(open_ledger: Open, tmp_path: Path) -> None:
    """A reader sees everything flushed before, without stopping the writer."""
    ledger = open_ledger()
    reader = SqliteLedger(tmp_path / "records.db", clock=SystemClock()).open()
    for number in range(30):
        ledger.put(full_record(number))
        if number % 10 == 9:
            await ledger.flush()
            assert len(await reader.find(RecordFilter(limit=100))) == number + 1
            assert await reader.get(f"req_{number:08d}") == full_record(number)
    await reader.aclose()


def test_a_killed_process_loses_at_most_what_was_not_flushed(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing: the file is sound and holds everything a flush had promised."""
    code = """
        import asyncio, sys
        from pathlib import Path
        from prefrontal.clock import SystemClock
        from prefrontal.ledger.sqlite import SqliteLedger
        from prefrontal.testing.ledger_contract import full_record
        async def main():
            ledger = SqliteLedger(Path(sys.argv[1]), clock=SystemClock()).open()
            number = 0
            while True:
                for _ in range(40):
                    ledger.put(full_record(number))
                    number += 1
                if number % 400 == 0:
                    await ledger.flush()
                    print(number, flush=True)
                else:
                    await asyncio.sleep(0.003)
        asyncio.run(main())
    """
    path = tmp_path / "records.db"
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    flushed = 0
    for line in process.stdout:
        flushed = int(line)
        if flushed >= 2000:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept = [row[0] for row in connection.execute("SELECT r.id FROM records r JOIN bodies b ON b.id = r.id ORDER BY r.id")]
    connection.close()
    assert len(kept) >= flushed
    assert kept == [f"req_{number:08d}" for number in range(len(kept))]
    assert len(ids(path)) == len(kept)


def modes(folder: Path) -> set[int]:
    """Return the modes of the database and of what lies beside it."""
    return {file.stat().st_mode & 0o777 for file in folder.glob("records.db*")}


async def test_a_new_database_is_for_its_owner_only_and_an_old_one_keeps_its_mode(open_ledger: Open, tmp_path: Path) -> None:
    """Records say who asked what; the files that SQLite puts beside the database have the same mode."""
    ledger = open_ledger()
    ledger.put(full_record(1))
    await ledger.flush()
    assert modes(tmp_path) == {0o600}
    await ledger.aclose()
    (tmp_path / "records.db").chmod(0o640)
    await open_ledger().aclose()
    assert 0o640 in modes(tmp_path)
