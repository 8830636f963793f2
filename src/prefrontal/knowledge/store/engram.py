"""An engram opened for reading: one version of it, however long the reader lives."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np

from prefrontal.clock import Chance, Clock
from prefrontal.errors import Conflict, InvalidRequest, InvariantBroken, NotFound, StoreError
from prefrontal.knowledge.encode import Encoded
from prefrontal.knowledge.shape import FORMAT, TOKENIZER, Constants, Shape
from prefrontal.knowledge.store import nodes, schema
from prefrontal.knowledge.store.rows import (
    CHUNK_COLUMNS,
    FILE_COLUMNS,
    PART_BYTES,
    ChunkRow,
    FileRow,
    chunk_row,
    expect,
    file_row,
    path_out,
    unpack,
    whole,
)
from prefrontal.knowledge.tokens import stemmer_mark

MANY = 500
"""Rows asked for in one statement."""


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What an engram says about itself. `uid` names it for life; `stemmer` marks the stemmer its vectors were made with."""

    uid: str
    format: int
    tokenizer: int
    stemmer: str
    created_s: float
    shape: Shape
    constants: Constants


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A committed state. `run` is the first version of the same run: an ingest commits several."""

    number: int
    at_s: float
    kind: str
    run: int
    added: int
    changed: int
    removed: int


def create(
    path: Path, *, clock: Clock, shape: Shape | None = None, constants: Constants | None = None, chance: Chance | None = None
) -> None:
    """Make an empty engram.

    Raises Conflict when `path` exists, InvalidRequest for a bad shape, StoreError when it cannot be written.
    """
    if path.exists():
        raise Conflict(f"{path} exists already.")
    now_s = clock.now()
    meta = Meta(
        uid=(chance or Chance()).identifier("eng-", now_s),
        format=FORMAT,
        tokenizer=TOKENIZER,
        stemmer=stemmer_mark(),
        created_s=now_s,
        shape=(shape or Shape()).checked(),
        constants=constants or Constants(),
    )
    schema.create(path, {"engram": msgspec.json.encode(meta).decode()})


class Engram:
    """A reader. It sees the version that was current when it was opened or last refreshed; close it, or use `with`.

    Opening raises NotFound, and StoreError for a foreign, damaged or newer file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = schema.connect(path)
        try:
            self.meta = read_meta(self.connection, path)
            self.refresh()
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> Engram:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give up the snapshot and the file."""
        self.connection.close()

    def refresh(self) -> int:
        """Move to the newest version and return its number; 0 for an engram that nothing was ever put into."""
        with reading(self.path):
            if self.connection.in_transaction:
                self.connection.execute("COMMIT")
            self.connection.execute("BEGIN")
            self.version = current(self.connection)
        return self.version

    def files(self, *, version: int | None = None) -> Iterator[FileRow]:
        """Yield the files of a version (by default the one seen), sorted by path."""
        at = self.version if version is None else version
        sql = f"SELECT {FILE_COLUMNS} FROM file WHERE born <= ? AND (died IS NULL OR died > ?) ORDER BY path"  # noqa: S608 - columns
        with reading(self.path):
            yield from (file_row(row) for row in self.connection.execute(sql, (at, at)))

    def every_file(self) -> Iterator[FileRow]:
        """Yield all versions of all files, also those that are gone, in the order in which they came."""
        with reading(self.path):
            rows = self.connection.execute(f"SELECT {FILE_COLUMNS} FROM file ORDER BY id")  # noqa: S608 - columns
            yield from (file_row(row) for row in rows)

    def floor(self) -> int:
        """Return the oldest version that can still be read; 0 when nothing was ever cleared up."""
        with reading(self.path):
            row = self.connection.execute("SELECT value FROM meta WHERE key = 'floor'").fetchone()
        if row and not row[0].isdecimal():
            raise StoreError(f"The engram {self.path} is damaged: its oldest version is not a number.")
        return int(row[0]) if row else 0

    def file(self, path: str, *, version: int | None = None) -> FileRow:
        """Return a file. Raises NotFound when that version has none of that path."""
        at = self.version if version is None else version
        sql = f"SELECT {FILE_COLUMNS} FROM file WHERE path = ? AND born <= ? AND (died IS NULL OR died > ?)"  # noqa: S608 - columns
        with reading(self.path):
            row = self.connection.execute(sql, (path_out(path), at, at)).fetchone()
        if row is None:
            raise NotFound(f"Version {at} of {self.path.name} has no file {path!r}.")
        return file_row(row)

    def files_by_id(self, numbers: Iterable[int]) -> dict[int, FileRow]:
        """Return file versions by their numbers; unknown numbers are left out."""
        return {row[0]: file_row(row) for row in self._by_id(FILE_COLUMNS, "file", numbers)}

    def chunks(self, file: int) -> list[ChunkRow]:
        """Return the passages of a file version, in order."""
        sql = f"SELECT {CHUNK_COLUMNS} FROM chunk WHERE file = ? ORDER BY ordinal"  # noqa: S608 - columns
        with reading(self.path):
            return [chunk_row(row) for row in self.connection.execute(sql, (file,))]

    def chunks_by_id(self, numbers: Iterable[int]) -> dict[int, ChunkRow]:
        """Return passages by their numbers; unknown numbers are left out."""
        return {row[0]: chunk_row(row) for row in self._by_id(CHUNK_COLUMNS, "chunk", numbers)}

    def encoded(self, file: int) -> list[Encoded]:
        """Return vectors and statistics of a file's passages, in order."""
        sql = "SELECT v.* FROM vec v JOIN chunk c ON c.id = v.chunk WHERE c.file = ? ORDER BY c.ordinal"
        with reading(self.path):
            return [unpack_vec(row[1:], wide=self.meta.shape.wide) for row in self.connection.execute(sql, (file,))]

    def vectors(self, chunks: Iterable[int]) -> dict[int, Encoded]:
        """Return vectors and statistics of passages by their numbers."""
        return {row[0]: unpack_vec(row[1:], wide=self.meta.shape.wide) for row in self._by_id("*", "vec", chunks, key="chunk")}

    def content(self, file: FileRow, start: int = 0, end: int | None = None) -> bytes:
        """Return a file's bytes, or a range of them, each stored part checked against its hash. Raises StoreError on damage."""
        stop = file.stat.size if end is None else min(end, file.stat.size)
        if start >= stop:
            return b""
        first, last = start // PART_BYTES, (stop - 1) // PART_BYTES
        sql = (
            "SELECT b.sha256, b.size, b.codec, b.data FROM part p JOIN blob b ON b.id = p.blob "
            "WHERE p.file = ? AND p.ordinal BETWEEN ? AND ? ORDER BY p.ordinal"
        )
        with reading(self.path):
            rows = self.connection.execute(sql, (file.id, first, last)).fetchall()
        if len(rows) != last - first + 1:
            raise StoreError(f"{self.path.name} is damaged: parts of {file.path!r} are missing.")
        data = b"".join(unpack(*row) for row in rows)
        return data[start - first * PART_BYTES : stop - first * PART_BYTES]

    def text(self, file: FileRow, chunk: ChunkRow) -> str:
        """Return a passage as text."""
        return file.decode(self.content(file, chunk.byte_start, chunk.byte_end))

    def node(self, path: str = "") -> nodes.Node | None:
        """Return the accumulator of a directory at the version seen; None when nothing lies below it."""
        with reading(self.path):
            return nodes.load(self.connection, path, self.meta.shape.dim)

    def nodes(self) -> list[nodes.Node]:
        """Return all accumulators, sorted by path."""
        with reading(self.path):
            return nodes.every(self.connection, self.meta.shape.dim)

    def versions(self) -> list[Version]:
        """Return all committed versions up to the one seen, the oldest first."""
        with reading(self.path):
            rows = self.connection.execute("SELECT number, at, kind, run, added, changed, removed FROM version ORDER BY number")
            try:
                return [msgspec.convert(dict(zip(Version.__struct_fields__, row, strict=True)), Version) for row in rows]
            except msgspec.ValidationError as error:
                raise StoreError(f"The engram {self.path} is damaged: a version is malformed: {error}.") from error

    def _by_id(self, columns: str, table: str, numbers: Iterable[int], *, key: str = "id") -> Iterator[tuple[Any, ...]]:
        wanted = list(dict.fromkeys(int(number) for number in numbers))
        for at in range(0, len(wanted), MANY):
            some = wanted[at : at + MANY]
            marks = ",".join("?" * len(some))
            sql = f"SELECT {columns} FROM {table} WHERE {key} IN ({marks})"  # noqa: S608 - names of ours and question marks
            with reading(self.path):
                yield from self.connection.execute(sql, some)


