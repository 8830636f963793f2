"""Versions can be compared and cleared up, and an engram can be checked and listed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.history import apart, clear, diff, distance
from prefrontal.knowledge.ingest.run import ingest_bytes, update
from prefrontal.knowledge.manifest import manifest, manifest_json
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.search.similar import more_like, near_duplicates
from prefrontal.knowledge.shape import Shape
from prefrontal.knowledge.store.engram import Engram
from prefrontal.knowledge.verify import verify
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]
HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "f"
    folder.mkdir()
    for name in ("a", "b", "c"):
        folder.joinpath(f"{name}.md").write_text(f"# {name}\n\nthe {name} pump lifts water number {name}{name}\n")
    return folder


def changed(folder: Path) -> None:
    folder.joinpath("a.md").write_text("# a\n\nsomething else entirely\n")
    folder.joinpath("b.md").rename(folder / "d.md")
    folder.joinpath("c.md").unlink()
    folder.joinpath("e.md").write_text("# e\n\nfresh\n")


def test_differences_name_what_changed(make: Make, folder: Path, clock: FakeClock) -> None:
    """Added, changed, removed and renamed files are told apart, in both directions."""
    path = make(folder)
    changed(folder)
    update(path, clock=clock)
    with Engram(path) as engram:
        assert [(one.path, one.change, one.before) for one in diff(engram, 1, 2)] == [
            ("a.md", "changed", ""),
            ("c.md", "removed", ""),
            ("d.md", "renamed", "b.md"),
            ("e.md", "added", ""),
        ]
        assert [(one.path, one.change) for one in diff(engram, 2, 1)] == [
            ("a.md", "changed"),
            ("b.md", "renamed"),
            ("c.md", "added"),
            ("e.md", "removed"),
        ]
        assert diff(engram, 2, 2) == []
        assert [(v.number, v.kind, v.added, v.changed, v.removed) for v in engram.versions()] == [
            (1, "ingest", 3, 0, 0),
            (2, "update", 2, 1, 2),
        ]
        assert 0.0 < distance(engram, 1, 2) < 1.0
        assert distance(engram, 2, 2) == 0.0
        with pytest.raises(InvalidRequest):
            diff(engram, 1, 7)


def test_engrams_are_compared_by_their_sums(make: Make, folder: Path) -> None:
    """Equal contents are at distance 0, other ones are apart, and other shapes are not compared."""
    one, same, other = make(folder, name="one"), make(folder, name="same"), make(HERE / "corpus", name="other")
    small = make(folder, name="small", shape=Shape(dim=10_000))
    with Engram(one) as a, Engram(same) as b, Engram(other) as c, Engram(small) as d:
        assert apart(a, b) == pytest.approx(0.0)
        assert 0.5 < apart(a, c) <= 1.0
        with pytest.raises(InvalidRequest):
            apart(a, d)


def test_clearing_up_keeps_what_is_needed(make: Make, folder: Path, clock: FakeClock) -> None:
    """Old versions go, the current one and its answers stay, and an open reader keeps what it sees."""
    path = make(folder)
    changed(folder)
    update(path, clock=clock)
    with Searcher(path) as before, Engram(path) as old:
        answers = before.search("pump lifts water")
        cleared = clear(path, clock=clock)
        assert (cleared.floor, cleared.files) == (2, 3)
        assert cleared.blobs == 2  # the renamed file's bytes are still needed
        assert len(list(old.files(version=1))) == 3
    with Searcher(path) as after:
        assert after.search("pump lifts water") == answers
        assert verify(after.engram).sound
        with pytest.raises(InvalidRequest):
            diff(after.engram, 1, 2)
    ingest_bytes(path, "new.txt", b"added after clearing up", clock=clock)
    with Searcher(path) as later:
        assert later.search("clearing")[0].path == "new.txt"
    with pytest.raises(InvalidRequest):
        clear(path, clock=clock, keep=0)


def test_an_index_from_before_clearing_up_is_not_trusted(make: Make, folder: Path, clock: FakeClock) -> None:
    """An index that missed versions which are gone is made again."""
    path = make(folder)
    with Searcher(path) as searcher:
        assert searcher.search("pump")
    changed(folder)
    update(path, clock=clock)
    clear(path, clock=clock)
    with Searcher(path) as searcher:
        assert {hit.path for hit in searcher.search("pump lifts water entirely fresh")} == {"a.md", "d.md", "e.md"}
        assert searcher.index.count == 3


def test_a_sound_engram_is_called_sound(make: Make) -> None:
    """Every hash, tile, vector and sum of a fresh engram fits."""
    with Engram(make(HERE / "corpus")) as engram:
        report = verify(engram)
    assert report.sound, report.findings
    assert report.files == sum(1 for path in (HERE / "corpus").rglob("*.*"))


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE blob SET data = zeroblob(length(data)) WHERE id = 1", "damaged"),
        ("UPDATE file SET sha256 = zeroblob(32) WHERE id = 2", "hash"),
        ("UPDATE chunk SET byte_end = byte_end - 1 WHERE id = 3", "tile"),
        ("UPDATE chunk SET sha256 = zeroblob(32) WHERE id = 3", "passage"),
        ("UPDATE vec SET vals = CAST(vals || x'05' AS BLOB) WHERE chunk = 4", "malformed"),
        ("DELETE FROM vec WHERE chunk = 4", "missing"),
        ("DELETE FROM part WHERE file = 1", "missing"),
        ("UPDATE node SET data = zeroblob(length(data)) WHERE path = 'guide'", "sum"),
        ("DELETE FROM node WHERE path = ''", "sum"),
    ],
)
def test_damage_is_found_and_named(make: Make, sql: str, problem: str) -> None:
    """Each kind of damage is reported where it is."""
    path = make(HERE / "corpus")
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()
    with Engram(path) as engram:
        report = verify(engram)
    assert any(problem in finding.problem for finding in report.findings), report.findings


def test_the_manifest_traces_every_passage(make: Make) -> None:
    """Paths, lines, bytes and hashes lead back to the file."""
    with Engram(make(HERE / "corpus")) as engram:
        made = manifest(engram)
        parsed = json.loads(manifest_json(engram))
    assert parsed["version"] == 1
    assert [file["path"] for file in parsed["files"]] == [file.path for file in made.files]
    for file in made.files:
        data = (HERE / "corpus" / file.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file.sha256
        for chunk in file.chunks:
            assert hashlib.sha256(data[slice(*chunk.bytes)]).hexdigest() == chunk.sha256
            assert data[: chunk.bytes[0]].count(b"\n") + 1 == chunk.lines[0]


def test_more_like_this_follows_the_subject(make: Make) -> None:
    """The nearest passages to one about a valve are about valves, and it is not its own neighbour."""
    with Searcher(make(HERE / "corpus")) as searcher:
        start = searcher.search("gate valve throttling", k=1)[0]
        near = more_like(searcher, start.chunk, k=3)
        assert start.chunk not in {hit.chunk for hit in near}
        assert "guide/valves.md" in {hit.path for hit in near}
        assert all(0 < hit.score < 1 for hit in near)
        with pytest.raises(InvalidRequest):
            more_like(searcher, 10**9)


def test_near_duplicates_are_found(make: Make, clock: FakeClock) -> None:
    """A copy and a slightly changed copy are found; other passages are not."""
    path = make(HERE / "corpus")
    text = (HERE / "corpus/guide/billing.md").read_bytes()
    ingest_bytes(path, "copy.md", text, clock=clock)
    ingest_bytes(path, "edited.md", text.replace(b"fourteen", b"twenty"), clock=clock)
    with Searcher(path) as searcher:
        twins = near_duplicates(searcher, least=0.8)
    names = {"guide/billing.md", "copy.md", "edited.md"}
    assert twins
    assert {twin.first.path for twin in twins} | {twin.second.path for twin in twins} == names
    assert any(twin.same and twin.similarity == pytest.approx(1.0, abs=0.2) for twin in twins)
    assert twins == sorted(twins, key=lambda twin: -twin.similarity)
