"""Thirty questions, the lines that answer each, and the engrams they are asked of."""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import yaml

from prefrontal.clock import Clock
from prefrontal.knowledge.ingest.run import Report, ingest
from prefrontal.knowledge.ingest.walk import Source
from prefrontal.knowledge.store.engram import create

QUESTIONS = Path(__file__).parent / "asked" / "questions.yaml"
LIBRARY = Path(sysconfig.get_path("stdlib"))
REPOSITORY = Path(__file__).parents[2]
HEADING = re.compile(r"^(#+)\s+(.*?)\s*$")


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A question with the file and lines (both ends included) that answer it."""

    ask: str
    path: str
    first: int
    last: int


class Placed(Protocol):
    """What of a hit is looked at."""

    @property
    def path(self) -> str: ...
    @property
    def line_start(self) -> int: ...
    @property
    def line_end(self) -> int: ...


def standard_library() -> list[Span]:
    """Return the questions about the running interpreter's library."""
    return [_of_module(one) for one in yaml.safe_load(QUESTIONS.read_text("utf-8"))["standard_library"]]


def repository() -> list[Span]:
    """Return the questions about this repository."""
    return [_of_file(one) for one in yaml.safe_load(QUESTIONS.read_text("utf-8"))["repository"]]


def place(hits: Sequence[Placed], span: Span) -> int | None:
    """Return the place (from 1) of the first hit with at least half of its lines, or half of the answer's, in the answer."""
    for n, hit in enumerate(hits, 1):
        common = min(hit.line_end, span.last) - max(hit.line_start, span.first) + 1
        if hit.path == span.path and 2 * common >= min(hit.line_end - hit.line_start, span.last - span.first) + 1:
            return n
    return None


def ingest_library(engram: Path, clock: Clock, *, tests: bool = False, workers: int = 0) -> Report:
    """Take in the library's source; `tests`: with its own tests, where the interpreter has them."""
    create(engram, clock=clock)
    exclude = ("site-packages/**", "dist-packages/**", *(() if tests else ("test/**", "**/test/**", "**/tests/**")))
    source = Source(root=str(LIBRARY), include=("**/*.py",), exclude=exclude, gitignore=False)
    return ingest(engram, [source], clock=clock, workers=workers)


def ingest_repository(engram: Path, clock: Clock, *, workers: int = 0) -> Report:
    """Take in this repository's source and documentation."""
    create(engram, clock=clock)
    sources = [Source(root=str(REPOSITORY / name), prefix=name) for name in ("src", "docs")]
    return ingest(engram, sources, clock=clock, workers=workers)


def _of_module(one: dict[str, str]) -> Span:
    stem = one["module"].replace(".", "/")
    path = next(path for path in (f"{stem}.py", f"{stem}/__init__.py") if (LIBRARY / path).is_file())
    first, last = _definition((LIBRARY / path).read_bytes(), one["symbol"])
    return Span(ask=one["ask"], path=path, first=first, last=last)


def _of_file(one: dict[str, str]) -> Span:
    data = (REPOSITORY / one["file"]).read_bytes()
    first, last = _definition(data, one["symbol"]) if "symbol" in one else _section(data.decode(), one["heading"])
    return Span(ask=one["ask"], path=one["file"], first=first, last=last)


def _definition(data: bytes, symbol: str) -> tuple[int, int]:
    node: ast.AST = ast.parse(data)
    for name in symbol.split("."):
        node = next(
            child
            for child in ast.walk(node)
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and child.name == name
        )
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return min([node.lineno, *(mark.lineno for mark in node.decorator_list)]), node.end_lineno or node.lineno


def _section(text: str, heading: str) -> tuple[int, int]:
    first = level = 0
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        found = HEADING.match(line)
        if found and first and len(found.group(1)) <= level:
            return first, number - 1
        if found and not first and found.group(2) == heading:
            first, level = number, len(found.group(1))
    assert first, f"there is no section {heading!r}"
    return first, len(lines)
