"""An encoder learnt from an engram's own words, offline: latent semantic analysis, the strongest directions of its terms."""

from __future__ import annotations

from typing import Any

import numpy as np

from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.index.index import Index

SPARE, ROUNDS = 16, 3
"""Further directions, and rounds, of the randomised method; then the strongest ones are exact enough (as usual for it)."""

MOST_TERMS, LEAST_PASSAGES = 100_000, 2
"""Terms that are learnt, the most frequent ones, and in how many passages one must occur at least (assumed)."""

MOST_PASSAGES = 200_000
"""Passages it learns from, evenly chosen (assumed: more of the same changes little)."""

ROWS_AT_ONCE = 2_048


class Sparse:
    """Rows of few values: the counts of an engram's terms."""

    def __init__(self, starts: Any, columns: Any, values: Any, width: int) -> None:
        self.starts, self.columns, self.values, self.width = starts, columns, values, width

    def times(self, dense: Any) -> Any:
        """Return the product with a matrix of `width` rows."""
        out = np.zeros((self.starts.size - 1, dense.shape[1]), np.float32)
        for first, last, part in self._parts():
            rows = self.values[part, None] * dense[self.columns[part]]
            whose = np.repeat(np.arange(last - first), np.diff(self.starts[first : last + 1]))
            some = np.flatnonzero(np.diff(self.starts[first : last + 1]))
            if some.size:
                out[first + some] = np.add.reduceat(rows, np.searchsorted(whose, some), axis=0)
        return out

    def transposed_times(self, dense: Any) -> Any:
        """Return the product of the transpose with a matrix of as many rows as this one."""
        out = np.zeros((self.width, dense.shape[1]), np.float32)
        for first, last, part in self._parts():
            whose = np.repeat(np.arange(first, last), np.diff(self.starts[first : last + 1]))
            order = np.argsort(self.columns[part], kind="stable")
            columns, at = np.unique(self.columns[part][order], return_index=True)
            if columns.size:
                rows = self.values[part, None][order] * dense[whose[order]]
                out[columns] += np.add.reduceat(rows, at, axis=0)
        return out

    def _parts(self) -> Any:
        for first in range(0, self.starts.size - 1, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, self.starts.size - 1)
            yield first, last, slice(int(self.starts[first]), int(self.starts[last]))


def learn(index: Index, *, dim: int = 256, seed: int = 0) -> dict[str, Any]:
    """Return the weights of a `TermEncoder`. They depend on what the index holds only.

    Raises InvalidRequest for a `dim` below 2 or above 1,024, and for an engram with too few passages or words for two directions.
    """
    if not 2 <= dim <= 1_024:
        raise InvalidRequest(f"dim must lie between 2 and 1024, not {dim}.", param="dim")
    terms, matrix, rarity = _matrix(index)
    dim = min(dim, matrix.width - 1, matrix.starts.size - 2)
    if dim < 2:
        raise InvalidRequest("The engram has too few passages or words to learn from.")
    base = np.random.default_rng(0).standard_normal((matrix.width, min(dim + SPARE, matrix.width))).astype(np.float32)
    for _ in range(ROUNDS):
        base, _ = np.linalg.qr(matrix.transposed_times(np.linalg.qr(matrix.times(base))[0]))
    left, strength, _ = np.linalg.svd((matrix.times(base)).T @ matrix.times(base))
    directions = base @ left[:, :dim]
    damped = np.sqrt(np.sqrt(np.maximum(strength[:dim], 0)))  # strengths are squared here; their root says how far to trust
    scale = np.where(damped > 0, damped / max(float(damped[0]), 1e-12), 0).astype(np.float32)
    table = directions * scale * rarity[:, None]
    return {"terms": terms.astype("<i8"), "embeddings": table.astype("<f4"), "seed": np.array([seed], "<i8")}


def _matrix(index: Index) -> tuple[Any, Sparse, Any]:
    """Return the terms, the rows of passages as log counts times rarity with length 1, and the rarity of each term."""
    words = np.unique(np.concatenate([np.zeros(0, np.uint32), *(segment.words for segment in index.segments)]))
    found = index.frequencies(words)
    keep = np.sort(np.argsort(-found, kind="stable")[:MOST_TERMS])
    keep = keep[(found[keep] >= LEAST_PASSAGES)]
    words, found = words[keep], found[keep]
    rarity = np.log1p((index.count - found + 0.5) / (found + 0.5)).astype(np.float32)
    sizes, columns, values = [np.zeros(1, np.int64)], [], []
    step = max(1, -(-index.count // MOST_PASSAGES))
    for segment, alive in zip(index.segments, index.alive, strict=True):
        rows = np.flatnonzero(alive)[::step]
        at, whose = segment.statistics(rows)
        column = np.minimum(np.searchsorted(words, segment.terms[at]), max(words.size - 1, 0))
        known = words[column] == segment.terms[at] if words.size else np.zeros(at.size, bool)
        column, whose = column[known], whose[known]
        value = (1.0 + np.log(np.maximum(segment.counts[at[known]], 1))).astype(np.float32) * rarity[column]
        length = np.sqrt(np.bincount(whose, value.astype(np.float64) ** 2, minlength=rows.size))
        sizes.append(np.bincount(whose, minlength=rows.size))
        columns.append(column)
        values.append((value / np.maximum(length[whose], 1e-12)).astype(np.float32))
    if not columns:
        columns, values = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    starts = np.cumsum(np.concatenate(sizes))
    return words, Sparse(starts, np.concatenate(columns), np.concatenate(values), int(words.size)), rarity
