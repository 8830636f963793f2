"""Many rows in one statement: each statement lets go of the interpreter and has to wait until it gets it back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

from prefrontal.ledger.rows import Row

SIZES = (64, 8, 1)
"""Rows of one statement (assumed: few enough statements to be prepared once each; far below SQLite's 32,766 values)."""


class Bulk:
    """An INSERT of one row, ``… VALUES (?,…)``, made fit for many."""

    def __init__(self, statement: str) -> None:
        head, _, values = statement.partition("VALUES ")
        self._statements = tuple([(size, f"{head}VALUES {','.join([values] * size)}") for size in SIZES])

    def insert(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        """Insert the rows in their order. Raises sqlite3.Error."""
        at = 0
        for size, statement in self._statements:
            while len(rows) - at >= size:
                connection.execute(statement, tuple(chain.from_iterable(rows[at : at + size])))
                at += size
