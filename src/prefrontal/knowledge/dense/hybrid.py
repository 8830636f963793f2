"""Searching by words, by dense vectors, or by both. How much each counts is decided for each engram and each question."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np

from prefrontal.errors import CapabilityMissing, InvalidRequest
from prefrontal.knowledge.dense.blocks import LIST, folder_of, load
from prefrontal.knowledge.dense.encoder import EncoderInfo
from prefrontal.knowledge.dense.fuse import TRUST, fuse, ranks
from prefrontal.knowledge.dense.near import Near, open_near
from prefrontal.knowledge.search import candidates, documents
from prefrontal.knowledge.search.candidates import Candidates, find
from prefrontal.knowledge.search.filters import Filter
from prefrontal.knowledge.search.query import Query, understand
from prefrontal.knowledge.search.rank import Ranked, contributions, occurrences, rank
from prefrontal.knowledge.search.searcher import CANDIDATES, MOST_RESULTS, Blend, Hit, Searcher

Mode = Literal["lexical", "dense", "hybrid", "auto"]
Way = Literal["dense", "hybrid"]
MODES: tuple[Mode, ...] = ("lexical", "dense", "hybrid", "auto")
DENSE: Way = "dense"
HYBRID: Way = "hybrid"

COVERED = 0.5
"""Share of passages with a vector from which `auto` uses them (assumed: below, most of what vectors know is not there yet)."""


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Candidates of both ways, with the score of each way (`dense` is NaN without a vector) and the fused one; not in order."""

    found: Candidates
    lexical: Any
    dense: Any
    fused: Any
    weight: float


def near_of(searcher: Searcher, encoder: EncoderInfo) -> Near | None:
    """Return an encoder's vectors of what the searcher sees, remembered for as long as neither changes; None without any."""
    folder = folder_of(searcher.engram.path, encoder.name)
    known = searcher.beside.get(encoder.name)
    state = load(folder, searcher.engram.meta.uid, encoder)
    if state is None:
        return None
    if not isinstance(known, Near) or known.state != state or known.index is not searcher.index:
        known = searcher.beside[encoder.name] = open_near(folder, searcher.engram.meta.uid, searcher.index, encoder)
    return known


def every_near(searcher: Searcher) -> list[Near]:
    """Return the vectors beside an engram, of every encoder, sorted by name."""
    found = []
    for path in sorted(searcher.engram.path.with_suffix(".dense").glob(f"*/{LIST}")):
        near = open_near(path.parent, searcher.engram.meta.uid, searcher.index)
        if near is not None:
            found.append(near)
    return found


def weight_of(near: Near) -> float:
    """Return the share of the vectors that fits this engram."""
    known = near.state.calibration
    return TRUST if known is None else known.weight


def chosen(mode: Mode, near: Near | None) -> Mode:
    """Return what `auto` means here: `hybrid` where vectors are there and help, else `lexical`. Other modes stay as they are.

    Raises CapabilityMissing when vectors are asked for and there are none.
    """
    if mode not in MODES:
        raise InvalidRequest(f"mode must be one of {', '.join(MODES)}, not {mode!r}.", param="mode")
    if mode == "auto":
        return "hybrid" if near is not None and near.share >= COVERED and weight_of(near) > 0 else "lexical"
    if mode != "lexical" and (near is None or not near.covered):
        raise CapabilityMissing(
            "This engram has no vectors by the encoder.", hint="Make them with `prefrontal knowledge embed NAME`.", param="mode"
        )
    return mode


def search(
    searcher: Searcher,
    near: Near,
    question: str,
    vector: Any,
    *,
    mode: Way = "hybrid",
    k: int = 10,
    where: Filter | None = None,
    text: bool = True,
) -> list[Hit]:
    """Return the `k` best passages with their ranks by words and by vectors. `vector` is the question's, of length 1.

    Raises InvalidRequest for a `k` outside 1 to 1,000 and for a bad filter.
    """
    if not 1 <= k <= MOST_RESULTS:
        raise InvalidRequest(f"k must lie between 1 and {MOST_RESULTS}, not {k}.", param="k")
    query = understand(question, searcher.index, searcher.tokenizer, searcher.shape)
    pool = pooled(searcher, near, query, vector, mode=mode, most=max(k, CANDIDATES), masks=searcher.allowed(where))
    words, similar = ranks(np.where(pool.lexical > 0, pool.lexical, np.nan)), ranks(pool.dense)
    order = np.lexsort((pool.found.row, pool.found.segment, -pool.fused))[:k]
    order = order[np.isfinite(pool.fused[order])]
    some = Candidates(segment=pool.found.segment[order], row=pool.found.row[order], score=pool.found.score[order])
    hits = searcher.hits(query, _as_ranked(searcher, query, some, pool.fused[order]), k, text=text)
    numbers = [int(searcher.index.segments[s].chunk[r]) for s, r in zip(some.segment.tolist(), some.row.tolist(), strict=True)]
    at = dict(zip(numbers, order.tolist(), strict=True))
    return [
        msgspec.structs.replace(
            hit,
            blend=Blend(
                lexical_rank=int(words[n]) or None,
                dense_rank=int(similar[n]) or None,
                lexical_score=round(float(pool.lexical[n]), 6),
                similarity=round(float(pool.dense[n]), 6) if np.isfinite(pool.dense[n]) else None,
                dense_weight=round(pool.weight, 4),
            ),
        )
        for hit in hits
        for n in [at[hit.chunk]]
    ]


