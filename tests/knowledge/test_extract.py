"""Files come back bit for bit, and nothing leaves the folder they are meant for."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.extract import extract, unsafe
from prefrontal.knowledge.ingest.run import ingest, ingest_bytes, update
from prefrontal.knowledge.ingest.walk import Source
from prefrontal.knowledge.store.engram import Engram, create
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]
HERE = Path(__file__).parent
NAME = st.binary(min_size=1, max_size=40).filter(lambda name: not set(name) & set(b"/\x00\\") and name not in (b".", b".."))


def content(folder: Path) -> dict[bytes, bytes]:
    root = os.fsencode(folder)
    return {
        os.path.relpath(os.path.join(base, name), root): Path(os.fsdecode(os.path.join(base, name))).read_bytes()
        for base, _, names in os.walk(root)
        for name in names
    }


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.lists(NAME, min_size=1, max_size=3).map(b"/".join), st.binary(max_size=300), max_size=6))
def test_extraction_is_identity(files: dict[bytes, bytes]) -> None:
    """Whatever bytes and names go in come out again; a name that is refused is named."""
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as room:
        folder, path, target = Path(room, "in"), Path(room, "it.engram"), Path(room, "out")
        folder.mkdir()
        for name, data in files.items():
            try:
                place = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            except OSError:
                continue  # a file where a folder is wanted
        create(path, clock=clock)
        ingest(path, [Source(root=str(folder), keep_binary=True, gitignore=False)], clock=clock)
        with Engram(path) as engram:
            done = extract(engram, target)
            kept = {file.path for file in engram.files()}
        refused = {os.fsencode(one.path) for one in done.refused}
        assert all(unsafe(one.path) for one in done.refused)
        expected = {name: data for name, data in content(folder).items() if os.fsdecode(name) in kept and name not in refused}
        assert content(target) == expected


def test_large_files_line_ends_and_empty_ones_come_back(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """Megabytes over many parts, CRLF and nothing at all are the same afterwards."""
    folder = tmp_path / "f"
    folder.mkdir()
    folder.joinpath("big.bin").write_bytes(os.urandom(3_000_000))
    folder.joinpath("crlf.txt").write_bytes(b"a\r\nb\rc\n")
    folder.joinpath("empty").write_bytes(b"")
    path = make()
    ingest(path, [Source(root=str(folder), keep_binary=True)], clock=clock)
    with Engram(path) as engram:
        done = extract(engram, tmp_path / "out")
    assert content(tmp_path / "out") == content(folder)
    assert (len(done.paths), done.size_bytes) == (3, 3_000_007)


def test_globs_and_versions_choose(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """Some files, or all as they were; an unknown version is refused."""
    folder = tmp_path / "f"
    folder.mkdir()
    folder.joinpath("a.md").write_bytes(b"old")
    folder.joinpath("b.py").write_bytes(b"x = 1")
    path = make(folder)
    folder.joinpath("a.md").write_bytes(b"newer")
    update(path, clock=clock)
    with Engram(path) as engram:
        assert extract(engram, tmp_path / "one", globs=["*.md"]).paths == ("a.md",)
        extract(engram, tmp_path / "old", version=1)
        with pytest.raises(InvalidRequest):
            extract(engram, tmp_path / "no", version=9)
    assert (tmp_path / "one/a.md").read_bytes() == b"newer"
    assert (tmp_path / "old/a.md").read_bytes() == b"old"


def test_what_is_there_stays_unless_it_may_be_replaced(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """An existing file is only written over when asked for."""
    path = make()
    ingest_bytes(path, "a.txt", b"mine", clock=clock)
    target = tmp_path / "out"
    target.mkdir()
    target.joinpath("a.txt").write_bytes(b"theirs")
    with Engram(path) as engram:
        assert [one.reason for one in extract(engram, target).refused] == ["a file of that name is there"]
        assert target.joinpath("a.txt").read_bytes() == b"theirs"
        assert extract(engram, target, replace=True).paths == ("a.txt",)
    assert target.joinpath("a.txt").read_bytes() == b"mine"
    assert os.listdir(target) == ["a.txt"]


@pytest.mark.parametrize(
    "evil",
    [
        "../out.txt",
        "/etc/cron.d/x",
        "a/../../b",
        "a/./b",
        "a//b",
        "..\\x",
        "C:\\x",
        "c:x",
        "\\\\host\\x",
        "CON",
        "aux.txt",
        "d/COM1.log",
        "",
        "a\x00b",
        "x" * 300,
    ],
)
def test_a_crafted_engram_writes_nothing_outside(make: Make, tmp_path: Path, clock: FakeClock, evil: str) -> None:
    """Names that climb, are absolute, or mean devices are refused, whatever an engram says."""
    path = make()
    ingest_bytes(path, "good.txt", b"good", clock=clock)
    ingest_bytes(path, "bad.txt", b"bad", clock=clock)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE file SET path = ? WHERE path = 'bad.txt'", (evil,))
    connection.commit()
    connection.close()
    target = tmp_path / "deep" / "out"
    with Engram(path) as engram:
        done = extract(engram, target)
    assert [one.path for one in done.refused] == [evil]
    assert content(tmp_path / "deep") == {b"out/good.txt": b"good"}


def test_links_in_the_target_are_not_followed(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """Neither a folder nor a file that is a link is written through."""
    path = make()
    ingest_bytes(path, "d/a.txt", b"in", clock=clock)
    ingest_bytes(path, "e.txt", b"in", clock=clock)
    outside, target = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    target.mkdir()
    outside.joinpath("e.txt").write_bytes(b"safe")
    target.joinpath("d").symlink_to(outside)
    target.joinpath("e.txt").symlink_to(outside / "e.txt")
    with Engram(path) as engram:
        done = extract(engram, target, replace=True)
    assert done.paths == ()
    assert content(outside) == {b"e.txt": b"safe"}


def test_damaged_files_are_refused_and_leave_no_trace(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """A file whose stored bytes changed is named, the others come out."""
    path = make()
    ingest_bytes(path, "a.txt", b"alpha " * 40, clock=clock)
    ingest_bytes(path, "b.txt", b"beta " * 40, clock=clock)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE blob SET data = zeroblob(length(data)) WHERE id = 1")
    connection.commit()
    connection.close()
    with Engram(path) as engram:
        done = extract(engram, tmp_path / "out")
    assert done.paths == ("b.txt",)
    assert "damaged" in done.refused[0].reason
    assert os.listdir(tmp_path / "out") == ["b.txt"]
