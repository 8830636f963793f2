"""Log lines on stderr, for people or for machines, with secrets taken out."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from logging.handlers import MemoryHandler
from typing import TextIO

import msgspec

from prefrontal.config.redact import Redactor

EARLY_LINES = 1000
"""Lines kept until it is known how to write them (assumed: starting writes a handful)."""


class TextLines(logging.Formatter):
    """One line a record: time of this machine's zone, level, logger, message; a stack trace below it where there is one."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return self._redactor.text(super().format(record))


class JsonLines(logging.Formatter):
    """One JSON object a record: time (UTC, ISO 8601), level, logger, message, and `exception` where there is one."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        shown = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redactor.text(record.getMessage()),
        }
        if record.exc_info:
            shown["exception"] = self._redactor.text(self.formatException(record.exc_info))
        return msgspec.json.encode(shown).decode()


class Logs:
    """The process's log. Before `configure`, lines are kept; then they are written as it says, and all later ones at once."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._early: MemoryHandler | None = MemoryHandler(EARLY_LINES, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        self._handler: logging.Handler = self._early
        root = logging.getLogger()
        root.addHandler(self._early)
        own = logging.getLogger("prefrontal")
        self._before = (root.level, own.level)
        own.setLevel(logging.INFO)

    def configure(self, *, level: str, form: str, redactor: Redactor) -> None:
        """Write from now on lines of at least `level`, as ``text`` or ``json``. May be called again."""
        handler = logging.StreamHandler(self._stream)
        handler.setFormatter(JsonLines(redactor) if form == "json" else TextLines(redactor))
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.addHandler(handler)
        own = logging.getLogger("prefrontal")
        own.setLevel(level.upper())
        root.setLevel(max(own.level, logging.WARNING))  # what libraries tell each other helps nobody here
        early, self._early, self._handler = self._early, None, handler
        if early is not None:
            for record in early.buffer:
                if logging.getLogger(record.name).isEnabledFor(record.levelno):
                    handler.handle(record)
            early.close()

    def close(self) -> None:
        """Write what is still kept, and let go of the process's logging."""
        if self._early is not None:
            self.configure(level="warning", form="text", redactor=Redactor())
        root, own = logging.getLogger(), logging.getLogger("prefrontal")
        root.removeHandler(self._handler)
        root.setLevel(self._before[0])
        own.setLevel(self._before[1])
