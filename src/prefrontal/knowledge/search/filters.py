"""What a search may find: by path, type, time, symbol and tag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from prefrontal.knowledge.index.index import Index
from prefrontal.knowledge.match import Globs
from prefrontal.knowledge.store.engram import Engram, reading
from prefrontal.knowledge.store.rows import FileRow


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Conditions that all must hold; an empty one holds always.

    `paths`: globs, any of which matches the path (or the path that a corpus names). `scope`: a directory. `types`, `tags`: any
    of them. `symbols`: globs over dotted names. `since_s`, `until_s`: when the file was last changed, seconds since the epoch.
    """

    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    scope: str = ""
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    since_s: float | None = None
    until_s: float | None = None

    @property
    def empty(self) -> bool:
        """Whether everything passes."""
        return self == Filter()


def masks(engram: Engram, index: Index, chosen: Filter) -> list[Any] | None:
    """Return the rows of each segment that pass, or None when all do. Raises InvalidRequest for a bad glob."""
    if chosen.empty:
        return None
    passes = file_test(chosen)
    files = np.array(sorted(file.id for file in engram.files() if passes(file)), np.int64)
    found = [np.isin(segment.file, files) for segment in index.segments]
    if chosen.symbols:
        symbols = Globs(include=[pattern.replace(".", "/") for pattern in chosen.symbols])
        with reading(engram.path):
            rows = engram.connection.execute("SELECT id, symbol FROM chunk WHERE symbol != ''").fetchall()
        named = np.array([number for number, symbol in rows if symbols.match(symbol.replace(".", "/"))], np.int64)
        found = [mask & np.isin(segment.chunk, named) for mask, segment in zip(found, index.segments, strict=True)]
    return found


def file_test(chosen: Filter) -> Callable[[FileRow], bool]:
    """Return a test of files."""
    globs = Globs(include=chosen.paths, exclude=chosen.exclude)
    scope = chosen.scope.strip("/")

    def passes(file: FileRow) -> bool:
        names = [file.path, file.source] if file.source else [file.path]
        changed_s = file.stat.mtime_ns / 1e9
        return (
            any(globs.match(name) for name in names)
            and (not scope or any(name == scope or name.startswith(scope + "/") for name in names))
            and (not chosen.types or file.type in chosen.types)
            and (not chosen.tags or any(tag in file.tags for tag in chosen.tags))
            and (chosen.since_s is None or changed_s >= chosen.since_s)
            and (chosen.until_s is None or changed_s <= chosen.until_s)
        )

    return passes
