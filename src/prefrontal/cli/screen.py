"""Where a command writes: results on stdout, remarks on stderr; styles and wide tables only for people at a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import msgspec

DIM, BOLD, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"

_CONTROLS = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""Characters with which a text could move the cursor, recolour or retitle a terminal."""


class Screen:
    """The two streams of a process and what may be written to them.

    Styles appear only on a terminal, and not when `NO_COLOR` is set or `TERM` is ``dumb``. On a pipe everything is plain and
    nothing is cut to a width.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None, env: Mapping[str, str] | None = None) -> None:
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err
        environment = os.environ if env is None else env
        self.out_tty = self.out.isatty()
        self.err_tty = self.err.isatty()
        self._colour = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"

    def write(self, text: str, style: str = "") -> None:
        """Write a piece of an answer to stdout and flush it. On a terminal, control characters are left out."""
        if self.out_tty:
            text = text.translate(_CONTROLS)
            if style and self._colour and text:
                text = f"{style}{text}{PLAIN}"
        self.out.write(text)
        self.out.flush()

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line to stdout."""
        self.write(text, style)
        self.out.write("\n")

    def note(self, *lines: str, style: str = "") -> None:
        """Write remarks for people to stderr."""
        self.out.flush()
        for line in lines:
            text = line.translate(_CONTROLS) if self.err_tty else line
            if style and self.err_tty and self._colour:
                text = f"{style}{text}{PLAIN}"
            self.err.write(text + "\n")
        self.err.flush()

    def json(self, value: Any) -> None:
        """Write `value` as one indented JSON document."""
        self.out.write(msgspec.json.format(_encoded(value), indent=2).decode() + "\n")
        self.out.flush()

    def json_line(self, value: Any) -> None:
        """Write `value` as one line of JSON."""
        self.out.write(_encoded(value).decode() + "\n")
        self.out.flush()

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
        """Write a table; the columns named in `right` hold numbers. On a pipe: aligned text, never wrapped."""
        if self.out_tty:
            self._rich_table(headers, rows, right)
            return
        widths = [max(len(headers[i]), *[len(row[i]) for row in rows]) if rows else len(headers[i]) for i in range(len(headers))]
        for row in (headers, *rows):
            cells = [
                cell.rjust(width) if header in right else cell.ljust(width)
                for cell, width, header in zip(row, widths, headers, strict=True)
            ]
            self.line("  ".join(cells).rstrip())

    def pairs(self, rows: Sequence[tuple[str, str]]) -> None:
        """Write names and values in two columns; a value of several lines stays in its column."""
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            first, *more = value.split("\n")
            self.line(f"{name.ljust(width)}  {first}".rstrip())
            for text in more:
                self.line(f"{' ' * width}  {text}")

    def _rich_table(self, headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
        from rich.box import SIMPLE
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE, pad_edge=False)
        for header in headers:
            table.add_column(header, justify="right" if header in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*[Text(cell.translate(_CONTROLS)) for cell in row])
        # without a colour system bold is left out too
        Console(file=self.out, color_system="auto" if self._colour else None, highlight=False, markup=False).print(table)


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)
