"""When is a passage evidence? A threshold that each engram finds for itself, without anybody's labels."""

from __future__ import annotations

import msgspec
import numpy as np

from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.tokens import RUNS, STOP_WORDS

SAMPLES = 48
"""Made-up questions of each kind (assumed: places the threshold to within a few hundredths, in well under a second)."""

WORDS = 6
"""Words of a made-up question (assumed: what people ask has five to ten, stop words not counted)."""

LEAST, MOST = 0.3, 0.6
"""Bounds of the threshold, for engrams too small or too odd to find one (assumed)."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """`threshold`: evidence from which a passage counts. `answerable`, `unanswerable`: medians of the made-up questions."""

    threshold: float
    answerable: float
    unanswerable: float
    samples: int


def calibrate(searcher: Searcher) -> Calibration:
    """Return the engram's threshold. It depends on what the engram holds only, not on chance.

    Questions with an answer are words of one passage; questions without are words from as many different ones. The threshold
    lies between the evidence that the best passage gives to the one kind and to the other.
    """
    texts = _sample(searcher)
    if len(texts) < WORDS:
        return Calibration(threshold=LEAST, answerable=1.0, unanswerable=0.0, samples=len(texts))
    words = [spread for text in texts if len(spread := _spread(text)) == WORDS]
    if len(words) < WORDS:
        return Calibration(threshold=LEAST, answerable=1.0, unanswerable=0.0, samples=len(words))
    mixed = [[words[(n + i * 7 + 1) % len(words)][i] for i in range(WORDS)] for n in range(len(words))]
    good = [_best(searcher, " ".join([*some[: WORDS - 2], f"unheard{n}"])) for n, some in enumerate(words)]
    bad = [_best(searcher, " ".join(some)) for some in mixed]
    between = (float(np.percentile(good, 10)) + float(np.percentile(bad, 75))) / 2
    return Calibration(
        threshold=round(min(MOST, max(LEAST, between)), 4),
        answerable=round(float(np.median(good)), 4),
        unanswerable=round(float(np.median(bad)), 4),
        samples=len(words),
    )


def threshold(searcher: Searcher) -> float:
    """Return the engram's threshold, worked out once for each version a searcher sees."""
    if searcher.threshold is None:
        searcher.threshold = calibrate(searcher).threshold
    return searcher.threshold


def _sample(searcher: Searcher) -> list[str]:
    """Return the texts of passages evenly spread over the engram."""
    engram = searcher.engram
    numbers = [
        int(n) for s, mask in zip(searcher.index.segments, searcher.index.alive, strict=True) for n in s.chunk[mask].tolist()
    ]
    chosen = numbers[:: max(1, len(numbers) // SAMPLES)][:SAMPLES]
    chunks = engram.chunks_by_id(chosen)
    files = engram.files_by_id(chunk.file for chunk in chunks.values())
    return [engram.text(files[chunks[n].file], chunks[n]) for n in chosen if n in chunks]


def _spread(text: str) -> list[str]:
    """Return words from all over a text, each once."""
    words = list(dict.fromkeys(w for w in RUNS.findall(text.lower()) if len(w) > 2 and w not in STOP_WORDS and not w.isdigit()))
    return words[:: max(1, len(words) // WORDS)][:WORDS]


def _best(searcher: Searcher, question: str) -> float:
    return searcher.evidence(question, searcher.search(question, k=1, text=False))
