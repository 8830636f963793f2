"""The tables of an engram, and opening the file: what is not an engram, or is a newer or damaged one, is refused in words."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from prefrontal.errors import NotFound, StoreError
from prefrontal.knowledge.shape import FORMAT

APPLICATION_ID = 0x50464B45
"""SQLite's application id of engrams ("PFKE"), by which a foreign database is told apart."""

BUSY_MS = 10_000
"""How long a statement waits for another process that is just committing (assumed)."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE version (
  number INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, run INTEGER NOT NULL,
  added INTEGER NOT NULL, changed INTEGER NOT NULL, removed INTEGER NOT NULL
);
CREATE TABLE blob (
  id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, codec INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE TABLE file (
  id INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB NOT NULL, source TEXT NOT NULL, origin TEXT NOT NULL,
  born INTEGER NOT NULL, died INTEGER,
  size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, sha256 BLOB NOT NULL,
  type TEXT NOT NULL, encoding TEXT NOT NULL, title TEXT NOT NULL, tags TEXT NOT NULL, chunks INTEGER NOT NULL
);
CREATE UNIQUE INDEX file_live ON file (path) WHERE died IS NULL;
CREATE INDEX file_path ON file (path, born);
CREATE INDEX file_born ON file (born);
CREATE INDEX file_died ON file (died) WHERE died IS NOT NULL;
CREATE TABLE part (
  file INTEGER NOT NULL, ordinal INTEGER NOT NULL, blob INTEGER NOT NULL, PRIMARY KEY (file, ordinal)
) WITHOUT ROWID;
CREATE INDEX part_blob ON part (blob);
CREATE TABLE chunk (
  id INTEGER PRIMARY KEY AUTOINCREMENT, file INTEGER NOT NULL, ordinal INTEGER NOT NULL,
  byte_start INTEGER NOT NULL, byte_end INTEGER NOT NULL, line_start INTEGER NOT NULL, line_end INTEGER NOT NULL,
  symbol TEXT NOT NULL, heading TEXT NOT NULL, kind TEXT NOT NULL, sha256 BLOB NOT NULL
);
CREATE INDEX chunk_file ON chunk (file, ordinal);
CREATE TABLE vec (
  chunk INTEGER PRIMARY KEY, length INTEGER NOT NULL, indices BLOB NOT NULL, vals BLOB NOT NULL,
  terms BLOB NOT NULL, counts BLOB NOT NULL, flags BLOB NOT NULL
);
CREATE TABLE node (
  path BLOB PRIMARY KEY, chunks INTEGER NOT NULL, length INTEGER NOT NULL, layout TEXT NOT NULL, data BLOB NOT NULL
);
"""


def connect(path: Path, *, write: bool = False) -> sqlite3.Connection:
    """Open an engram that exists.

    Raises NotFound when there is none, and StoreError when the file is no engram, is damaged, or is of a newer format.
    """
    if not path.is_file():
        raise NotFound(f"There is no engram at {path}.", hint="Create it with `prefrontal knowledge ingest`.")
    try:
        connection = _opened(path, write=write)
    except sqlite3.Error as error:
        raise StoreError(f"The engram {path} cannot be opened: {error}.") from error
    try:
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def create(path: Path, meta: dict[str, str]) -> None:
    """Make an empty engram at `path`, which must not exist. Raises StoreError when that fails, leaving nothing behind."""
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        connection = sqlite3.connect(fresh, isolation_level=None)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript("BEGIN;" + TABLES)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", sorted(meta.items()))
            connection.execute("COMMIT")
        finally:
            connection.close()
        fresh.rename(path)
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise StoreError(f"The engram {path} cannot be created: {error}.") from error


def _opened(path: Path, *, write: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA mmap_size = 268435456")
    connection.execute("PRAGMA trusted_schema = OFF")
    if not write:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        extra = connection.execute("SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreError(f"{path} is not an engram, or is damaged: {error}.", hint="Ingest again, or restore a copy.") from error
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is a database, but not an engram.")
    if found > FORMAT:
        raise StoreError(f"The engram {path} has format {found}; this version reads up to {FORMAT}.", hint="Upgrade prefrontal.")
    if extra:
        raise StoreError(f"The engram {path} holds triggers or views, which no engram has; it is refused.")
