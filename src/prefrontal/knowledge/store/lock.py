"""One writer at a time: a lock of the operating system beside the engram, which a killed process cannot leave behind."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from prefrontal.errors import Conflict, StoreError


class WriterLock:
    """Held for as long as a writer is open. Raises Conflict when another one, in this or another process, holds it."""

    def __init__(self, engram: Path) -> None:
        self._engram = engram
        self._file: int | None = None

    def __enter__(self) -> WriterLock:
        path = self._engram.with_name(self._engram.name + ".lock")
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(f"The engram {self._engram} cannot be written: {error}.") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise Conflict(
                f"The engram {self._engram} is being written by another process.", hint="Try again when it is done."
            ) from error
        self._file = file
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
