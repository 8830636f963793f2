"""Engrams kept open between questions, within a bound of memory; who was asked longest ago goes first."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from prefrontal.knowledge.installed import unknown_engram
from prefrontal.knowledge.search.searcher import Searcher

MOST_BYTES = 512 * 1024 * 1024
"""Index bytes of the engrams kept open (assumed). They are memory-mapped: what is not asked for costs addresses, not memory."""

BASE_BYTES = 4 * 1024 * 1024
"""What an open engram takes besides its index: the database's page cache and the tokenizer's memory (assumed)."""

ENDING = ".engram"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class _Open:
    """An engram, opened by the first thread that asks; one thread at a time may ask."""

    def __init__(self, path: Path, inode: int) -> None:
        self.lock = threading.Lock()
        self.path = path
        self.inode = inode
        self.users = 0
        self.gone = False
        self._searcher: Searcher | None = None

    def ready(self) -> Searcher:
        """Return the searcher at the newest version, opening it first where needed: that may take as long as making its index."""
        if self._searcher is None:
            self._searcher = Searcher(self.path)
        else:
            self._searcher.refresh()
        return self._searcher

    def close(self) -> None:
        """Let go of it."""
        if self._searcher is not None:
            self._searcher.close()

    @property
    def size_bytes(self) -> int:
        """What it counts for."""
        segments = self._searcher.index.segments if self._searcher is not None else []
        parts = [part for segment in segments for part in vars(segment).values()]
        return BASE_BYTES + sum(part.nbytes for part in parts if isinstance(part, np.ndarray))


class EngramCache:
    """The engrams of a folder, by their names, for any thread. `most_bytes` may be changed, and holds from the next use on."""

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def names(self) -> list[str]:
        """Return the engrams there are, sorted."""
        try:
            found = [path.name.removesuffix(ENDING) for path in self.folder.iterdir() if path.name.endswith(ENDING)]
        except OSError:
            return []
        return sorted(name for name in found if NAME.fullmatch(name))

    @property
    def opened(self) -> tuple[str, ...]:
        """Names of the engrams that are open, the one asked longest ago first."""
        with self._lock:
            return tuple(self._open)

    @contextlib.contextmanager
    def using(self, name: str) -> Iterator[Searcher]:
        """Yield the engram's searcher at its newest version, for this thread alone while the block lasts.

        Raises NotFound for a name that no engram has, StoreError for a damaged one.
        """
        one = self._taken(name)
        try:
            with one.lock:
                searcher = self._ready(name, one)
                yield searcher
        finally:
            self._given_back(one)

    def close(self) -> None:
        """Let go of all engrams; those in use are closed when they are given back."""
        with self._lock:
            for name in list(self._open):
                self._drop(name)

    def _taken(self, name: str) -> _Open:
        path = self.folder / f"{name}{ENDING}"
        with self._lock:
            try:
                inode = os.stat(path).st_ino if NAME.fullmatch(name) else None
            except OSError:
                inode = None
            known = self._open.get(name)
            if known is not None and known.inode != inode:  # replaced or removed
                self._drop(name)
                known = None
            if inode is None:
                raise unknown_engram(name)
            if known is None:
                known = self._open[name] = _Open(path, inode)
            self._open.move_to_end(name)
            known.users += 1
            return known

    def _ready(self, name: str, one: _Open) -> Searcher:
        """Return the searcher, with room made for it; an engram that cannot be opened is forgotten."""
        try:
            searcher = one.ready()
        except BaseException:
            with self._lock:
                if self._open.get(name) is one:
                    self._drop(name)
            raise
        with self._lock:
            self._shrink(name)
        return searcher

    def _given_back(self, one: _Open) -> None:
        with self._lock:
            one.users -= 1
            if one.gone and not one.users:
                one.close()

    def _shrink(self, keep: str) -> None:
        total = sum(one.size_bytes for one in self._open.values())
        for name in [name for name in self._open if name != keep]:
            if total <= self.most_bytes:
                return
            total -= self._open[name].size_bytes
            self._drop(name)

    def _drop(self, name: str) -> None:
        one = self._open.pop(name)
        one.gone = True
        if not one.users:
            one.close()
