"""Temperatures: fitted by likelihood, kept only when better on what they were not fitted to, applied without moving a choice."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.contracts.decision import DecisionAnswer
from prefrontal.contracts.outcome import Slot
from prefrontal.decisions.calibration import (
    Labelled,
    bucket_of,
    calibrator_of,
    fit_slot,
    fit_temperature,
    halves,
    measure,
    nll,
    reliability,
    tempered,
)
from prefrontal.decisions.calibrators import UNCALIBRATED, Calibration
from prefrontal.decisions.distribution import confidence

SLOT = Slot(model="m", prompt_version="v1", kind="choice", bucket="3-5", source="logprobs")


def drawn(count: int, temperature: float, seed: int = 7) -> list[Labelled]:
    """Answers of a model whose honest probabilities were raised to 1/`temperature`: below 1 it is too sure of itself."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        logits = [chance.gauss(0, 1.5) for _ in range(4)]
        honest = [math.exp(one) for one in logits]
        total = sum(honest)
        honest = [one / total for one in honest]
        option = chance.choices(range(4), honest)[0]
        found.append(Labelled(probabilities=tempered(honest, temperature), option=option, key=f"r{number}"))
    return found


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(true: float) -> None:
    """A model too sure (or too shy) by a known factor gets the factor that undoes it."""
    assert fit_temperature(drawn(4000, true)) == pytest.approx(1.0 / true, rel=0.06)


def test_the_fit_is_the_minimum_of_the_loss() -> None:
    """No temperature of a fine grid has a lower loss."""
    answers = drawn(300, 0.5)
    best = fit_temperature(answers)
    assert nll(answers, best) <= min([nll(answers, 0.1 * 1.05**step) for step in range(100)]) + 1e-9


def test_an_overconfident_model_is_mended_and_kept() -> None:
    """NLL, ECE and Brier fall on the half that was not fitted to; accuracy stays; fewer wrong answers are sure."""
    fit = fit_slot(SLOT, drawn(1200, 0.4))
    assert fit.kept
    assert fit.before is not None
    assert fit.after is not None
    assert fit.after.nll < fit.before.nll
    assert fit.after.ece < fit.before.ece / 2
    assert fit.after.brier < fit.before.brier
    assert fit.after.accuracy == fit.before.accuracy
    assert fit.after.sure_wrong < fit.before.sure_wrong
    assert fit.fitted + fit.held_out == 1200


def test_nothing_is_kept_that_does_not_help() -> None:
    """An honest model, too few labels, and labels that all fell into one half: each says why."""
    honest = fit_slot(SLOT, drawn(400, 1.0, seed=3))
    assert not honest.kept
    assert "no better" in honest.why
    few = fit_slot(SLOT, drawn(199, 0.4))
    assert (few.kept, few.temperature) == (False, None)
    assert "200 are needed" in few.why
    same = [Labelled(probabilities=(0.9, 0.1), option=0, key="one") for _ in range(200)]
    assert "one half" in fit_slot(SLOT, same).why


def test_labels_that_come_later_move_none_across() -> None:
    """The half of an answer depends on its key alone, so what was judged on is never fitted to."""
    early, late = drawn(300, 0.5), drawn(600, 0.5)
    assert {one.key for one in halves(early)[0]} <= {one.key for one in halves(late)[0]}
    fit, judge = halves(late)
    assert abs(len(fit) - len(judge)) < 100


def test_measures_are_the_textbook_ones() -> None:
    """Three answers by hand."""
    answers = [
        Labelled(probabilities=(0.9, 0.1), option=0),
        Labelled(probabilities=(0.95, 0.05), option=1),
        Labelled(probabilities=(0.4, 0.6), option=1),
    ]
    found = measure(answers)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.nll == pytest.approx(-(math.log(0.9) + math.log(0.05) + math.log(0.6)) / 3)
    assert found.brier == pytest.approx((0.02 + 2 * 0.95**2 + 0.32) / 3)
    assert found.ece == pytest.approx((2 * abs(0.925 - 0.5) + abs(0.6 - 1)) / 3)
    assert (found.sure, found.sure_wrong) == (2, 1)
    assert [(one.low, one.count) for one in reliability(answers)] == [(0.6, 1), (0.9, 2)]
    with pytest.raises(ValueError, match="no labelled"):
        measure([])


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=9).filter(lambda given: sum(given) > 1e-6),
    st.floats(0.05, 20),
)
def test_a_temperature_keeps_the_order_and_the_sum(weights: list[float], temperature: float) -> None:
    """Whatever the distribution: the most probable stays so, it sums to 1, certain zeros stay zero."""
    total = sum(weights)
    before = [one / total for one in weights]
    after = tempered(before, temperature)
    assert math.fsum(after) == pytest.approx(1.0)
    assert after[before.index(max(before))] == max(after)
    assert all(new == 0.0 for old, new in zip(before, after, strict=True) if old == 0.0)


def answer(**fields: object) -> DecisionAnswer:
    known = {
        "index": 0,
        "id": "0",
        "kind": "choice",
        "values": ("a", "b", "c"),
        "probabilities": (0.9, 0.06, 0.04),
        "chosen": "a",
        "confidence": 0.85,
        "source": "logprobs",
        "model": "m",
        "prompt_version": "v1",
    }
    return DecisionAnswer(**{**known, **fields})


def test_an_answer_is_calibrated_by_its_own_slot_only() -> None:
    """Model, prompt version, kind, bucket and source must all be the same; rules and calibrated answers stay as they are."""
    found = calibrator_of(fit_slot(SLOT, drawn(1200, 0.4)), 3, 10.0)
    assert found.id.endswith("_v3")
    use = Calibration([found])
    mended = use.applied(answer())
    assert mended.calibrator == found.id
    assert mended.raw == (0.9, 0.06, 0.04)
    assert mended.chosen == "a"
    assert mended.probabilities == tempered((0.9, 0.06, 0.04), found.temperature)
    assert mended.confidence == confidence("choice", mended.probabilities) < 0.85
    assert use.applied(mended) is mended
    for other in ({"model": "n"}, {"prompt_version": "v2"}, {"source": "votes"}, {"kind": "score"}, {"source": "rule"}):
        unlike = answer(**other)
        assert use.applied(unlike) is unlike
    two = answer(values=("a", "b"), probabilities=(0.9, 0.1))
    assert use.applied(two) is two
    assert UNCALIBRATED.applied(answer()).calibrator is None


def test_another_set_has_another_digest() -> None:
    """What caches go by: empty without calibrators, another for another version, retired ones do not count."""
    first = calibrator_of(fit_slot(SLOT, drawn(1200, 0.4)), 1, 10.0)
    second = calibrator_of(fit_slot(SLOT, drawn(1200, 0.4)), 2, 10.0)
    assert UNCALIBRATED.digest == b""
    assert Calibration([first]).digest != Calibration([second]).digest
    import msgspec

    assert Calibration([msgspec.structs.replace(first, active=False)]).digest == b""


def test_buckets_are_those_of_the_engines() -> None:
    """2, 3 to 5, 6 to 10, 11 and more."""
    assert [bucket_of(n) for n in (2, 3, 5, 6, 10, 11, 255)] == ["2", "3-5", "3-5", "6-10", "6-10", "11+", "11+"]
