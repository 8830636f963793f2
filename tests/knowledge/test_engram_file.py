"""The file: one writer, whole versions, and no file that is not an engram."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.errors import Conflict, InvalidRequest, NotFound, StoreError
from prefrontal.knowledge.ingest.run import ingest, ingest_bytes, update
from prefrontal.knowledge.ingest.walk import Source
from prefrontal.knowledge.shape import Shape
from prefrontal.knowledge.store.engram import Engram, create
from prefrontal.knowledge.store.writer import Writer
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]


def test_a_new_engram_says_what_it_is(make: Make) -> None:
    """Shape and constants are kept; nothing was put in yet."""
    path = make(shape=Shape(dim=10_000, nonzeros=100, mode="ternary", seed=3))
    with Engram(path) as engram:
        assert engram.meta.shape == Shape(dim=10_000, nonzeros=100, mode="ternary", seed=3)
        assert engram.version == 0
        assert list(engram.files()) == []
        assert engram.node() is None


def test_an_engram_is_never_written_over(make: Make, clock: FakeClock) -> None:
    """Creating one where there is one is a conflict; a bad shape leaves no file."""
    path = make()
    with pytest.raises(Conflict):
        create(path, clock=clock)
    with pytest.raises(InvalidRequest):
        create(path.with_name("other.engram"), clock=clock, shape=Shape(dim=1))
    assert not path.with_name("other.engram").exists()


def test_a_missing_engram_is_not_found(tmp_path: Path) -> None:
    """Opening what is not there names it."""
    with pytest.raises(NotFound, match=r"gone\.engram"):
        Engram(tmp_path / "gone.engram")


@pytest.mark.parametrize("content", [b"", b"hello", os.urandom(8192), b"SQLite format 3\x00" + b"\x01" * 5000])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """What is no engram is called so, and is left as it is."""
    path = tmp_path / "foreign.engram"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"foreign\.engram"):
        Engram(path)
    assert path.read_bytes() == content


def test_other_databases_newer_formats_and_triggers_are_refused(make: Make, tmp_path: Path) -> None:
    """A database of another program, of a later version, or one that would run something is not opened."""
    other = tmp_path / "other.engram"
    sqlite3.connect(other).executescript("CREATE TABLE t (a); ")
    with pytest.raises(StoreError, match="not an engram"):
        Engram(other)
    path = make()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="format 99"):
        Engram(path)
    connection.execute("PRAGMA user_version = 1")
    connection.execute("CREATE TRIGGER x AFTER INSERT ON meta BEGIN DELETE FROM file; END")
    connection.commit()
    with pytest.raises(StoreError, match="triggers"):
        Engram(path)


def test_damaged_bytes_are_detected_and_named(make: Make, clock: FakeClock) -> None:
    """A changed blob does not pass for the file."""
    path = make()
    ingest_bytes(path, "a.txt", b"all is well " * 50, clock=clock)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE blob SET data = zeroblob(length(data))")
    connection.commit()
    connection.close()
    with Engram(path) as engram, pytest.raises(StoreError, match="damaged"):
        engram.content(engram.file("a.txt"))


def test_a_blob_that_unpacks_to_more_than_it_says_is_refused(make: Make, clock: FakeClock) -> None:
    """A packed bomb is not unpacked beyond the size of a part."""
    import zlib

    path = make()
    ingest_bytes(path, "a.txt", b"all is well " * 50, clock=clock)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE blob SET data = ?", (zlib.compress(bytes(50_000_000)),))
    connection.commit()
    connection.close()
    with Engram(path) as engram, pytest.raises(StoreError, match="damaged"):
        engram.content(engram.file("a.txt"))


def test_there_is_one_writer(make: Make, clock: FakeClock) -> None:
    """A second writer is told so at once, and may write when the first is done."""
    path = make()
    with Writer(path, clock=clock), pytest.raises(Conflict, match="being written"):
        ingest_bytes(path, "a.txt", b"text", clock=clock)
    assert ingest_bytes(path, "a.txt", b"text", clock=clock).added == 1


def test_a_reader_keeps_its_version(make: Make, clock: FakeClock) -> None:
    """While a writer goes on, a reader sees what it saw; then it may move on."""
    path = make()
    ingest_bytes(path, "a.txt", b"first", clock=clock)
    with Engram(path) as reader:
        ingest_bytes(path, "a.txt", b"second", clock=clock)
        assert (reader.version, reader.content(reader.file("a.txt"))) == (1, b"first")
        assert reader.refresh() == 2
        assert reader.content(reader.file("a.txt")) == b"second"
        assert reader.content(reader.file("a.txt", version=1)) == b"first"


def test_a_transaction_that_fails_leaves_the_last_version(make: Make, clock: FakeClock) -> None:
    """What was gathered before an error is gone."""
    path = make()
    ingest_bytes(path, "a.txt", b"first", clock=clock)

    def failing() -> None:
        with Writer(path, clock=clock) as writer:
            writer.remove("a.txt")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    with Engram(path) as engram:
        assert [file.path for file in engram.files()] == ["a.txt"]


def test_a_full_disk_is_said_and_nothing_is_lost(make: Make, clock: FakeClock) -> None:
    """When no page can be added, the run fails in words and the last version stays."""
    path = make()
    ingest_bytes(path, "a.txt", b"first", clock=clock)

    def filling() -> None:
        with Writer(path, clock=clock) as writer:
            (pages,) = writer.execute("PRAGMA page_count").fetchone()
            writer.execute(f"PRAGMA max_page_count = {pages + 1}")
            writer.execute("INSERT INTO blob (sha256, size, codec, data) VALUES (x'00', 1, 0, zeroblob(1000000))")

    with pytest.raises(StoreError, match="full"):
        filling()
    with Engram(path) as engram:
        assert engram.content(engram.file("a.txt")) == b"first"
        assert engram.version == 1


KILLED = """
import sys
from pathlib import Path
from prefrontal.clock import SystemClock
from prefrontal.knowledge.ingest import run
from prefrontal.knowledge.ingest.walk import Source
run.COMMIT_BATCHES, run.BATCH_FILES = 2, 5
def watch(progress):
    print(progress.taken, flush=True)
