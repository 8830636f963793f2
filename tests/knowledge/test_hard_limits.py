"""A disk that is full, a file that is too large, two that write: each is said, and nothing is lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.errors import StoreError
from prefrontal.knowledge.ingest.corpus import Fields
from prefrontal.knowledge.ingest.run import ingest, ingest_corpus, update
from prefrontal.knowledge.ingest.walk import MAX_FILE_BYTES, Source
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.store.engram import Engram
from prefrontal.knowledge.verify import verify
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]

LIMITED = """
import resource, signal, sys
from pathlib import Path
from prefrontal.clock import SystemClock
from prefrontal.errors import StoreError
from prefrontal.knowledge.ingest import run
from prefrontal.knowledge.ingest.walk import Source
engram, folder, kind, limit = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
run.COMMIT_BATCHES, run.BATCH_FILES = 1, 10
try:
    if kind == "update":
        run.update(engram, clock=SystemClock())
    else:
        run.ingest(engram, [Source(root=folder)], clock=SystemClock())
except StoreError as error:
    print("refused:", error)
"""


def named(number: int) -> str:
    """A word of a number's own, which does not turn up in random digits."""
    return "q" + "".join([chr(ord("k") + int(digit)) for digit in f"{number:03}"]) * 2


@pytest.mark.parametrize("kind", ["ingest", "update"])
def test_no_more_room_is_said_and_the_last_version_stays(make: Make, clock: FakeClock, tmp_path: Path, kind: str) -> None:
    """When the system takes no more bytes the run ends in words; with room the same call finishes the work."""
    folder = tmp_path / "files"
    folder.mkdir()
    for n in range(60):
        folder.joinpath(f"{n:03}.txt").write_bytes(f"document {named(n)} ".encode() + os.urandom(6_000).hex().encode())
    path = make()
    if kind == "update":
        ingest(path, [Source(root=str(folder))], clock=clock)
        for n in range(60):
            folder.joinpath(f"{n:03}.txt").write_bytes(f"changed {named(n)} ".encode() + os.urandom(6_000).hex().encode())
    with Engram(path) as engram:
        before = {file.path: file.sha256 for file in engram.files()}
    limit = 300_000  # of each file, the log that a transaction is written to included
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(folder), kind, str(limit)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("refused:"), done.stderr
    assert "remains at its last version" in done.stdout
    with Engram(path) as engram:
        files = {file.path: file.sha256 for file in engram.files()}
        assert verify(engram).sound
    assert len(files) < 60 if kind == "ingest" else files == before
    assert (ingest(path, [Source(root=str(folder))], clock=clock) if kind == "ingest" else update(path, clock=clock)).version > 0
    with Searcher(path) as searcher:
        assert len(list(searcher.engram.files())) == 60
        word = "document" if kind == "ingest" else "changed"
        assert searcher.search(f"{word} {named(59)}")[0].path == "059.txt"


def test_a_file_of_two_gigabytes_is_left_out_without_being_read(make: Make, clock: FakeClock, tmp_path: Path) -> None:
    """Its size is enough to refuse it; memory does not grow, and its neighbours are taken in."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "small.txt").write_text("granite and gneiss")
    with (folder / "huge.txt").open("wb") as stream:
        stream.truncate(2 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = make()
    done = ingest(path, [Source(root=str(folder))], clock=clock)
    assert [(one.path, one.reason) for one in done.skipped] == [("huge.txt", "too_large")]
    assert done.added == 1
    os.truncate(folder / "huge.txt", 80 << 20)
    with (folder / "huge.txt").open("rb") as stream:
        taken = ingest_corpus(path, stream, clock=clock, fields=Fields(), name="huge.jsonl")
    assert [(one.path, one.reason) for one in taken.skipped] == [("huge.jsonl:1", "too_large")]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * MAX_FILE_BYTES // 1024


def test_a_file_that_grows_while_it_is_read_is_left_out(make: Make, clock: FakeClock, tmp_path: Path) -> None:
    """What was small when it was found is bounded when it is read."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "log.txt").write_text("short")
    source = Source(root=str(folder), max_file_bytes=1_000)
    path = make()
    assert ingest(path, [source], clock=clock).added == 1
    (folder / "log.txt").write_text("long " * 1_000)
    done = update(path, clock=clock)
    assert [(one.path, one.reason) for one in done.skipped] == [("log.txt", "too_large")]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """An engram cannot lie below a file, and that is an error with words."""
    from prefrontal.knowledge.store.engram import create

    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be created"):
        create(tmp_path / "file" / "a.engram", clock=FakeClock())
