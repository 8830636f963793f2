"""Phrases and prefixes through SQLite's FTS5: an engine of its own, with other code for everything, so it is a check as well."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from types import TracebackType

import numpy as np

from prefrontal.errors import InvalidRequest, StoreError
from prefrontal.knowledge.search.filters import Filter
from prefrontal.knowledge.search.searcher import Hit, Searcher, hit
from prefrontal.knowledge.store.engram import Engram

PARTS = re.compile(r'"([^"]*)"|(\S+)')
WORD = re.compile(r"\w+")
MOST_PARTS = 32
MOST_FOUND = 5_000
"""Matches that are looked at before filters (assumed: whoever filters harder wants another question)."""

TABLES = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS body USING fts5(text, content='', tokenize='porter unicode61 remove_diacritics 0');
"""

AGAIN = "DELETE FROM about; DROP TABLE body;"


class Phrases:
    """The full-text index of an engram, made when first used, as a file in the index folder or in memory. Close it after use."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._connection = _opened(searcher.engram)
        try:
            _catch_up(self._connection, searcher.engram)
        except sqlite3.DatabaseError:
            self._connection.close()
            self._connection = sqlite3.connect(":memory:", isolation_level=None)
            self._connection.executescript(TABLES)
            _catch_up(self._connection, searcher.engram)

    def __enter__(self) -> Phrases:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give up the file."""
        self._connection.close()

    def search(self, text: str, *, k: int = 10, where: Filter | None = None, anything: bool = False) -> list[Hit]:
        """Return the `k` best passages that hold every part of `text`: words, "phrases" in order, and prefixes like `pump*`.

        `anything`: one part is enough. The order is FTS5's own BM25. Raises InvalidRequest for more than 32 parts.
        """
        query = expression(text, anything=anything)
        if not query:
            return []
        sql = "SELECT rowid, -rank FROM body WHERE body MATCH ? ORDER BY rank, rowid LIMIT ?"
        try:
            found = self._connection.execute(sql, (query, MOST_FOUND)).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"The full-text index cannot be read: {error}.") from error
        living = self._living(where)
        chosen = [(number, score) for number, score in found if number in living][:k]
        engram = self._searcher.engram
        chunks = engram.chunks_by_id(number for number, _ in chosen)
        files = engram.files_by_id(chunk.file for chunk in chunks.values())
        return [
            hit(files[chunks[n].file], chunks[n], score, 0.0, (), engram.text(files[chunks[n].file], chunks[n]))
            for n, score in chosen
        ]

    def _living(self, where: Filter | None) -> set[int]:
        index = self._searcher.index
        masks = self._searcher.allowed(where) or [np.ones(segment.size, bool) for segment in index.segments]
        return {
            number
            for segment, alive, mask in zip(index.segments, index.alive, masks, strict=True)
            for number in segment.chunk[alive & mask].tolist()
        }


def expression(text: str, *, anything: bool = False) -> str:
    """Return FTS5's form of a question, with every word quoted, so that nothing in it is taken for an operator."""
    parts = []
    for phrase, word in PARTS.findall(text):
        words = WORD.findall(phrase or word)
        if words:
            quoted = '"' + " ".join(words) + '"'
            parts.append(quoted + " *" if word.endswith("*") else quoted)
    if len(parts) > MOST_PARTS:
        raise InvalidRequest(f"A phrase search takes up to {MOST_PARTS} parts, not {len(parts)}.", param="query")
    return (" OR " if anything else " AND ").join(parts)


def _opened(engram: Engram) -> sqlite3.Connection:
    folder: Path = engram.path.with_suffix(".index")
    for place in (folder / "phrases.db", None):
        try:
            connection = sqlite3.connect(place if place else ":memory:", isolation_level=None, timeout=30)
            connection.executescript(TABLES)
            known = connection.execute("SELECT value FROM about WHERE key = 'uid'").fetchone()
            if known is not None and known[0] != engram.meta.uid:
                connection.executescript(AGAIN + TABLES)
        except sqlite3.Error:
            continue
        return connection
    raise StoreError("The full-text index cannot be opened, not even in memory.")


def _catch_up(connection: sqlite3.Connection, engram: Engram) -> None:
    """Take in the passages that came since the last time; those that are gone are left out when results are chosen."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        row = connection.execute("SELECT value FROM about WHERE key = 'file'").fetchone()
        last = int(row[0]) if row else 0
        newest = last
        for file in engram.files():
            if file.id <= last:
                continue
            newest = max(newest, file.id)
            data = engram.content(file)
            texts = [(c.id, file.decode(data[c.byte_start : c.byte_end])) for c in engram.chunks(file.id)]
            connection.executemany("INSERT INTO body (rowid, text) VALUES (?, ?)", texts)
        connection.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", [("uid", engram.meta.uid), ("file", str(newest))])
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
