"""Changing an engram: one transaction makes one version, whole or not at all."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from prefrontal.clock import Clock
from prefrontal.errors import StoreError
from prefrontal.knowledge.encode import Encoded
from prefrontal.knowledge.store import schema
from prefrontal.knowledge.store.engram import Meta, current, pack_vec, read_meta, unpack_vec
from prefrontal.knowledge.store.lock import WriterLock
from prefrontal.knowledge.store.nodes import Deltas
from prefrontal.knowledge.store.rows import FILE_COLUMNS, FileRow, Prepared, Stat, file_row, path_in, path_out


class Writer:
    """The one writer of an engram, for as long as the `with` block lasts.

    `put` and `remove` gather changes; `commit` makes them a version. What is not committed when the block ends, or when the
    process is killed, is gone: the engram is then what it was at the last version. Raises Conflict when there is a writer
    already, NotFound and StoreError as opening does, and StoreError when the disk is full.
    """

    def __init__(self, path: Path, *, clock: Clock, kind: str = "ingest") -> None:
        self.path = path
        self._clock = clock
        self._kind = kind
        self._lock = WriterLock(path)
        self._run: int | None = None
        self.meta: Meta

    def __enter__(self) -> Writer:
        self._lock.__enter__()
        try:
            self._connection = schema.connect(self.path, write=True)
            try:
                self.meta = read_meta(self._connection, self.path)
                self._begin()
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._connection.close()  # rolls back what is open
        finally:
            self._lock.__exit__(kind, value, trace)
        if isinstance(value, sqlite3.Error):
            raise self._failed(value) from value

    def stamps(self, origin: str) -> dict[str, tuple[int, int, int]]:
        """Return size, time stamp and inode of the living files of a source, by path."""
        sql = "SELECT path, size, mtime_ns, inode FROM file WHERE died IS NULL AND origin = ?"
        return {path_in(path): (size, mtime, inode) for path, size, mtime, inode in self._connection.execute(sql, (origin,))}

    def find(self, path: str) -> FileRow | None:
        """Return the living file of that path, or None."""
        sql = f"SELECT {FILE_COLUMNS} FROM file WHERE path = ? AND died IS NULL"  # noqa: S608 - columns
        row = self._connection.execute(sql, (path_out(path),)).fetchone()
        return file_row(row) if row else None

    def put(self, prepared: Prepared) -> bool:
        """Add a file, or replace the one of the same path. Returns False, changing nothing, when it is there with these bytes."""
        known = self.find(prepared.path)
        same = known is not None and known.sha256 == prepared.sha256
        if known and same and _labels(known) == _labels(prepared):
            if known.stat != prepared.stat:
                self.touch(known, prepared.stat)
            return False
        if known:
            self._end(known)
            self._changed += 1
        else:
            self._added += 1
        self._insert(prepared)
        return True

    def remove(self, path: str) -> bool:
        """Take a file out of the coming version; False when there is none."""
        known = self.find(path)
        if known is None:
            return False
        self._end(known)
        self._removed += 1
        return True

    def touch(self, file: FileRow, stat: Stat) -> None:
        """Note that a file's time stamp or inode changed and its bytes did not. This alone makes no version."""
        self._connection.execute("UPDATE file SET mtime_ns = ?, inode = ? WHERE id = ?", (stat.mtime_ns, stat.inode, file.id))

    @property
    def pending(self) -> int:
        """Files added, changed and removed since the last commit."""
        return self._added + self._changed + self._removed

    def commit(self) -> int:
        """Make the changes a version and return its number; without changes, return the current one."""
        try:
            number = self._number
            if self.pending:
                self._run = self._run or number
                self._deltas.write(self._connection)
                row = (number, self._clock.now(), self._kind, self._run, self._added, self._changed, self._removed)
                self._connection.execute("INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            else:
                number -= 1
            self._connection.execute("COMMIT")
            self._begin()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return number

    def execute(self, sql: str, values: Iterable[object] = ()) -> sqlite3.Cursor:
        """Run a statement in the transaction (for clearing up, which makes no version)."""
        return self._connection.execute(sql, tuple(values))

    def shrink(self) -> None:
        """Give freed space back to the disk; where readers are in the way, the space is used again later. Commit before."""
        self._connection.execute("COMMIT")
        self._connection.execute("PRAGMA busy_timeout = 100")
        with contextlib.suppress(sqlite3.OperationalError):
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.execute(f"PRAGMA busy_timeout = {schema.BUSY_MS}")
        self._begin()

    def _begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._number = current(self._connection) + 1
        self._deltas = Deltas(self.meta.shape.dim)
        self._added = self._changed = self._removed = 0

    def _end(self, file: FileRow) -> None:
        self._deltas.note(file.path, self._vectors(file), -1)
        if file.born == self._number:  # came in this very transaction: no version ever had it
            self._erase(file.id)
        else:
            self._connection.execute("UPDATE file SET died = ? WHERE id = ?", (self._number, file.id))

    def _erase(self, file: int) -> None:
        run = self._connection.execute
        run("DELETE FROM vec WHERE chunk IN (SELECT id FROM chunk WHERE file = ?)", (file,))
        run("DELETE FROM chunk WHERE file = ?", (file,))
        run("DELETE FROM part WHERE file = ?", (file,))
        run("DELETE FROM file WHERE id = ?", (file,))

    def _vectors(self, file: FileRow) -> list[Encoded]:
        sql = "SELECT v.* FROM vec v JOIN chunk c ON c.id = v.chunk WHERE c.file = ?"
        return [unpack_vec(row[1:], wide=self.meta.shape.wide) for row in self._connection.execute(sql, (file.id,))]

    def _insert(self, prepared: Prepared) -> None:
        run, stat = self._connection.execute, prepared.stat
        file = run(
            "INSERT INTO file (path, source, origin, born, size, mtime_ns, inode, sha256, type, encoding, title, tags, chunks) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                path_out(prepared.path),
                prepared.source,
                prepared.origin,
                self._number,
                stat.size,
                stat.mtime_ns,
                stat.inode,
                prepared.sha256,
                prepared.type,
                prepared.encoding,
                prepared.title,
                "\n".join(prepared.tags),
                len(prepared.chunks),
            ),
        ).lastrowid
        for ordinal, part in enumerate(prepared.parts):
            run(
                "INSERT OR IGNORE INTO blob (sha256, size, codec, data) VALUES (?, ?, ?, ?)",
                (part.sha256, part.size, part.codec, part.data),
            )
            run("INSERT INTO part SELECT ?, ?, id FROM blob WHERE sha256 = ?", (file, ordinal, part.sha256))
        if prepared.chunks:
            self._insert_chunks(file, prepared)
        self._deltas.note(prepared.path, prepared.encoded, 1)

    def _insert_chunks(self, file: int | None, prepared: Prepared) -> None:
        run = self._connection
        # Numbers are never used again, not even those of passages cleared up: the index goes by them.
        (last,) = run.execute("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'chunk'), 0)").fetchone()
        run.executemany(
            "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    last + 1 + n,
                    file,
                    n,
                    c.byte_start,
                    c.byte_end,
                    c.line_start,
                    c.line_end,
                    c.symbol,
                    c.heading,
                    prepared.kind,
                    digest,
                )
                for n, (c, digest) in enumerate(zip(prepared.chunks, prepared.digests, strict=True))
            ],
        )
        run.executemany(
            "INSERT INTO vec VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(last + 1 + n, *pack_vec(one)) for n, one in enumerate(prepared.encoded)],
        )

    def _failed(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"The engram {self.path} cannot be written: {error}. It remains at its last version.")


def _labels(file: FileRow | Prepared) -> tuple[object, ...]:
    return (file.title, file.tags, file.source, file.origin, file.type)
