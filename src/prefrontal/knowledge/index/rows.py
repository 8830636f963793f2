"""From the engram's tables to arrays, many passages, or files with all their passages as one, at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from prefrontal.errors import StoreError
from prefrontal.knowledge.index.segment import KINDS
from prefrontal.knowledge.store.engram import Engram, reading

SINCE = (
    "SELECT c.id, c.file, c.kind, v.length, v.indices, v.vals, v.terms, v.counts, v.flags "
    "FROM chunk c JOIN vec v ON v.chunk = c.id JOIN file f ON f.id = c.file WHERE c.id > ? AND f.died IS NULL ORDER BY c.id"
)


def passages_after(engram: Engram, last: int, most: int) -> Iterator[dict[str, Any]]:
    """Yield the living passages with higher numbers than `last`, up to `most` at a time, as arrays."""
    numbers = {kind: n for n, kind in enumerate(KINDS)}
    with reading(engram.path):
        cursor = engram.connection.execute(SINCE, (last,))
        while rows := cursor.fetchmany(most):
            chunk, file, kind, length, indices, values, terms, counts, flags = zip(*rows, strict=True)
            check(engram, length, indices, values, chunk=chunk, file=file)
            if not all(isinstance(some, bytes) for some in (*terms, *counts, *flags)) or any(
                not len(t) == 4 * len(c) == 4 * len(f) for t, c, f in zip(terms, counts, flags, strict=True)
            ):
                raise StoreError(f"The engram {engram.path.name} is damaged: the terms of a passage are malformed.")
            yield {
                "chunk": np.array(chunk, np.int64),
                "file": np.array(file, np.int64),
                "kind": np.array([numbers.get(name, 0) for name in kind], np.int64),
                "length": np.array(length, np.int64),
                "sizes": np.array([len(one) for one in values], np.int64),
                "term_sizes": np.array([len(one) for one in counts], np.int64),
                "indices": np.frombuffer(b"".join(indices), "<u4" if engram.meta.shape.wide else "<u2"),
                "values": np.frombuffer(b"".join(values), np.int8),
                "terms": np.frombuffer(b"".join(terms), "<u4"),
                "counts": np.frombuffer(b"".join(counts), np.uint8),
                "flags": np.frombuffer(b"".join(flags), np.uint8),
            }


FILE_NONZEROS = 2_000
"""Non-zeros of a file's sum that are kept (measured: as good as all of them for files of about 30 functions)."""

FILES_AT_A_TIME = 500

FILES_SINCE = "SELECT id FROM file WHERE id > ? AND died IS NULL AND chunks > 0 ORDER BY id"


def files_after(engram: Engram, last: int, most: int) -> Iterator[dict[str, Any]]:
    """Yield the living files with higher numbers than `last` as arrays like those of passages, without terms."""
    with reading(engram.path):
        numbers = [number for (number,) in engram.connection.execute(FILES_SINCE, (last,))]
    for start in range(0, len(numbers), most):
        parts = [
            _files(engram, numbers[at : at + FILES_AT_A_TIME])
            for at in range(start, min(start + most, len(numbers)), FILES_AT_A_TIME)
        ]
        yield {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _files(engram: Engram, numbers: list[int]) -> dict[str, Any]:
    """Sum the passages of each file and keep the largest sums."""
    marks = ",".join("?" * len(numbers))
    sql = f"SELECT c.file, v.length, v.indices, v.vals FROM chunk c JOIN vec v ON v.chunk = c.id WHERE c.file IN ({marks})"  # noqa: S608
    with reading(engram.path):
        rows = engram.connection.execute(sql, numbers).fetchall()
    file, length, indices, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    check(engram, length, indices, values, file=file)
    dim, known = engram.meta.shape.dim, np.array(numbers, np.int64)
    row = np.searchsorted(known, np.array(file, np.int64))
    index = np.frombuffer(b"".join(indices), "<u4" if engram.meta.shape.wide else "<u2").astype(np.int64)
    key = np.repeat(row, [len(one) for one in values]) * dim + index
    keys, inverse = np.unique(key, return_inverse=True)
    sums = np.zeros(keys.size, np.int64)
    np.add.at(sums, inverse, np.frombuffer(b"".join(values), np.int8))
    rows = keys // dim
    order = np.lexsort((keys, -np.abs(sums), rows))
    starts = np.searchsorted(rows, np.arange(known.size))
    keep = np.sort(order[(np.arange(keys.size) - starts[rows[order]]) < FILE_NONZEROS])
    keep = keep[sums[keep] != 0]
    none = np.zeros(0, np.int64)
    return {
        "chunk": known,
        "file": known,
        "kind": np.full(known.size, KINDS.index("file")),
        "length": np.bincount(row, np.array(length), known.size).astype(np.int64),
        "sizes": np.bincount(rows[keep], minlength=known.size),
        "term_sizes": np.zeros(known.size, np.int64),
        "indices": keys[keep] % dim,
        "values": sums[keep],
        "terms": none,
        "counts": none,
        "flags": none,
    }


def files_gone_since(engram: Engram, version: int) -> list[int]:
    """Return the files that were replaced or removed after `version`."""
    with reading(engram.path):
        return [number for (number,) in engram.connection.execute("SELECT id FROM file WHERE died > ?", (version,))]


def check(engram: Engram, length: Any, indices: Any, values: Any, **numbers: Any) -> None:
    """Raise StoreError unless the columns hold vectors: an engram from elsewhere may hold anything."""
    width, dim = 4 if engram.meta.shape.wide else 2, engram.meta.shape.dim
    sound = (
        all(isinstance(one, bytes) for one in (*indices, *values))
        and all(isinstance(n, int) and 0 <= n < 1 << 62 for column in (length, *numbers.values()) for n in column)
        and all(len(i) == width * len(v) for i, v in zip(indices, values, strict=True))
        and all(not i or int(np.frombuffer(i, f"<u{width}").max()) < dim for i in (indices if dim != 1 << 16 else ()))
    )
    if not sound:
        raise StoreError(f"The engram {engram.path.name} is damaged: the vector of a passage is malformed.")


def gone_since(engram: Engram, version: int) -> list[int]:
    """Return the passages of files that were replaced or removed after `version`."""
    with reading(engram.path):
        sql = "SELECT c.id FROM file f JOIN chunk c ON c.file = f.id WHERE f.died > ?"
        return [number for (number,) in engram.connection.execute(sql, (version,))]
