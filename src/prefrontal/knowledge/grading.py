"""Judging short answers: exact match, F1 of words, abstention, and whether a difference is more than luck."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import msgspec

from prefrontal.clock import Chance

ROUNDS = 2000
"""Samples of a bootstrap (assumed: enough for two digits of an interval's ends)."""

CITED = re.compile(r"\[\d{1,4}(?:\s*[,;–-]\s*\d{1,4})*\]")
ARTICLES = re.compile(r"\b(?:a|an|the)\b")
ABSTAINS = re.compile(
    r"^(?:unknown|none|not known|no answer|not enough information)$|^(?:i do not know|i dont know|i don t know|cannot be answered"
    r"|passages? do(?:es)? not (?:say|hold|contain|mention)|there is no answer)\b"
)


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """Mean difference of paired scores, with the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def normalised(text: str) -> str:
    """Return an answer without case, punctuation, articles, citations and spare space: what two answers are compared by."""
    plain = unicodedata.normalize("NFKC", CITED.sub(" ", text)).lower()
    words = "".join(sign if sign.isalnum() else " " for sign in plain)
    return " ".join(ARTICLES.sub(" ", words).split())


def exact(answer: str, gold: Sequence[str]) -> float:
    """Return 1 when the answer is one of the right ones, else 0."""
    return float(any(normalised(answer) == normalised(one) for one in gold))


def f1(answer: str, gold: Sequence[str]) -> float:
    """Return the best harmonic mean of precision and recall of words over the right answers, in [0, 1]."""
    return max([_f1(normalised(answer).split(), normalised(one).split()) for one in gold], default=0.0)


def abstains(answer: str) -> bool:
    """Return whether an answer says that it is none."""
    plain = normalised(answer)
    return not plain or ABSTAINS.match(plain) is not None


def holds(text: str, gold: Sequence[str]) -> bool:
    """Return whether a text has one of the right answers in it, word for word."""
    body = f" {normalised(text)} "
    return any(f" {normalised(one)} " in body for one in gold if normalised(one))


def gain(scores: Sequence[float], base: Sequence[float], chance: Chance, rounds: int = ROUNDS) -> Gain:
    """Return by how much `scores` are above `base`, question by question, from a paired bootstrap.

    Both are in the same order and not empty.
    """
    difference = [one - other for one, other in zip(scores, base, strict=True)]
    n = len(difference)
    means = sorted(sum([difference[int(chance.random() * n)] for _ in range(n)]) / n for _ in range(rounds))
    low, high = means[int(0.025 * rounds)], means[min(rounds - 1, int(0.975 * rounds))]
    return Gain(mean=round(sum(difference) / n, 4), low=round(low, 4), high=round(high, 4))


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    common = sum((Counter(answer) & Counter(gold)).values())
    return 2 * common / (len(answer) + len(gold))
