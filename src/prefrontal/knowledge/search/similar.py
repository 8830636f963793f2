"""More like this, and passages that are nearly the same, by the cosine of their vectors."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.encode import Encoded
from prefrontal.knowledge.search.candidates import find
from prefrontal.knowledge.search.filters import Filter
from prefrontal.knowledge.search.searcher import Hit, Searcher, hit

POOL = 200
"""Candidates whose true cosine is computed (assumed: twice what is ranked for a question)."""


class Twin(msgspec.Struct, frozen=True, kw_only=True):
    """Two passages that are nearly the same; `same` when their bytes are equal."""

    first: Hit
    second: Hit
    similarity: float
    same: bool


def more_like(searcher: Searcher, chunk: int, *, k: int = 10, where: Filter | None = None) -> list[Hit]:
    """Return the passages most similar to one of them, other than itself, with the cosine as the score.

    Raises InvalidRequest for a passage the engram does not have.
    """
    found = searcher.engram.vectors([chunk])
    if chunk not in found:
        raise InvalidRequest(f"{searcher.engram.path.name} has no passage {chunk}.", param="chunk")
    near = [(number, cosine) for number, cosine in neighbours(searcher, found[chunk], where=where) if number != chunk][:k]
    return _hits(searcher, near)


def near_duplicates(searcher: Searcher, *, least: float = 0.9, k: int = 100, shortest: int = 12) -> list[Twin]:
    """Return up to `k` pairs of passages with a cosine of at least `least`, the most similar first.

    Passages of fewer than `shortest` non-zeros are left out: two blank ones are no finding. The cost grows with the number of
    passages times the candidates looked at for each.
    """
    if not 0.0 < least <= 1.0:
        raise InvalidRequest("least must lie between 0 and 1.", param="least")
    pairs: dict[tuple[int, int], float] = {}
    for segment, mask in zip(searcher.index.segments, searcher.index.alive, strict=True):
        numbers = segment.chunk[mask].tolist()
        for at in range(0, len(numbers), 500):
            for number, one in searcher.engram.vectors(numbers[at : at + 500]).items():
                if one.indices.size < shortest:
                    continue
                for other, cosine in neighbours(searcher, one, pool=8):
                    if cosine < least:
                        break
                    if other != number:
                        pairs[(min(number, other), max(number, other))] = cosine
    best = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:k]
    return _twins(searcher, best)


def neighbours(searcher: Searcher, one: Encoded, *, where: Filter | None = None, pool: int = POOL) -> list[tuple[int, float]]:
    """Return passages with the cosine of their vectors, the most similar first; equal ones in order of number."""
    index = searcher.index
    values = one.values.astype(np.float64)
    found = find(index, one.indices.astype(np.int64), values, most=pool, masks=searcher.allowed(where))
    numbers = [int(index.segments[s].chunk[r]) for s, r in zip(found.segment.tolist(), found.row.tolist(), strict=True)]
    vectors = searcher.engram.vectors(numbers)
    scored = [(number, _cosine(one, vectors[number])) for number in numbers if number in vectors]
    return sorted(scored, key=lambda item: (-item[1], item[0]))


def _cosine(one: Encoded, other: Encoded) -> float:
    _, a, b = np.intersect1d(one.indices, other.indices, assume_unique=True, return_indices=True)
    x, y = one.values.astype(np.float64), other.values.astype(np.float64)
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return round(float(x[a] @ y[b]) / norm, 6) if norm else 0.0


def _hits(searcher: Searcher, found: list[tuple[int, float]]) -> list[Hit]:
    engram = searcher.engram
    chunks = engram.chunks_by_id(number for number, _ in found)
    files = engram.files_by_id(chunk.file for chunk in chunks.values())
    return [
        hit(files[chunk.file], chunk, cosine, cosine, (), engram.text(files[chunk.file], chunk))
        for number, cosine in found
        if (chunk := chunks.get(number)) is not None
    ]


def _twins(searcher: Searcher, pairs: list[tuple[tuple[int, int], float]]) -> list[Twin]:
    numbers: dict[int, Any] = {number: None for pair, _ in pairs for number in pair}
    hits = {one.chunk: one for one in _hits(searcher, [(number, 1.0) for number in numbers])}
    digests = {number: chunk.sha256 for number, chunk in searcher.engram.chunks_by_id(numbers).items()}
    return [
        Twin(first=hits[a], second=hits[b], similarity=cosine, same=digests[a] == digests[b])
        for (a, b), cosine in pairs
        if a in hits and b in hits
    ]
