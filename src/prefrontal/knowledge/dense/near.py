"""The passages nearest to a question's vector, of one version of an engram."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from prefrontal.errors import StoreError
from prefrontal.knowledge.dense.ann import Ann
from prefrontal.knowledge.dense.blocks import State, load, open_block
from prefrontal.knowledge.dense.encoder import EncoderInfo
from prefrontal.knowledge.index.index import Index
from prefrontal.knowledge.search.candidates import Candidates

ROWS_AT_ONCE = 8_192
"""Vectors made floats at a time: at 384 dimensions 12 MB (assumed)."""

SAMPLE = 1_000
"""Vectors whose mean similarity tells what an unrelated passage has (assumed)."""


class Near:
    """Vectors laid beside an index. Passages that the index does not have are never returned; some may have no vector yet."""

    def __init__(self, folder: Path, state: State, index: Index) -> None:
        self.state = state
        self.index = index
        self.blocks = [open_block(folder / name) for name in state.blocks]
        if any(block.rows.shape[1] != state.encoder.dim for block in self.blocks):
            raise StoreError("The vectors do not have the dimensions that their list names.")
        self._first = np.cumsum([0, *(block.chunk.size for block in self.blocks)])
        self._offset = np.cumsum([0, *(segment.size for segment in index.segments)])
        self._flat = self._laid()
        self._row = np.full(int(self._offset[-1]), -1, np.int64)
        living = np.flatnonzero(self._flat >= 0)
        self._row[self._flat[living]] = living
        self._all_living = living.size == self._flat.size
        self.covered = int((self._row >= 0).sum())
        self._ann = Ann(folder, state.encoder.dim) if state.ann else None
        self._middle = self._mean_vector(living)

    @property
    def size_bytes(self) -> int:
        """What the vectors take, on the disk or mapped."""
        return sum(block.rows.nbytes + 28 * block.chunk.size for block in self.blocks)

    @property
    def share(self) -> float:
        """Share of the passages that have a vector."""
        return self.covered / self.index.count if self.index.count else 0.0

    def unrelated(self, vector: Any) -> float:
        """Return the mean similarity of a passage."""
        return float(self._middle @ vector)

    def nearest(self, vector: Any, *, most: int, masks: list[Any] | None = None) -> Candidates:
        """Return the `most` passages with the highest dot product, the best first; equal ones in order of number."""
        wanted = None if masks is None else np.concatenate([*masks, np.zeros(0, bool)])
        rows, scores = self._candidates(np.asarray(vector, np.float32), most, wanted)
        flat = self._flat[rows]
        order = np.lexsort((flat, -scores))[:most]
        segment = np.searchsorted(self._offset, flat[order], "right") - 1
        return Candidates(segment=segment, row=flat[order] - self._offset[segment], score=scores[order].astype(np.float64))

    def scores(self, segment: Any, row: Any, vector: Any) -> Any:
        """Return the dot product of some passages; NaN for those without a vector."""
        out = np.full(len(segment), np.nan)
        at = self._row[self._offset[segment] + row] if len(segment) else np.zeros(0, np.int64)
        for number, block in enumerate(self.blocks):
            mine = np.flatnonzero((at >= self._first[number]) & (at < self._first[number + 1]))
            if mine.size:
                out[mine] = block.dense(at[mine] - self._first[number]) @ np.asarray(vector, np.float32)
        return out

    def _candidates(self, vector: Any, most: int, wanted: Any) -> tuple[Any, Any]:
        """Return rows with their scores, among them the best `most` of each stretch."""
        rows, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        start = 0
        if self._ann is not None and wanted is None and self._ann.usable:
            start = self.state.ann
            found = self._ann.search(vector, 2 * most)
            found = found[(found < start) & (self._flat[np.minimum(found, self._flat.size - 1)] >= 0)]
            flat = self._flat[found]
            segment = np.searchsorted(self._offset, flat, "right") - 1
            rows.append(found)
            scores.append(self.scores(segment, flat - self._offset[segment], vector).astype(np.float32))
        for number, block in enumerate(self.blocks):
            base = int(self._first[number])
            for at in range(max(0, start - base), block.chunk.size, ROWS_AT_ONCE):
                part = slice(at, min(at + ROWS_AT_ONCE, block.chunk.size))
                some = (block.rows[part].astype(np.float32) @ vector) * block.scale[part]
                best = self._best(some, self._flat[base + part.start : base + part.stop], most, wanted)
                rows.append(best + base + at)
                scores.append(some[best])
        return np.concatenate(rows), np.concatenate(scores)

    def _best(self, scores: Any, flat: Any, most: int, wanted: Any) -> Any:
        if wanted is not None or not self._all_living:
            able = flat >= 0
            if wanted is not None:
                able &= wanted[np.maximum(flat, 0)]
            rows = np.flatnonzero(able)
        else:
            rows = np.arange(scores.size)
        if rows.size <= most:
            return rows
        least = np.partition(scores[rows], rows.size - most)[rows.size - most]
        return rows[scores[rows] >= least]

    def _laid(self) -> Any:
        """Return for each vector the place of its passage among all rows of the index; -1: the index does not have it."""
        flat = np.full(int(self._first[-1]), -1, np.int64)
        chunks = [np.zeros(0, np.int64)]
        places = [np.zeros(0, np.int64)]
        for number, (segment, alive) in enumerate(zip(self.index.segments, self.index.alive, strict=True)):
            rows = np.flatnonzero(alive)
            chunks.append(segment.chunk[rows])
            places.append(rows + self._offset[number])
        chunk, place = np.concatenate(chunks), np.concatenate(places)
        order = np.argsort(chunk, kind="stable")
        chunk, place = chunk[order], place[order]
        taken = np.zeros(chunk.size, bool)
        for number in range(len(self.blocks) - 1, -1, -1):  # of two vectors of a passage the newer one counts
            mine = self.blocks[number].chunk
            if not chunk.size or not mine.size:
                continue
            at = np.minimum(np.searchsorted(chunk, mine), chunk.size - 1)
            known = (chunk[at] == mine) & ~taken[at]
            taken[at[known]] = True
            flat[self._first[number] : self._first[number + 1]][known] = place[at[known]]
        return flat

    def _mean_vector(self, living: Any) -> Any:
        some = living[:: max(1, living.size // SAMPLE)]
        total = np.zeros(self.state.encoder.dim, np.float64)
        for number, block in enumerate(self.blocks):
            mine = some[(some >= self._first[number]) & (some < self._first[number + 1])] - self._first[number]
            total += block.dense(mine).sum(axis=0, dtype=np.float64)
        return total / max(1, some.size)


def open_near(folder: Path, uid: str, index: Index, encoder: EncoderInfo | None = None) -> Near | None:
    """Return the vectors beside an index; None when there are none by that encoder, or they cannot be read."""
    for _ in range(3):  # blocks may be joined between reading the list and opening them
        state = load(folder, uid, encoder)
        if state is None:
            return None
        try:
            return Near(folder, state, index)
        except StoreError:
            continue
    return None
