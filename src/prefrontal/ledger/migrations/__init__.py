"""The history of the ledger's tables, for both databases; `versions` is a folder of Alembic revisions.

On SQLite a revision runs the statements of `ledger.schema`, which `serve` runs without Alembic; so both make the same tables.
"""

HEAD = 4
"""The newest revision, so that a start that finds nothing to do need not load Alembic."""


def name_of(number: int) -> str | None:
    """Return the revision of a number; None is the empty database."""
    return f"{number:04}" if number else None
