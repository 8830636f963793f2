"""Log lines on stderr, for people or for machines, with secrets taken out."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from logging.handlers import MemoryHandler
from typing import Any, TextIO

import msgspec

from prefrontal.config.redact import Redactor

EARLY_LINES = 1000
"""Lines kept until it is known how to write them (assumed: starting writes a handful)."""

LIKE_EACH_OTHER = 20
WINDOW_S = 60.0
KINDS = 1000
"""Warnings and errors of one kind in a window, its length, and how many kinds are remembered (assumed)."""


class TextLines(logging.Formatter):
    """One line a record: time of this machine's zone, level, logger, message; a stack trace below it where there is one."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return self._redactor.text(super().format(record) + left_out(record))


class JsonLines(logging.Formatter):
    """One JSON object a record: time (UTC, ISO 8601), level, logger, message, and `exception` where there is one.

    Then what a line says in fields of its own (``extra={"fields": …}``; names that are taken already are passed over).
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        shown: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redactor.text(record.getMessage() + left_out(record)),
        }
        fields = getattr(record, "fields", None)
        if fields:
            shown = {**self._redactor.value(fields), **shown}
        if record.exc_info:
            shown["exception"] = self._redactor.text(self.formatException(record.exc_info))
        return msgspec.json.encode(shown, enc_hook=str).decode()


class Limiter(logging.Filter):
    """Lets at most `LIKE_EACH_OTHER` warnings or errors of one kind through in `WINDOW_S`: a failing upstream fills no disk.

    The last one says that more are left out, and the first one after the window how many were. Bounded: `KINDS` kinds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written; what is to be said of others is put into it as ``left_out``."""
        if record.levelno < logging.WARNING:
            return True
        kind = (record.name, record.levelno, str(record.msg))
        began, count = self._windows.get(kind, (record.created, 0))
        if record.created - began >= WINDOW_S:
            missed = max(0, count - LIKE_EACH_OTHER)
            record.left_out = f" ({missed} lines like this were left out)" if missed else ""
            began, count = record.created, 0
        elif count + 1 == LIKE_EACH_OTHER:
            record.left_out = f" (more lines like this are left out for {WINDOW_S - (record.created - began):.0f} s)"
        if len(self._windows) >= KINDS and kind not in self._windows:
            self._windows.clear()
        self._windows[kind] = (began, count + 1)
        return count < LIKE_EACH_OTHER


def left_out(record: logging.LogRecord) -> str:
    """Return what a line says of those that were not written."""
    return str(getattr(record, "left_out", ""))


class Logs:
    """The process's log. Before `configure`, lines are kept; then they are written as it says, and all later ones at once."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._limiter = Limiter()
        self._early: MemoryHandler | None = MemoryHandler(EARLY_LINES, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        self._handler: logging.Handler = self._early
        root = logging.getLogger()
        root.addHandler(self._early)
        own = logging.getLogger("prefrontal")
        self._before = (root.level, own.level)
        own.setLevel(logging.INFO)

    def write(self, text: str) -> None:
        """Write finished lines, past the levels and the limiter."""
        self._stream.write(text)
        self._stream.flush()

    def configure(self, *, level: str, form: str, redactor: Redactor) -> None:
        """Write from now on lines of at least `level`, as ``text`` or ``json``. May be called again."""
        handler = logging.StreamHandler(self._stream)
        handler.addFilter(self._limiter)
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