class reading:  # noqa: N801 - reads like a statement
    """Turns the database's errors into StoreError, naming the engram."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(value, sqlite3.Error):
            raise StoreError(f"The engram {self._path} cannot be read: {value}.") from value


def read_meta(connection: sqlite3.Connection, path: Path) -> Meta:
    """Return the engram's description. Raises StoreError when it is missing or unreadable."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'engram'").fetchone()
        if row is None:
            raise StoreError(f"The engram {path} is damaged: it does not say what it is.")
        meta = msgspec.json.decode(row[0], type=Meta)
        meta.shape.checked()
        meta.constants.checked()
    except (sqlite3.Error, msgspec.MsgspecError, InvalidRequest, TypeError) as error:
        raise StoreError(f"The engram {path} is damaged: {error}.") from error
    if meta.tokenizer != TOKENIZER or meta.stemmer != stemmer_mark():
        raise StoreError(
            f"The engram {path} was made with another tokenizer; its vectors do not match new queries.",
            hint="Extract its files and ingest them again.",
        )
    return meta


def current(connection: sqlite3.Connection) -> int:
    """Return the newest version number."""
    (number,) = connection.execute("SELECT coalesce(max(number), 0) FROM version").fetchone()
    if not isinstance(number, int):
        raise InvariantBroken("A version is not a number.")
    return number


def pack_vec(one: Encoded) -> tuple[int, bytes, bytes, bytes, bytes, bytes]:
    """Return the columns of `vec` after the chunk's number, little-endian."""
    wide = one.indices.dtype.itemsize == 4
    return (
        one.length,
        one.indices.astype("<u4" if wide else "<u2", copy=False).tobytes(),
        one.values.tobytes(),
        one.terms.astype("<u4", copy=False).tobytes(),
        one.counts.tobytes(),
        one.flags.tobytes(),
    )


def unpack_vec(row: tuple[Any, ...], *, wide: bool) -> Encoded:
    """Return what `pack_vec` packed."""
    length, indices, values, terms, counts, flags = row
    whole("vector", length)
    expect("vector", bytes, indices, values, terms, counts, flags)
    if len(indices) != (4 if wide else 2) * len(values) or not len(terms) == 4 * len(counts) == 4 * len(flags):
        raise StoreError("The engram is damaged: the vector of a passage is malformed.")
    return Encoded(
        indices=np.frombuffer(indices, "<u4" if wide else "<u2"),
        values=np.frombuffer(values, np.int8),
        terms=np.frombuffer(terms, "<u4"),
        counts=np.frombuffer(counts, np.uint8),
        flags=np.frombuffer(flags, np.uint8),
        length=length,
    )
