"""How far the vectors of an engram are trusted beside its words: tried on questions made from the engram, without labels."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from prefrontal.knowledge.dense.blocks import Calibration, filling, folder_of, load, publish
from prefrontal.knowledge.dense.encoder import Encoder, checked, passage_text
from prefrontal.knowledge.dense.fuse import TRUST, fuse
from prefrontal.knowledge.dense.hybrid import pooled
from prefrontal.knowledge.dense.near import Near, open_near
from prefrontal.knowledge.dense.pseudo import Pseudo, pseudo
from prefrontal.knowledge.search.query import Query, understand
from prefrontal.knowledge.search.rank import contributions
from prefrontal.knowledge.search.searcher import CANDIDATES, Searcher

SAMPLES = 96
"""Questions that are made (assumed: the mean of so many places a weight to within a step or two)."""

SCANNED = 6
"""Passages that are looked at for each question: of some code few have a comment (assumed)."""

LEAST_SAMPLES = 12
WEIGHTS = np.round(np.arange(0.0, 1.01, 0.1), 1)
DOUBT = 2.0
"""Standard errors within which two weights count as equal; then the one nearer to `TRUST` is taken (assumed)."""

LEARNT_MOST = 0.3
"""Largest share of an encoder learnt from the engram: it has read the questions that are made (measured: without this bound both
together lose .019 nDCG on a set of code; with it they gain on every set)."""

FIRST_PAGE = float(np.sum(1.0 / np.log2(np.arange(2, 12))))
SURE = 2.0
"""Standard errors by which vectors must find more than chance does, to count at all (assumed)."""

PASSAGES_GROWN = 1.5
"""A calibration is made again when the engram has so many times the passages it had, or the inverse (assumed)."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of the candidates of one question; `target` is the row of the passage it was made from, which comes last."""

    lexical: Any
    dense: Any
    unrelated: float
    target: int


def calibrated(searcher: Searcher, near: Near, encoder: Encoder) -> Calibration:
    """Return how far vectors are trusted here. It depends on engram and encoder only."""
    tried = trials(searcher, near, encoder)
    lexical, dense = _mean(tried, 0.0), _mean(tried, 1.0)
    weight = min(best_weight(tried), LEARNT_MOST if encoder.info.learnt else 1.0)
    return Calibration(
        weight=weight,
        lexical=round(lexical, 4),
        dense=round(dense, 4),
        fused=round(_mean(tried, weight), 4),
        samples=len(tried),
        version=searcher.index.version,
        passages=searcher.index.count,
    )


def best_weight(tried: list[Trial]) -> float:
    """Return the weight that fits the trials: `TRUST` when there are too few, 0 when vectors find no more than chance would."""
    if len(tried) < LEAST_SAMPLES:
        return TRUST
    gains = np.array([[gain(one, float(weight)) for weight in WEIGHTS] for one in tried])
    means = gains.mean(axis=0)
    by_chance = float(np.mean([FIRST_PAGE / max(10, one.dense.size) for one in tried]))
    if means[-1] <= by_chance + SURE * gains[:, -1].std() / np.sqrt(len(tried)):
        return 0.0
    best = int(np.argmax(means))
    doubt = DOUBT * (gains[:, best, None] - gains).std(axis=0) / np.sqrt(len(tried))
    able = np.flatnonzero(means >= means[best] - doubt)
    return float(WEIGHTS[able[int(np.argmin(np.abs(WEIGHTS[able] - TRUST)))]])


def trials(searcher: Searcher, near: Near, encoder: Encoder) -> list[Trial]:
    """Ask the made-up questions; the passage of each is compared as if the question did not stand in it."""
    made = _made(searcher)
    if not made:
        return []
    info = encoder.info
    asked = checked(encoder.encode([one.question for _, _, one, _ in made]), len(made), info)
    left = checked(encoder.encode([text for _, _, _, text in made]), len(made), info)
    found = []
    for (segment, row, one, _), vector, rest in zip(made, asked, left, strict=True):
        trial = _trial(searcher, near, one, segment, row, vector, float(vector @ rest))
        if trial is not None:
            found.append(trial)
    return found


