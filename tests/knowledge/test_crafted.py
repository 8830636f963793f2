"""Whatever stands in an engram's tables: every operation works or says in words what is wrong."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.errors import PrefrontalError
from prefrontal.knowledge.context import Shelf, context
from prefrontal.knowledge.extract import extract
from prefrontal.knowledge.history import diff
from prefrontal.knowledge.ingest.run import ingest_bytes, update
from prefrontal.knowledge.manifest import manifest_json
from prefrontal.knowledge.search.phrases import Phrases
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.search.similar import more_like, near_duplicates
from prefrontal.knowledge.search.tree import places
from prefrontal.knowledge.store.engram import Engram
from prefrontal.knowledge.verify import verify
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]
HERE = Path(__file__).parent

COLUMNS = {
    "meta": ("value",),
    "version": ("at", "kind", "run", "added"),
    "blob": ("sha256", "size", "codec", "data"),
    "file": ("path", "source", "born", "size", "mtime_ns", "sha256", "type", "encoding", "title", "tags", "chunks"),
    "part": ("blob",),
    "chunk": ("file", "ordinal", "byte_start", "byte_end", "line_start", "symbol", "heading", "kind", "sha256"),
    "vec": ("length", "indices", "vals", "terms", "counts", "flags"),
    "node": ("chunks", "length", "layout", "data"),
}
VALUES = {
    "text": "'../x\u202e'",
    "negative": "-5",
    "huge": "9000000000000000000",
    "bytes": "x'ffffffffffffffffff'",
    "nothing": "x''",
    "float": "1e308",
}


def exercise(path: Path, room: Path, clock: FakeClock) -> None:
    """Do everything an engram can do; errors of ours are answers."""

    def reading() -> None:
        with Engram(path) as engram:
            verify(engram)
            for step in (
                lambda: manifest_json(engram),
                lambda: extract(engram, room / "out" / "deep"),
                lambda: diff(engram, 0, 1),
                engram.versions,
            ):
                quietly(step)

    def searching() -> None:
        with Searcher(path) as searcher:
            for step in (
                lambda: searcher.search("slamming check valve"),
                lambda: searcher.search("pump", beam=2),
                lambda: searcher.search_documents("water"),
                lambda: more_like(searcher, 3),
                lambda: near_duplicates(searcher),
                lambda: places(searcher, "valve"),
                lambda: context("check valve slamming", [Shelf(name="x", searcher=searcher)], max_tokens=500),
                lambda: phrases(searcher),
            ):
                quietly(step)

    def phrases(searcher: Searcher) -> None:
        with Phrases(searcher) as engine:
            engine.search("pump*")

    for step in (
        reading,
        searching,
        lambda: update(path, clock=clock),
        lambda: ingest_bytes(path, "guide/pumps.md", b"x", clock=clock),
    ):
        quietly(step)


def quietly(step: Callable[[], object]) -> None:
    with contextlib.suppress(PrefrontalError):
        step()


@pytest.mark.parametrize("table", list(COLUMNS))
def test_any_value_anywhere_is_survived(make: Make, tmp_path: Path, clock: FakeClock, table: str) -> None:
    """Each column in turn holds nonsense of each kind; nothing crashes, hangs or leaves its folder."""
    template = make(HERE / "corpus")
    connection = sqlite3.connect(template)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    original = template.read_bytes()
    for n, (column, value) in enumerate((c, v) for c in COLUMNS[table] for v in VALUES.values()):
        path = tmp_path / f"{table}{n}" / "it.engram"
        path.parent.mkdir()
        path.write_bytes(original)
        connection = sqlite3.connect(path)
        some = "" if table in ("meta", "part") else " WHERE rowid % 2 = 0"
        try:
            connection.execute(f"UPDATE {table} SET {column} = {value}{some}")
        except sqlite3.IntegrityError:
            connection.execute(f"UPDATE {table} SET {column} = {value} WHERE rowid = 3")
        connection.commit()
        connection.close()
        exercise(path, path.parent, clock)
        known = {"it.engram", "it.engram.lock", "it.engram-wal", "it.engram-shm", "it.index", "out"}
        assert {place.name for place in path.parent.iterdir()} <= known
        assert {place.name for place in path.parent.joinpath("out").glob("*")} <= {"deep"}
