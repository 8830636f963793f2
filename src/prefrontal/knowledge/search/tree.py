"""Where in the tree an answer lies: folders and files scored by the sums of what is below them."""

from __future__ import annotations

import msgspec
import numpy as np

from prefrontal.knowledge.encode import saturated
from prefrontal.knowledge.index.segment import SCALE
from prefrontal.knowledge.search.query import Query, understand
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.store.nodes import Node


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A folder or file with how well the sum below it fits a question. The empty path is the whole engram."""

    path: str
    folder: bool
    chunks: int
    score: float


def places(searcher: Searcher, question: str, *, k: int = 10) -> list[Place]:
    """Return the `k` best folders and the `k` best files for a question, each sort the best first."""
    query = understand(question, searcher.index, searcher.tokenizer, searcher.shape)
    if not query.terms.size:
        return []
    scored = [(node, score(searcher, query, node)) for node in searcher.engram.nodes()]
    folders = [
        Place(path=node.path, folder=True, chunks=node.chunks, score=round(value, 4)) for node, value in scored if value > 0
    ]
    best = searcher.best_files(query, k)
    known = searcher.engram.files_by_id(number for number, _ in best)
    files = [
        Place(path=known[number].path, folder=False, chunks=known[number].chunks, score=round(value, 4))
        for number, value in best
        if number in known
    ]
    return sorted(folders, key=lambda place: (-place.score, place.path))[:k] + files


def score(searcher: Searcher, query: Query, node: Node) -> float:
    """Return the dot product of a question with a folder's saturated, length-normalised sum."""
    if not node.total.indices.size:
        return 0.0
    at = np.minimum(np.searchsorted(node.total.indices, query.dims), node.total.indices.size - 1)
    here = node.total.indices[at] == query.dims
    values = node.total.values[at][here].astype(np.float64)
    constants = searcher.engram.meta.constants
    weight = np.sign(values) * saturated(np.abs(values), float(node.length), constants.node_length, constants)
    scale = SCALE if searcher.shape.mode != "ternary" else 1.0
    return float(scale * weight @ query.weights[here])


def outline(searcher: Searcher) -> list[Place]:
    """Return all folders with the number of passages below them, by path; the score is their share of the engram."""
    nodes = searcher.engram.nodes()
    total = next((node.chunks for node in nodes if node.path == ""), 1)
    return [Place(path=node.path, folder=True, chunks=node.chunks, score=round(node.chunks / total, 4)) for node in nodes]
