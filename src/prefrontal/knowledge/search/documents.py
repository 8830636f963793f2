"""Scores of whole files: all passages of a candidate's file together, as if it had not been cut."""

from __future__ import annotations

from typing import Any

import numpy as np

from prefrontal.knowledge.index.index import Index
from prefrontal.knowledge.search.candidates import Candidates
from prefrontal.knowledge.search.query import Query
from prefrontal.knowledge.search.rank import VECTOR_SHARE, contributions, occurrences


def score(index: Index, query: Query, found: Candidates, *, exact: bool) -> dict[int, float]:
    """Return the score of each file that has a candidate: its best vector, and with `exact` BM25 over its whole text."""
    if not found.row.size:
        return {}
    files = np.array([index.segments[s].file[r] for s, r in zip(found.segment.tolist(), found.row.tolist(), strict=True)])
    numbers, whose = np.unique(files, return_inverse=True)
    best = np.full(numbers.size, -np.inf)
    np.maximum.at(best, whose, found.score)
    if exact:
        every = _passages(index, numbers)
        counts, flags, lengths = occurrences(index, query, every)
        group = every.score.astype(np.int64)
        shape = (numbers.size, query.terms.size)
        total, fields, words = np.zeros(shape), np.zeros(shape, np.uint8), np.zeros(numbers.size)
        np.add.at(total, group, counts)
        np.bitwise_or.at(fields, group, flags)
        np.add.at(words, group, lengths)
        best = VECTOR_SHARE * best + contributions(total, fields, words, query.rarity, index.mean_document).sum(axis=1)
    return dict(zip(numbers.tolist(), best.tolist(), strict=True))


def _passages(index: Index, files: Any) -> Candidates:
    """Return all living passages of the files; their `score` is the number of the file."""
    segments, rows, groups = [], [], []
    for number, segment in enumerate(index.segments):
        first, last = np.searchsorted(segment.file, files, "left"), np.searchsorted(segment.file, files, "right")
        for group, (a, b) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            mine = np.arange(a, b)[index.alive[number][a:b]]
            segments.append(np.full(mine.size, number))
            rows.append(mine)
            groups.append(np.full(mine.size, group))
    return Candidates(segment=np.concatenate(segments), row=np.concatenate(rows), score=np.concatenate(groups))
