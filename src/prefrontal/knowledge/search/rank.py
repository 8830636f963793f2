"""The exact order: BM25 over what the text and the fields really hold, and the vector for what words alone do not see."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from prefrontal.knowledge.encode import IN_PATH, IN_SYMBOL, IN_TITLE
from prefrontal.knowledge.index.index import Index
from prefrontal.knowledge.search.candidates import Candidates
from prefrontal.knowledge.search.query import Query

K1, B = 1.2, 0.75
"""As usual for BM25."""

TITLE_COUNT, SYMBOL_COUNT, PATH_COUNT = 0.5, 1.0, 0.5
"""How many occurrences in the text a term in that field is worth (measured: .014 and .022 nDCG on two code sets)."""

TITLE_BONUS, SYMBOL_BONUS, PATH_BONUS = 0.4, 0.5, 0.2
"""What a term in a field is worth however long the passage is, as a share of its rarity; of several fields the best counts.
Without it long functions lose to short ones that only mention a term (measured with the weights of titles and symbols
in questions: .002 to .013 nDCG on four of five sets, none on the fifth, and .025 on functions inside their files)."""

VECTOR_SHARE = 1.0
"""What a point of the vector's score is worth: it knows order and whole identifiers (chosen from .5 and 1)."""


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """Candidates with their exact scores, and a matrix of each term's part in them (rows: candidates, columns: terms)."""

    segment: Any
    row: Any
    score: Any
    vector: Any
    parts: Any
    counts: Any
    flags: Any


def rank(index: Index, query: Query, found: Candidates) -> Ranked:
    """Return the candidates in their final order; equal scores keep the order of the passages."""
    counts, flags, lengths = occurrences(index, query, found)
    parts = contributions(counts, flags, lengths, query.rarity, index.mean_length)
    total = parts.sum(axis=1) + VECTOR_SHARE * found.score
    order = np.lexsort((found.row, found.segment, -total))
    return Ranked(
        segment=found.segment[order],
        row=found.row[order],
        score=total[order],
        vector=found.score[order],
        parts=parts[order],
        counts=counts[order],
        flags=flags[order],
    )


def contributions(counts: Any, flags: Any, lengths: Any, rarity: Any, mean_length: float) -> Any:
    """Return what each term adds to each candidate's score."""
    title, symbol, path = ((flags & bit) > 0 for bit in (IN_TITLE, IN_SYMBOL, IN_PATH))
    seen = counts + TITLE_COUNT * title + SYMBOL_COUNT * symbol + PATH_COUNT * path
    norm = K1 * (1.0 - B + B * lengths[:, None] / mean_length)
    bonus = np.maximum(np.maximum(TITLE_BONUS * title, SYMBOL_BONUS * symbol), PATH_BONUS * path)
    return rarity[None, :] * (seen * (K1 + 1.0) / (seen + norm) + bonus)


def occurrences(index: Index, query: Query, found: Candidates) -> tuple[Any, Any, Any]:
    """Return counts and field flags of the question's terms in each candidate, and the candidates' lengths."""
    size = (found.row.size, query.terms.size)
    counts, flags = np.zeros(size), np.zeros(size, np.uint8)
    lengths = np.zeros(found.row.size)
    for number in np.unique(found.segment).tolist():
        segment = index.segments[number]
        mine = np.flatnonzero(found.segment == number)
        rows = found.row[mine]
        lengths[mine] = segment.length[rows]
        at, whose = segment.statistics(rows)
        terms = segment.terms[at]
        column = np.minimum(np.searchsorted(query.terms, terms), query.terms.size - 1)
        hit = query.terms[column] == terms
        where = (mine[whose[hit]], column[hit])
        counts[where] = segment.counts[at[hit]]
        flags[where] = segment.flags[at[hit]]
    return counts, flags, lengths
