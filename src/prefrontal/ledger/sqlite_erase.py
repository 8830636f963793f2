"""Deleting records from SQLite so that their words are gone from the files, and not only from the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from prefrontal.ledger.store import Subject


def owned_by(subject: Subject) -> tuple[str, tuple[str, ...]]:
    """Return the query for the ids of a subject's records, newest first, and its values.

    A pseudonym is 128 bits of a keyed hash: a body that holds it anywhere is its owner's.
    """
    if subject.user is not None:
        return "SELECT id FROM bodies WHERE instr(body, CAST(? AS BLOB)) > 0 ORDER BY id DESC", (subject.user,)
    if subject.record_id is not None:
        return "SELECT id FROM records WHERE id = ?", (subject.record_id,)
    return "SELECT id FROM records WHERE key_id = ? ORDER BY id DESC", (subject.key_id or "",)


def erase_records(opener: Callable[[], sqlite3.Connection], ids: Sequence[str]) -> int:
    """Delete records in one transaction and overwrite what they held; return how many there were. Raises sqlite3.Error."""
    db = opener()
    try:
        db.execute("PRAGMA secure_delete = ON")
        db.execute("BEGIN IMMEDIATE")
        try:
            values = [(record_id,) for record_id in ids]
            gone = db.executemany("DELETE FROM records WHERE id = ?", values).rowcount
            db.executemany("DELETE FROM bodies WHERE id = ?", values)
            db.executemany("DELETE FROM outcomes WHERE record_id = ?", values)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # the log of changes still has the old pages
    finally:
        db.close()
    return max(0, gone)
