"""Accumulators: one integer sum of chunk vectors for each directory and for the whole engram.

Sums are exact, so a file is taken out again by subtracting its vectors, and what remains equals a fresh build byte for byte.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from prefrontal.errors import StoreError
from prefrontal.knowledge.algebra import SparseVector, bundle, vector
from prefrontal.knowledge.encode import Encoded
from prefrontal.knowledge.store.rows import expect, parents, path_in, path_out, whole

WIDTHS = ("<i1", "<i2", "<i4", "<i8")


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of the vectors below a path, with the number of chunks and of their words."""

    path: str
    chunks: int
    length: int
    total: SparseVector


class Deltas:
    """Changes of accumulators, gathered over a transaction and written at its end."""

    def __init__(self, dim: int) -> None:
        self._dim = dim
        self._found: dict[str, list[tuple[Encoded, int]]] = {}

    def note(self, path: str, encoded: Sequence[Encoded], sign: int) -> None:
        """Add (`sign` 1) or subtract (-1) the chunks of a file."""
        folder = next(parents(path))
        self._found.setdefault(folder, []).extend((one, sign) for one in encoded)

    def write(self, connection: sqlite3.Connection) -> None:
        """Bring the nodes up to date; a node without chunks is removed."""
        sums = {folder: self._sum(folder, found) for folder, found in self._found.items() if found}
        waiting: dict[int, set[str]] = {}
        for folder in sums:
            waiting.setdefault(_depth(folder), set()).add(folder)
        for depth in range(max(waiting, default=0), 0, -1):  # the deepest first, so that each hands up what came from below
            for folder in waiting.get(depth, ()):
                above = next(parents(folder))
                sums[above] = _added(sums[above], sums[folder], above) if above in sums else _renamed(sums[folder], above)
                waiting.setdefault(depth - 1, set()).add(above)
        for folder, change in sums.items():
            _apply(connection, change, self._dim, folder)
        self._found.clear()

    def _sum(self, folder: str, found: list[tuple[Encoded, int]]) -> Node:
        indices = np.concatenate([one.indices for one, _ in found]).astype(np.int64)
        values = np.concatenate([one.values.astype(np.int64) * sign for one, sign in found])
        if indices.size and int(indices.max()) >= self._dim:
            raise StoreError("The engram is damaged: the vector of a passage is malformed.")
        total = np.zeros(self._dim, np.int64)
        np.add.at(total, indices, values)
        where = np.flatnonzero(total)
        return Node(
            path=folder,
            chunks=sum(sign for _, sign in found),
            length=sum(one.length * sign for one, sign in found),
            total=SparseVector(dim=self._dim, indices=where, values=total[where]),
        )


def load(connection: sqlite3.Connection, path: str, dim: int) -> Node | None:
    """Return the node of a directory ("" for the whole engram), or None when nothing lies below it."""
    row = connection.execute("SELECT chunks, length, layout, data FROM node WHERE path = ?", (path_out(path),)).fetchone()
    return _node(path, row, dim) if row else None


def every(connection: sqlite3.Connection, dim: int) -> list[Node]:
    """Return all nodes, sorted by path."""
    rows = connection.execute("SELECT path, chunks, length, layout, data FROM node").fetchall()
    return sorted((_node(path_in(path), rest, dim) for path, *rest in rows), key=lambda node: node.path)


def pack(total: SparseVector) -> tuple[str, bytes]:
    """Return layout and bytes of a sum: the narrowest integers that hold it, sparse or dense, whichever is smaller."""
    most = int(np.abs(total.values).max()) if total.values.size else 0
    kind = next(k for k in WIDTHS if most <= np.iinfo(k).max)
    width = int(kind[-1])
    if total.indices.size * (4 + width) < total.dim * width:
        return f"sparse {kind}", total.indices.astype("<u4").tobytes() + total.values.astype(kind).tobytes()
    return f"dense {kind}", total.dense().astype(kind).tobytes()


def unpack_sum(layout: str, data: bytes, dim: int) -> SparseVector:
    """Return the sum that `pack` made."""
    expect("sum", str, layout)
    expect("sum", bytes, data)
    shape, _, kind = layout.partition(" ")
    if shape not in ("dense", "sparse") or kind not in WIDTHS or len(data) % (int(kind[-1]) + 4 * (shape == "sparse")):
        raise StoreError("The engram is damaged: a sum has an unknown layout.")
    if shape == "dense" and len(data) != dim * int(kind[-1]):
        raise StoreError("The engram is damaged: a sum has another size than its vectors.")
    if shape == "dense":
        values = np.frombuffer(data, kind).astype(np.int64)
        where = np.flatnonzero(values)
        return SparseVector(dim=dim, indices=where, values=values[where])
    count = len(data) // (4 + int(kind[-1]))
    indices = np.frombuffer(data, "<u4", count).astype(np.int64)
    if count and (int(indices[-1]) >= dim or bool((np.diff(indices) <= 0).any())):
        raise StoreError("The engram is damaged: the indices of a sum do not rise.")
    return SparseVector(dim=dim, indices=indices, values=np.frombuffer(data, kind, count, 4 * count).astype(np.int64))


def _node(path: str, row: Any, dim: int) -> Node:
    chunks, length, layout, data = row
    whole("sum", chunks, length)
    return Node(path=path, chunks=chunks, length=length, total=unpack_sum(layout, data, dim))


def _depth(folder: str) -> int:
    return folder.count("/") + 1 if folder else 0


def _added(known: Node, change: Node, path: str) -> Node:
    return Node(
        path=path,
        chunks=known.chunks + change.chunks,
        length=known.length + change.length,
        total=bundle(known.total, change.total),
    )


def _renamed(change: Node, path: str) -> Node:
    return Node(path=path, chunks=change.chunks, length=change.length, total=change.total)


def _apply(connection: sqlite3.Connection, change: Node, dim: int, path: str) -> None:
    known = load(connection, path, dim)
    node = _merged(known, change, dim) if known else change
    if node.chunks == 0:
        connection.execute("DELETE FROM node WHERE path = ?", (path_out(path),))
        return
    layout, data = pack(node.total)
    row = (path_out(path), node.chunks, node.length, layout, data)
    connection.execute("INSERT OR REPLACE INTO node VALUES (?, ?, ?, ?, ?)", row)


def _merged(known: Node, change: Node, dim: int) -> Node:
    dense = known.total.dense()
    dense[change.total.indices] += change.total.values
    where = np.flatnonzero(dense)
    total = SparseVector(dim=dim, indices=where, values=dense[where])
    return Node(path=known.path, chunks=known.chunks + change.chunks, length=known.length + change.length, total=total)


def total_of(dim: int, encoded: Sequence[Encoded]) -> SparseVector:
    """Return the sum of chunk vectors."""
    if not encoded:
        return vector(dim, [], [])
    return vector(dim, np.concatenate([e.indices for e in encoded]), np.concatenate([e.values.astype(np.int64) for e in encoded]))