def search_documents(
    searcher: Searcher,
    near: Near,
    question: str,
    vector: Any,
    *,
    mode: Way = "hybrid",
    k: int = 10,
    where: Filter | None = None,
) -> list[tuple[str, float]]:
    """Return the paths of the `k` best files with their scores, as `Searcher.search_documents`.

    A file's words count with all its passages together, its vectors with the nearest passage.
    """
    query = understand(question, searcher.index, searcher.tokenizer, searcher.shape)
    most, index = 2 * max(k, CANDIDATES), searcher.index
    pool = pooled(searcher, near, query, vector, mode=mode, most=most, masks=searcher.allowed(where))
    if not pool.found.row.size:
        return []
    places = zip(pool.found.segment.tolist(), pool.found.row.tolist(), strict=True)
    files = np.array([index.segments[s].file[r] for s, r in places])
    numbers, whose = np.unique(files, return_inverse=True)
    similar = np.full(numbers.size, -np.inf)
    np.maximum.at(similar, whose, np.where(np.isfinite(pool.dense), pool.dense, -np.inf))
    similar = np.where(np.isfinite(similar), similar, np.nan)
    if mode == "dense":
        fused = np.where(np.isfinite(similar), similar, -np.inf)
    else:
        by_words = documents.score(index, query, pool.found, exact=True) if query.terms.size else {}
        words = np.array([by_words.get(number, 0.0) for number in numbers.tolist()])
        fused = fuse(words, similar, unrelated=near.unrelated(vector), weight=weight_of(near)).scores
    known = searcher.engram.files_by_id(numbers.tolist())
    scored = zip(numbers.tolist(), fused.tolist(), strict=True)
    named = [(known[n].path, float(s)) for n, s in scored if n in known and np.isfinite(s)]
    return sorted(named, key=lambda one: (-one[1], one[0]))[:k]


def pooled(
    searcher: Searcher,
    near: Near,
    query: Query,
    vector: Any,
    *,
    mode: Way,
    most: int,
    masks: list[Any] | None = None,
    weight: float | None = None,
) -> Pool:
    """Return the best candidates of both ways, each with both scores. weight: instead of the engram's own."""
    index = searcher.index
    by_vector = near.nearest(vector, most=most, masks=masks)
    by_words = find(index, query.dims, query.weights, most=most, masks=masks) if mode == "hybrid" else by_vector
    found = _united(searcher, query, by_words, by_vector)
    lexical = _lexical(searcher, query, found)
    dense = near.scores(found.segment, found.row, vector)
    if mode == "dense":
        return Pool(found=found, lexical=lexical, dense=dense, fused=np.where(np.isfinite(dense), dense, -np.inf), weight=1.0)
    share = weight_of(near) if weight is None else weight
    fused = fuse(lexical, dense, unrelated=near.unrelated(vector), weight=share)
    return Pool(found=found, lexical=lexical, dense=dense, fused=fused.scores, weight=fused.weight)


def _united(searcher: Searcher, query: Query, first: Candidates, second: Candidates) -> Candidates:
    """Return the candidates of both, each once, with the score of their sparse vectors."""
    segment, row = np.concatenate([first.segment, second.segment]), np.concatenate([first.row, second.row])
    pairs = np.unique(np.stack([segment, row]).astype(np.int64), axis=1)
    scores = np.zeros(pairs.shape[1])
    for number in np.unique(pairs[0]).tolist():
        every = candidates.score(searcher.index.segments[number], query.dims, query.weights) if query.terms.size else None
        if every is not None:
            mine = pairs[0] == number
            scores[mine] = every[pairs[1][mine]]
    return Candidates(segment=pairs[0], row=pairs[1], score=scores)


def _lexical(searcher: Searcher, query: Query, found: Candidates) -> Any:
    """Return what words alone give each candidate."""
    if not query.terms.size or not found.row.size:
        return np.zeros(found.row.size)
    ranked = rank(searcher.index, query, found)
    out = np.zeros(found.row.size)
    out[np.lexsort((found.row, found.segment))] = ranked.score[np.lexsort((ranked.row, ranked.segment))]
    return out


def _as_ranked(searcher: Searcher, query: Query, some: Candidates, fused: Any) -> Ranked:
    """Return candidates in the order they stand in, with the reasons of their words."""
    if not query.terms.size:
        none = np.zeros((some.row.size, 0))
        counts, flags, parts = none, none.astype(np.uint8), none
    else:
        counts, flags, lengths = occurrences(searcher.index, query, some)
        parts = contributions(counts, flags, lengths, query.rarity, searcher.index.mean_length)
    return Ranked(segment=some.segment, row=some.row, score=fused, vector=some.score, parts=parts, counts=counts, flags=flags)