def gain(one: Trial, weight: float) -> float:
    """Return what finding the passage is worth at a weight: 1 for the first place, as in nDCG, 0 from the eleventh."""
    scores = fuse(one.lexical, one.dense, unrelated=one.unrelated, weight=weight).scores
    place = int((scores > scores[one.target]).sum() + (scores[: one.target] == scores[one.target]).sum())
    return float(1.0 / np.log2(place + 2)) if place < 10 else 0.0


def refresh(searcher: Searcher, encoder: Encoder) -> Calibration | None:
    """Calibrate an engram whose vectors are there, when it was not yet or has grown much, and keep the outcome beside it."""
    folder = folder_of(searcher.engram.path, encoder.info.name)
    near = open_near(folder, searcher.engram.meta.uid, searcher.index, encoder.info)
    if near is None or not near.covered:
        return None
    known = near.state.calibration
    if known is not None and 1 / PASSAGES_GROWN < (searcher.index.count or 1) / max(1, known.passages) < PASSAGES_GROWN:
        return known
    found = calibrated(searcher, near, encoder)
    with filling(folder):
        state = load(folder, searcher.engram.meta.uid, encoder.info)
        if state is not None:
            publish(folder, msgspec.structs.replace(state, calibration=found))
    return found


def _mean(tried: list[Trial], weight: float) -> float:
    return float(np.mean([gain(one, weight) for one in tried])) if tried else 0.0


def _made(searcher: Searcher) -> list[tuple[int, int, Pseudo, str]]:
    """Return questions from passages evenly spread over the engram, with where each stands and its text without the question."""
    places = [
        (number, int(row))
        for number, alive in enumerate(searcher.index.alive)
        for row in np.flatnonzero(alive)
    ]
    step = max(1, len(places) // (SCANNED * SAMPLES))
    made: list[tuple[int, int, Pseudo, str]] = []
    some = places[::step]
    chunks = searcher.engram.chunks_by_id(int(searcher.index.segments[s].chunk[r]) for s, r in some)
    files = searcher.engram.files_by_id(chunk.file for chunk in chunks.values())
    for segment, row in some:
        chunk = chunks.get(int(searcher.index.segments[segment].chunk[row]))
        if chunk is None or chunk.file not in files:
            continue
        file = files[chunk.file]
        one = pseudo(file, chunk, searcher.engram.text(file, chunk))
        if one is None:
            continue
        if one.named:
            file, chunk = msgspec.structs.replace(file, title=""), msgspec.structs.replace(chunk, heading="", symbol="")
        made.append((segment, row, one, passage_text(file, chunk, one.rest)))
    return made[:: max(1, len(made) // SAMPLES)][:SAMPLES]


def _trial(
    searcher: Searcher, near: Near, one: Pseudo, segment: int, row: int, vector: Any, similarity: float
) -> Trial | None:
    query = understand(one.question, searcher.index, searcher.tokenizer, searcher.shape)
    if not query.terms.size:
        return None
    pool = pooled(searcher, near, query, vector, mode="hybrid", most=CANDIDATES)
    other = ~((pool.found.segment == segment) & (pool.found.row == row))
    mine = _words_left(searcher, query, one, segment, row)
    dense = np.append(pool.dense[other], similarity)
    return Trial(
        lexical=np.append(pool.lexical[other], mine), dense=dense, unrelated=near.unrelated(vector), target=dense.size - 1
    )


def _words_left(searcher: Searcher, query: Query, one: Pseudo, segment: int, row: int) -> float:
    """Return the score by words of the passage without the question."""
    stems = searcher.tokenizer.stems(one.rest)
    counts = np.array([[stems.count(stem) for stem in query.stems]], np.float64)
    flags = np.zeros(counts.shape, np.uint8)
    lengths = np.array([len(stems)], np.float64)
    by_text = contributions(counts, flags, lengths, query.rarity, searcher.index.mean_length).sum()
    return float(by_text) * SPARSE_PART


SPARSE_PART = 1.35
"""What the sparse vector adds to a score by text, as a factor (assumed): it is not made anew for what is left of a passage."""
