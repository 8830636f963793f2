"""How good distributions are, and the temperature that makes them honest. Pure arithmetic over labelled answers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import msgspec

from prefrontal.contracts.outcome import Bucket, Calibrator, Measures, Slot

MIN_LABELLED = 200
"""Labelled answers below which nothing is fitted (specified: fewer make a temperature that is chance)."""

BINS = 10
"""Bins of the top probability, of equal width (specified: the usual number)."""

SURE = 0.9
"""From this top probability on an answer counts as one that was sure (assumed: where callers begin to act unseen)."""

LEAST = 1e-12
"""Probabilities below it count as it: one certain mistake must not outweigh everything (assumed)."""

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of a temperature (assumed: beyond them a distribution is one-hot or even)."""

STEPS = 60
"""Steps of the search; each keeps 0.618 of the interval, so the end is exact to 10⁻¹¹."""


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """One answer with the right option's index. probabilities: before any calibration. key: tells which half it belongs to."""

    probabilities: tuple[float, ...]
    option: int
    key: str = ""


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of a reliability diagram: mean top probability and share that was right, both [0, 1], of `count` answers."""

    low: float
    high: float
    count: int
    stated: float
    true: float


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """What fitting one slot came to. kept: whether the calibrator is better on what it was not fitted to; why: for people.

    temperature None: nothing was fitted. bins_before, bins_after: of the held-out half.
    """

    slot: Slot
    labelled: int
    kept: bool
    why: str
    temperature: float | None = None
    fitted: int = 0
    held_out: int = 0
    before: Measures | None = None
    after: Measures | None = None
    bins_before: tuple[Bin, ...] = ()
    bins_after: tuple[Bin, ...] = ()


def bucket_of(options: int) -> Bucket:
    """Return the bucket of a number of options (at least 1)."""
    if options <= 2:
        return "2"
    return "3-5" if options <= 5 else "6-10" if options <= 10 else "11+"


def tempered(probabilities: Sequence[float], temperature: float) -> tuple[float, ...]:
    """Return the distribution at a temperature above 0; the order of the options stays. At 1 it is the same to the bit."""
    if temperature == 1.0:
        return tuple(probabilities)
    top = max(probabilities)
    weights = [math.exp(math.log(one / top) / temperature) if one > 0.0 else 0.0 for one in probabilities]
    total = math.fsum(weights)
    return tuple([weight / total for weight in weights])


def nll(answers: Sequence[Labelled], temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood of the right options at a temperature, nats. Raises ValueError for no answers."""
    if not answers:
        raise ValueError("there are no labelled answers")
    return math.fsum([_loss(one, temperature) for one in answers]) / len(answers)


def _loss(answer: Labelled, temperature: float) -> float:
    logs = [math.log(max(LEAST, one)) / temperature for one in answer.probabilities]
    top = max(logs)
    return top + math.log(math.fsum([math.exp(log - top) for log in logs])) - logs[answer.option]


def fit_temperature(answers: Sequence[Labelled]) -> float:
    """Return the temperature with the least `nll`, within [COLDEST, HOTTEST].

    The loss is convex in 1/temperature, so a golden-section search finds the one minimum. Raises ValueError for no answers.
    """
    shrink = (math.sqrt(5.0) - 1.0) / 2.0
    low, high = 1.0 / HOTTEST, 1.0 / COLDEST
    left, right = high - shrink * (high - low), low + shrink * (high - low)
    at_left, at_right = nll(answers, 1.0 / left), nll(answers, 1.0 / right)
    for _ in range(STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - shrink * (high - low)
            at_left = nll(answers, 1.0 / left)
        else:
            low, left, at_left = left, right, at_right
            right = low + shrink * (high - low)
            at_right = nll(answers, 1.0 / right)
    return 2.0 / (low + high)


def reliability(answers: Sequence[Labelled], temperature: float = 1.0) -> tuple[Bin, ...]:
    """Return the bins of the top probability that hold answers, in rising order."""
    found: dict[int, list[tuple[float, bool]]] = {}
    for one in answers:
        probabilities = tempered(one.probabilities, temperature)
        top = max(probabilities)
        found.setdefault(min(BINS - 1, int(top * BINS)), []).append((top, probabilities.index(top) == one.option))
    return tuple(
        [
            Bin(
                low=place / BINS,
                high=(place + 1) / BINS,
                count=len(members),
                stated=math.fsum([top for top, _ in members]) / len(members),
                true=sum(right for _, right in members) / len(members),
            )
            for place, members in sorted(found.items())
        ]
    )


def measure(answers: Sequence[Labelled], temperature: float = 1.0) -> Measures:
    """Return how good the answers are at a temperature. Raises ValueError for no answers."""
    loss = nll(answers, temperature)
    count, right, sure, sure_wrong, brier = len(answers), 0, 0, 0, 0.0
    for one in answers:
        probabilities = tempered(one.probabilities, temperature)
        top = max(probabilities)
        is_right = probabilities.index(top) == one.option
        right += is_right
        sure += top >= SURE
        sure_wrong += top >= SURE and not is_right
        brier += math.fsum([(p - (place == one.option)) ** 2 for place, p in enumerate(probabilities)])
    ece = math.fsum([one.count * abs(one.stated - one.true) for one in reliability(answers, temperature)]) / count
    return Measures(count=count, accuracy=right / count, nll=loss, brier=brier / count, ece=ece, sure=sure, sure_wrong=sure_wrong)


def halves(answers: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Return the answers to fit to and those to judge on: by a digest of their keys, so that later labels move none across."""
    fit: list[Labelled] = []
    judge: list[Labelled] = []
    for one in answers:
        (fit if hashlib.blake2b(one.key.encode(), digest_size=1).digest()[0] % 2 else judge).append(one)
    return fit, judge


def fit_slot(slot: Slot, answers: Sequence[Labelled], *, least: int = MIN_LABELLED) -> Fit:
    """Fit a temperature to one half and judge it on the other; it is kept only if NLL and ECE are both lower there."""
    if len(answers) < least:
        return Fit(slot=slot, labelled=len(answers), kept=False, why=f"{len(answers)} labelled answers; {least} are needed")
    fit, judge = halves(answers)
    if not fit or not judge:
        return Fit(slot=slot, labelled=len(answers), kept=False, why="all labelled answers fell into one half")
    temperature = fit_temperature(fit)
    before, after = measure(judge), measure(judge, temperature)
    worse = [name for name, old, new in (("NLL", before.nll, after.nll), ("ECE", before.ece, after.ece)) if new >= old]
    return Fit(
        slot=slot,
        labelled=len(answers),
        kept=not worse,
        why="better on the held-out half" if not worse else f"{' and '.join(worse)} no better on the held-out half",
        temperature=temperature,
        fitted=len(fit),
        held_out=len(judge),
        before=before,
        after=after,
        bins_before=reliability(judge),
        bins_after=reliability(judge, temperature),
    )


def calibrator_of(fit: Fit, version: int, made_s: float) -> Calibrator:
    """Return the calibrator that a fit that was kept makes. Its id names slot and version."""
    assert fit.temperature is not None
    assert fit.before is not None
    assert fit.after is not None
    digest = hashlib.blake2b(msgspec.json.encode(fit.slot), digest_size=5).hexdigest()
    return Calibrator(
        id=f"cal_{digest}_v{version}",
        slot=fit.slot,
        version=version,
        temperature=fit.temperature,
        made_s=made_s,
        fitted=fit.fitted,
        held_out=fit.held_out,
        before=fit.before,
        after=fit.after,
    )