if sys.argv[3] == "update":
    run.update(Path(sys.argv[1]), clock=SystemClock(), watch=watch)
else:
    run.ingest(Path(sys.argv[1]), [Source(root=sys.argv[2])], clock=SystemClock(), watch=watch)
"""


@pytest.mark.parametrize("kind", ["ingest", "update"])
def test_a_killed_writer_leaves_whole_versions(make: Make, clock: FakeClock, tmp_path: Path, kind: str) -> None:
    """After kill -9 the engram is at its last version, consistent, and the same call finishes the work."""
    folder = tmp_path / "files"
    folder.mkdir()
    for n in range(60):
        folder.joinpath(f"{n:03}.txt").write_text(f"document {n} " * (n + 1))
    path = make()
    if kind == "update":
        ingest(path, [Source(root=str(folder))], clock=clock)
        for n in range(60):
            folder.joinpath(f"{n:03}.txt").write_text(f"changed {n} " * (n + 2))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(folder), kind], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 25:
            process.send_signal(signal.SIGKILL)
            break
    process.wait(10)
    process.stdout.close()
    with Engram(path) as engram:
        files = list(engram.files())
        assert 20 <= len(files) < 60 if kind == "ingest" else len(files) == 60
        assert sum(file.chunks for file in files) == engram.node().chunks  # type: ignore[union-attr]
        if kind == "update":
            assert all(engram.content(file).startswith(b"document") for file in files)
    if kind == "ingest":
        assert ingest(path, [Source(root=str(folder))], clock=clock).unchanged == len(files)
    else:
        assert update(path, clock=clock).changed == 60
    with Engram(path) as engram:
        assert len(list(engram.files())) == 60
