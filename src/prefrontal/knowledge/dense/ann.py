"""An index over very many vectors, by usearch; without that library vectors are simply compared one by one."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

FILE = "dense.usearch"
FROM = 200_000
"""Vectors from which an index is made (specified: below, comparing all takes some tens of milliseconds)."""

EXPANSION = 128
"""How widely usearch looks (assumed: twice its default, as what it returns is compared exactly afterwards)."""


class Ann:
    """The index of a folder; its keys are the numbers of rows."""

    def __init__(self, folder: Path, dim: int) -> None:
        self._index: Any = None
        path = folder / FILE
        if find_spec("usearch") is not None and path.is_file():
            from usearch.index import Index

            index = Index(ndim=dim, metric="ip", dtype="i8", expansion_search=EXPANSION)
            try:
                index.load(str(path))
            except (RuntimeError, ValueError, OSError):  # damaged or another version's: the vectors themselves are all there
                return
            self._index = index if index.ndim == dim else None

    @property
    def usable(self) -> bool:
        """Whether it can be asked."""
        return self._index is not None

    def search(self, vector: Any, most: int) -> Any:
        """Return the numbers of about the `most` nearest rows."""
        return np.asarray(self._index.search(vector, most).keys, np.uint64).astype(np.int64)


def build(folder: Path, dim: int, parts: Any) -> int:
    """Index the rows of `parts`, float32 matrices one after another, and return how many; 0 without usearch."""
    if find_spec("usearch") is None:
        return 0
    from usearch.index import Index

    index = Index(ndim=dim, metric="ip", dtype="i8", expansion_search=EXPANSION)
    count = 0
    for rows in parts:
        index.add(np.arange(count, count + len(rows), dtype=np.uint64), rows)
        count += len(rows)
    fresh = folder / f"{FILE}.new"
    index.save(str(fresh))
    os.replace(fresh, folder / FILE)
    return count
