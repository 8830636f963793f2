"""Candidates: the passages whose vectors have the highest dot product with the question's."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from prefrontal.knowledge.index.index import Index
from prefrontal.knowledge.index.segment import Segment


class Candidates(msgspec.Struct, frozen=True, kw_only=True):
    """Passages by segment number and row, with the score of their vectors; the best first, equal ones in order of number."""

    segment: Any
    row: Any
    score: Any


def find(index: Index, dims: Any, weights: Any, *, most: int, masks: list[Any] | None = None) -> Candidates:
    """Return at most `most` living passages with a positive score. `masks`: rows allowed, by segment."""
    parts: list[tuple[Any, Any, Any]] = []
    for number, segment in enumerate(index.segments):
        scores = score(segment, dims, weights)
        if scores is None:
            continue
        if index.dead[number].size:
            scores[index.dead[number]] = 0.0
        if masks is not None:
            scores[~masks[number]] = 0.0
        rows = top(scores, most)
        parts.append((np.full(rows.size, number), rows, scores[rows]))
    if not parts:
        none = np.zeros(0, np.int64)
        return Candidates(segment=none, row=none, score=np.zeros(0))
    where, rows, found = (np.concatenate([part[i] for part in parts]) for i in range(3))
    order = np.lexsort((rows, where, -found))[:most]
    return Candidates(segment=where[order], row=rows[order], score=found[order])


def score(segment: Segment, dims: Any, weights: Any) -> Any:
    """Return the dot product of each passage of a segment with the question's vector; None when nothing is shared."""
    rows, values = [], []
    for (first, last), weight in zip(segment.postings(dims), weights.tolist(), strict=True):
        if last > first:
            rows.append(segment.rows[first:last])
            values.append(segment.weights[first:last] * np.float32(weight))
    if not rows:
        return None
    return np.bincount(np.concatenate(rows), np.concatenate(values), minlength=segment.size)


def top(scores: Any, most: int) -> Any:
    """Return the rows of the `most` highest positive scores; the lowest rows of equal ones, so that the choice is fixed."""
    rows = np.flatnonzero(scores > 0)
    if rows.size <= most:
        return rows
    mine = scores[rows]
    least = np.partition(mine, rows.size - most)[rows.size - most]
    above = rows[mine > least]
    return np.concatenate([above, rows[mine == least][: most - above.size]])
