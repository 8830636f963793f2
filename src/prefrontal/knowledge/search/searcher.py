"""Searching one engram: a snapshot of the file and its index, opened together and kept together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np

from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.encode import IN_PATH, IN_SYMBOL, IN_TITLE
from prefrontal.knowledge.index.index import FILES, Index, open_index
from prefrontal.knowledge.search import documents
from prefrontal.knowledge.search.candidates import Candidates, find
from prefrontal.knowledge.search.filters import Filter, masks
from prefrontal.knowledge.search.query import Query, understand
from prefrontal.knowledge.search.rank import Ranked, rank
from prefrontal.knowledge.store.engram import Engram
from prefrontal.knowledge.store.rows import ChunkRow, FileRow
from prefrontal.knowledge.tokens import Tokenizer

CANDIDATES = 100
"""Passages that are ranked exactly (specified; measured: enough for BM25's own order to within .002 nDCG)."""

MOST_RESULTS = 1_000

FIELDS = ((IN_TITLE, "title"), (IN_SYMBOL, "symbol"), (IN_PATH, "path"))


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Why a passage was found: a stemmed term, how often it occurs, in which fields, and what it added to the score."""

    term: str
    count: int
    fields: tuple[str, ...]
    part: float


class Blend(msgspec.Struct, frozen=True, kw_only=True):
    """How a result of vectors, or of both, came about: its ranks among the candidates, from 1, by each alone.

    `similarity` is that of its vector to the question's; None without a vector. `dense_weight`: share of the vectors, [0, 1].
    """

    lexical_rank: int | None
    dense_rank: int | None
    lexical_score: float
    similarity: float | None
    dense_weight: float


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A passage found. `version` is the engram version since which the file is as it is; `text` its text when asked for.

    `blend` says how words and dense vectors came together; None where words alone were asked.
    """

    score: float
    vector_score: float
    chunk: int
    path: str
    source: str
    title: str
    type: str
    symbol: str
    heading: str
    ordinal: int
    byte_start: int
    byte_end: int
    line_start: int
    line_end: int
    version: int
    sha256: str
    matches: tuple[Match, ...]
    text: str = ""
    blend: Blend | None = None


class Searcher:
    """An opened engram with its index. Not for several threads at once; close it, or use `with`.

    Raises what opening an engram raises. It goes on seeing the version it was opened at until `refresh`.
    """

    def __init__(self, path: Path) -> None:
        self.engram = Engram(path)
        try:
            self.index = open_index(self.engram)
        except BaseException:
            self.engram.close()
            raise
        self.shape = self.engram.meta.shape
        self.tokenizer = Tokenizer(self.shape.seed)
        self.threshold: float | None = None  # of evidence, once it is known; see `knowledge.evidence`
        self.beside: dict[str, Any] = {}  # what others keep with this version, as dense vectors by the name of their encoder
        self._files: Index | None = None
        self._masks: tuple[Filter, int, list[Any] | None] | None = None

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give up the snapshot."""
        self.engram.close()

    def refresh(self) -> int:
        """Move to the newest version, when there is a newer one; return the version seen now."""
        before = self.index.version
        if self.engram.refresh() != before:
            self.index = open_index(self.engram)
            self.threshold = None
            self.beside.clear()
            self._files = None
        return self.index.version

    def search(
        self,
        question: str,
        *,
        k: int = 10,
        where: Filter | None = None,
        text: bool = True,
        exact: bool = True,
        beam: int | None = None,
    ) -> list[Hit]:
        """Return the `k` best passages, the best first; none when nothing but stop words was asked or nothing matches.

        With `beam` only passages of the that many best files are looked at, files being compared by their sums. `exact` False
        leaves the order to the vectors alone. Scores are comparable within one answer only. Raises
        InvalidRequest for a `k` outside 1 to 1,000 and for a bad filter.
        """
        if not 1 <= k <= MOST_RESULTS:
            raise InvalidRequest(f"k must lie between 1 and {MOST_RESULTS}, not {k}.", param="k")
        query = understand(question, self.index, self.tokenizer, self.shape)
        ranked = self._ranked(query, most=max(k, CANDIDATES), masks=self.narrowed(query, where, beam), exact=exact)
        return self.hits(query, ranked, k, text=text)

    def evidence(self, question: str, hits: Sequence[Hit]) -> float:
        """Return how much of what was asked the hits together hold, in [0, 1]: the share of the terms' rarity.

        A word that no passage has weighs as much as the rarest one that some passage has only once.
        """
        query = understand(question, self.index, self.tokenizer, self.shape)
        held = {match.term for one in hits for match in one.matches}
        rarity = np.log1p((self.index.count - query.found + 0.5) / (query.found + 0.5))
        said = [(stem, weight) for stem, weight in zip(query.stems, rarity.tolist(), strict=True) if stem not in query.joined]
        share = sum(float(weight) for stem, weight in said if stem in held)
        return min(1.0, share / query.asked) if query.asked else 0.0

    def search_documents(
        self, question: str, *, k: int = 10, where: Filter | None = None, exact: bool = True
    ) -> list[tuple[str, float]]:
        """Return the paths of the `k` best files with their scores: what a corpus of documents is judged by.

        A file counts with all its passages together, so that how it was cut does not matter.
        """
        query = understand(question, self.index, self.tokenizer, self.shape)
        found = find(self.index, query.dims, query.weights, most=2 * max(k, CANDIDATES), masks=self.allowed(where))
        scores = documents.score(self.index, query, found, exact=exact)
        best = sorted(scores, key=lambda file: (-scores[file], file))[: k + CANDIDATES // 2]
        files = self.engram.files_by_id(best)
        named = sorted(
            ((files[number].path, scores[number]) for number in best if number in files), key=lambda one: (-one[1], one[0])
        )
        return named[:k]

    def hits(self, query: Query, ranked: Ranked, k: int, *, text: bool) -> list[Hit]:
        """Return the first `k` ranked passages with their places and the reasons."""
        numbers = [
            int(self.index.segments[s].chunk[r])
            for s, r in zip(ranked.segment[:k].tolist(), ranked.row[:k].tolist(), strict=True)
        ]
        chunks = self.engram.chunks_by_id(numbers)
        files = self.engram.files_by_id({chunk.file for chunk in chunks.values()})
        found = []
        for n, number in enumerate(numbers):
            chunk = chunks.get(number)
            if chunk is None or chunk.file not in files:
                continue
            file = files[chunk.file]
            body = self.engram.text(file, chunk) if text else ""
            found.append(hit(file, chunk, float(ranked.score[n]), float(ranked.vector[n]), matches(query, ranked, n), body))
        return found

    def _ranked(self, query: Query, *, most: int, masks: list[Any] | None, exact: bool) -> Ranked:
        found = find(self.index, query.dims, query.weights, most=most, masks=masks)
        return rank(self.index, query, found) if exact else unranked(found, query)

    def best_files(self, query: Query, most: int) -> list[tuple[int, float]]:
        """Return the numbers of the files whose sums fit the question best, with their scores, the best first."""
        if self._files is None or self._files.version != self.index.version:
            self._files = open_index(self.engram, FILES)
            if self._files.version != self.index.version:  # somebody wrote meanwhile: both move on together
                self.index = open_index(self.engram)
        found = find(self._files, query.dims, query.weights, most=most)
        numbers = [int(self._files.segments[s].file[r]) for s, r in zip(found.segment.tolist(), found.row.tolist(), strict=True)]
        return list(zip(numbers, found.score.tolist(), strict=True))

    def narrowed(self, query: Query, where: Filter | None, beam: int | None) -> list[Any] | None:
        """Return the rows of each segment that pass a filter and lie in the best files; None when all do."""
        if beam is None:
            return self.allowed(where)
        if beam < 1:
            raise InvalidRequest("beam must be at least 1.", param="beam")
        files = np.array(sorted(number for number, _ in self.best_files(query, beam)), np.int64)
        allowed = self.allowed(where)
        inside = [np.isin(segment.file, files) for segment in self.index.segments]
        return inside if allowed is None else [a & b for a, b in zip(allowed, inside, strict=True)]

    def allowed(self, where: Filter | None) -> list[Any] | None:
        """Return the rows of each segment that pass a filter, remembering those of the last one; None when all pass."""
        if where is None or where.empty:
            return None
        known = self._masks
        if known is None or known[:2] != (where, self.index.version):
            known = self._masks = (where, self.index.version, masks(self.engram, self.index, where))
        return known[2]


def unranked(found: Candidates, query: Query) -> Ranked:
    """Return candidates in the order of their vectors."""
    none = np.zeros((found.row.size, query.terms.size))
    return Ranked(
        segment=found.segment,
        row=found.row,
        score=found.score,
        vector=found.score,
        parts=none,
        counts=none,
        flags=none.astype(np.uint8),
    )


def matches(query: Query, ranked: Ranked, n: int) -> tuple[Match, ...]:
    """Return why candidate `n` was found, the weightiest term first."""
    found = [
        Match(
            term=query.stems[i],
            count=int(ranked.counts[n, i]),
            fields=tuple(name for bit, name in FIELDS if int(ranked.flags[n, i]) & bit),
            part=round(float(ranked.parts[n, i]), 4),
        )
        for i in np.flatnonzero(ranked.parts[n]).tolist()
    ]
    return tuple(sorted(found, key=lambda match: (-match.part, match.term)))


def hit(file: FileRow, chunk: ChunkRow, score: float, vector_score: float, why: Iterable[Match], text: str) -> Hit:
    """Return a passage as a result."""
    return Hit(
        score=round(score, 6),
        vector_score=round(vector_score, 6),
        chunk=chunk.id,
        path=file.path,
        source=file.source,
        title=file.title,
        type=file.type,
        symbol=chunk.symbol,
        heading=chunk.heading,
        ordinal=chunk.ordinal,
        byte_start=chunk.byte_start,
        byte_end=chunk.byte_end,
        line_start=chunk.line_start,
        line_end=chunk.line_end,
        version=file.born,
        sha256=file.sha256.hex(),
        matches=tuple(why),
        text=text,
    )
