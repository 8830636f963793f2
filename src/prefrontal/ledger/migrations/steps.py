"""What a revision does, said once for each database. Runs inside Alembic."""

from __future__ import annotations

from collections.abc import Sequence

from alembic import op

from prefrontal.ledger.schema import MIGRATIONS


def up(number: int, *, postgres: Sequence[str]) -> None:
    """Take the step to revision `number`; on SQLite that of the same number in `ledger.schema`."""
    _run(MIGRATIONS[number - 1] if _is_sqlite() else postgres)
    _count(number)


def down(number: int, *, postgres: Sequence[str], sqlite: Sequence[str]) -> None:
    """Take the step from revision `number` back to the one before. What only `number` knows is lost."""
    _run(sqlite if _is_sqlite() else postgres)
    _count(number - 1)


def _run(statements: Sequence[str]) -> None:
    for statement in statements:
        op.get_bind().exec_driver_sql(statement)


def _count(number: int) -> None:
    if _is_sqlite():
        op.get_bind().exec_driver_sql(f"PRAGMA user_version = {number}")


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
