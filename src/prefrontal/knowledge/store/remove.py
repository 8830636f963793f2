"""Removing an engram: its file, what SQLite keeps beside it, and its index."""

from __future__ import annotations

import shutil
from pathlib import Path

from prefrontal.errors import StoreError
from prefrontal.knowledge.store.lock import WriterLock


def remove_engram(path: Path) -> None:
    """Remove an engram; who has it open reads it to the end. The lock's file stays, so that no two writers hold different ones.

    Raises Conflict while it is being written, StoreError when it cannot be removed.
    """
    with WriterLock(path):
        try:
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(name).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"The engram {path} cannot be removed: {error}.") from error
        shutil.rmtree(path.with_suffix(".index"), ignore_errors=True)
