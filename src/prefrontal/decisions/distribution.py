"""Distributions over the options of a question, and what is read from them. Pure; every engine's answer goes through here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prefrontal.contracts.decision import Kind

Probabilities = tuple[float, ...]


def normalised(weights: Sequence[float]) -> Probabilities:
    """Return the weights made to sum to 1.

    Raises:
        ValueError: no weights, one that is negative or not finite, or all zero.
    """
    total = math.fsum(weights)
    if not math.isfinite(total) or total <= 0.0 or min(weights) < 0.0:
        raise ValueError("the weights of a distribution must be finite, not negative, and not all zero")
    scaled = [weight / total for weight in weights]
    if total < 1e-300 or total > 1e300:  # a sum near the ends of a float loses digits: once more from what came out
        again = math.fsum(scaled)
        scaled = [weight / again for weight in scaled]
    return tuple(scaled)


def uniform(options: int) -> Probabilities:
    """Return equal probabilities for so many options (at least 1)."""
    return (1.0 / options,) * options


def one_hot(options: int, index: int) -> Probabilities:
    """Return all probability on one option."""
    return tuple([1.0 if place == index else 0.0 for place in range(options)])


def stated(options: int, index: int, confidence: float) -> Probabilities:
    """Return the distribution whose chosen option has a stated probability and whose others share the rest.

    confidence: [0, 1]; below an equal share it is raised to one, so that the chosen option stays the most probable.
    """
    if options == 1:
        return (1.0,)
    top = min(1.0, max(confidence, 1.0 / options))
    rest = min(top, (1.0 - top) / (options - 1))  # rounding must not lift the others above the one chosen
    return tuple([top if place == index else rest for place in range(options)])


def mode(probabilities: Sequence[float]) -> int:
    """Return the index of the most probable option; of equal ones the first."""
    return probabilities.index(max(probabilities))


def expectation(kind: Kind, probabilities: Sequence[float]) -> float | None:
    """Return the expected level of a score, counted from 0; P(yes) of a yes_no, whose first option is yes; None of a choice."""
    if kind == "score":
        return math.fsum([place * weight for place, weight in enumerate(probabilities)])
    return probabilities[0] if kind == "yes_no" else None


def confidence(kind: Kind, probabilities: Sequence[float]) -> float:
    """Return how sure a distribution is, [0, 1]: 0 for an even one, 1 when one option has everything.

    Of a choice and a yes_no: the mode's lead over an equal share, as a part of the largest possible lead. Of a score: 1 less the
    mean distance from the mode, in units of the mean distance of levels from the middle; so near misses count less.
    """
    count = len(probabilities)
    if count == 1:
        return 1.0
    top = max(probabilities)
    if kind != "score":
        share = 1.0 / count
        return min(1.0, max(0.0, (top - share) / (1.0 - share)))
    place = probabilities.index(top)
    spread = math.fsum([weight * abs(index - place) for index, weight in enumerate(probabilities)])
    centre = (count - 1) / 2.0
    scale = math.fsum([abs(index - centre) for index in range(count)]) / count
    return min(1.0, max(0.0, 1.0 - spread / scale))


def from_logprobs(found: Sequence[float | None], floor: float | None) -> tuple[Probabilities, float, bool]:
    """Return distribution, label mass and whether it is only a bound, from the natural log-probability of each label.

    A label that the engine did not list (None) has at most the probability of the least one listed, `floor`; that bound is used
    for it. Label mass is the sum over the labels that were listed, at most 1.

    Raises:
        ValueError: no label was listed, or a number is not one.
    """
    listed = [math.exp(value) for value in found if value is not None]
    if not listed:
        raise ValueError("none of the labels is among the listed tokens")
    bound = math.exp(floor) if floor is not None else 0.0
    weights = [bound if value is None else math.exp(value) for value in found]
    return normalised(weights), min(1.0, math.fsum(listed)), len(listed) < len(weights)


def from_votes(counts: Sequence[int]) -> Probabilities:
    """Return vote shares, each option starting with half a vote so that a few samples do not claim certainty.

    Half a vote is Jeffreys' prior (specified: the usual choice where nothing is known).

    Raises:
        ValueError: no votes at all.
    """
    if not any(counts):
        raise ValueError("no votes were cast")
    return normalised([count + 0.5 for count in counts])


def averaged(distributions: Sequence[Sequence[float]]) -> Probabilities:
    """Return the mean of distributions over the same options. Raises ValueError when there is none."""
    if not distributions:
        raise ValueError("there is no distribution to average")
    return normalised([math.fsum(column) for column in zip(*distributions, strict=True)])
