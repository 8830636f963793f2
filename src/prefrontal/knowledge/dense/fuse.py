"""One score from two: what the words say and what the vectors say, each brought to the scale of its best."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

TRUST = 0.5
"""Share of the vectors in a fused score before an engram was calibrated (measured: within .003 of the best share on prose)."""

MARGIN = 1.0
"""How far a clearer lead moves a question's share from its engram's, in log-odds (measured on three sets with two encoders: it
costs .005 nDCG at most where the engram's share is right, and gives up to .017 where it is not)."""

LEAD = 10
"""The lead of a way is that of its first candidate over this one: what fills the first page."""


class Fused(msgspec.Struct, frozen=True, kw_only=True):
    """A score for each candidate, about 0 to 1, and the share of the vectors in it, [0, 1]."""

    scores: Any
    weight: float


def fuse(lexical: Any, dense: Any, *, unrelated: float, weight: float) -> Fused:
    """Return the fused score of each candidate.

    lexical: scores by words, 0 where none matches. dense: similarities; NaN for passages without a vector, which are judged by
    their words alone. unrelated: the similarity of any passage. weight: share of the vectors that the engram has, [0, 1]: this
    question's is moved from it towards the way whose best candidate leads more clearly; 0 and 1 stay.
    """
    if not lexical.size:
        return Fused(scores=np.zeros(0), weight=weight)
    words = np.maximum(lexical, 0.0) / max(float(lexical.max()), 1e-9)
    known = np.isfinite(dense)
    best = float(dense[known].max()) if known.any() else unrelated
    near = (np.where(known, dense, unrelated) - unrelated) / max(best - unrelated, 1e-9)
    if not known.any():
        return Fused(scores=words, weight=0.0)
    share = 1.0 if not words.any() else tilted(weight, lead(near[known]) - lead(words))
    return Fused(scores=np.where(known, (1.0 - share) * words + share * near, words), weight=share)


def tilted(weight: float, lead_of_vectors: float) -> float:
    """Return a question's share: the engram's, moved by how much more clearly the vectors' best leads; rising in both."""
    if not 0.0 < weight < 1.0:
        return weight
    return 1.0 / (1.0 + math.exp(-(math.log(weight / (1.0 - weight)) + MARGIN * lead_of_vectors)))


def lead(scores: Any) -> float:
    """Return how far the best score lies above the tenth, or the last one."""
    if not scores.size:
        return 0.0
    place = max(0, scores.size - LEAD)
    return float(scores.max() - np.partition(scores, place)[place])


def ranks(scores: Any) -> Any:
    """Return the place of each score, from 1 for the highest; 0 for NaN. Equal scores keep their order."""
    order = np.argsort(np.where(np.isfinite(scores), -scores, np.inf), kind="stable")
    out = np.empty(scores.size, np.int64)
    out[order] = np.arange(1, scores.size + 1)
    return np.where(np.isfinite(scores), out, 0)
