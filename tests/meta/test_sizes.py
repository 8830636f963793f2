"""Files and functions stay small enough to read; exceptions have a reason, and their lists may only shrink."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "prefrontal"
MAX_FILE = 400
MAX_FUNCTION = 50

LONG_FILES: dict[str, tuple[int, str]] = {}
"""File → (lines, why it is not split)."""

LONG_FUNCTIONS: dict[str, tuple[int, str]] = {
    "app/build.py:build": (70, "the composition root in the order of construction: splitting it would hide who needs whom"),
}
"""Function → (lines, why it is not split)."""


def files() -> Iterator[tuple[str, str]]:
    """Yield the path below the package and the text of each source file."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), path.read_text()


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    """A file has at most 400 lines, or stands in the list with its length."""
    long = {name: text.count("\n") for name, text in files() if text.count("\n") > MAX_FILE}
    assert {name: lines for name, lines in long.items() if lines > LONG_FILES.get(name, (MAX_FILE, ""))[0]} == {}
    assert set(LONG_FILES) <= set(long), "take files out of the list that are short enough now"


def test_no_function_is_longer_than_a_screen() -> None:
    """A function has at most 50 lines, or stands in the list with its length."""
    long = {}
    for name, text in files():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > MAX_FUNCTION:
                    long[f"{name}:{node.name}"] = lines
    assert {name: lines for name, lines in long.items() if lines > LONG_FUNCTIONS.get(name, (MAX_FUNCTION, ""))[0]} == {}
    assert set(LONG_FUNCTIONS) <= set(long), "take functions out of the list that are short enough now"


def test_every_exception_has_a_reason() -> None:
    """Each entry of the lists says why."""
    assert all(reason for _, reason in [*LONG_FILES.values(), *LONG_FUNCTIONS.values()])
