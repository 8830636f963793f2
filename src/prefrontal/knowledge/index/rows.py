"""From the engram's tables to arrays, many passages at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

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


def gone_since(engram: Engram, version: int) -> list[int]:
    """Return the passages of files that were replaced or removed after `version`."""
    with reading(engram.path):
        sql = "SELECT c.id FROM file f JOIN chunk c ON c.file = f.id WHERE f.died > ?"
        return [number for (number,) in engram.connection.execute(sql, (version,))]
