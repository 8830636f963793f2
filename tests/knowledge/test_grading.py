"""Scores of short answers, against figures worked out by hand."""

from __future__ import annotations

import pytest

from prefrontal.clock import Chance
from prefrontal.knowledge.grading import abstains, exact, f1, gain, holds, normalised


@pytest.mark.parametrize(
    ("answer", "gold", "is_exact", "words"),
    [
        ("Wilhelm Röntgen", ["wilhelm röntgen"], 1.0, 1.0),
        ("The Wilhelm Röntgen! [1]", ["Wilhelm Röntgen"], 1.0, 1.0),
        ("Wilhelm Conrad Röntgen", ["Wilhelm Röntgen"], 0.0, 0.8),  # precision 2/3, recall 1
        ("Röntgen of Germany", ["Wilhelm Conrad Röntgen , of Germany"], 0.0, 0.75),  # precision 1, recall 3/5
        ("the cat the cat", ["cat"], 0.0, 2 / 3),  # "cat cat": precision 1/2, recall 1
        ("no", ["yes", "no"], 1.0, 1.0),
        ("", ["yes"], 0.0, 0.0),
        ("anything", [], 0.0, 0.0),
    ],
)
def test_exact_match_and_f1(answer: str, gold: list[str], is_exact: float, words: float) -> None:
    """Case, articles, punctuation and citations do not count; the best of several right answers does."""
    assert exact(answer, gold) == is_exact
    assert f1(answer, gold) == pytest.approx(words)


@pytest.mark.parametrize("answer", ["unknown", "Unknown.", "I don't know.", "The passages do not say.", "", " [1] ", "None"])
def test_words_that_say_there_is_no_answer(answer: str) -> None:
    """In the words that models use."""
    assert abstains(answer)


@pytest.mark.parametrize("answer", ["The unknown soldier", "nonexistent", "None Such", "I know: 1871", "42"])
def test_words_that_are_an_answer(answer: str) -> None:
    """Though they begin alike."""
    assert not abstains(answer)


def test_a_text_holds_an_answer_word_for_word() -> None:
    """As whole words only."""
    assert holds("It was Marie Curie, in 1903.", ["marie curie"])
    assert not holds("It was Marie Curies sister", ["Marie Curie"])
    assert not holds("anything", [""])
    assert normalised("  The  Ünder-line ") == "ünder line"


def test_a_gain_has_an_interval_that_can_be_trusted() -> None:
    """The same difference everywhere has no width; noise around nothing holds zero; a seed repeats."""
    sure = gain([1.0] * 20, [0.0] * 20, Chance(1))
    assert (sure.mean, sure.low, sure.high) == (1.0, 1.0, 1.0)
    noise = gain([1.0, 0.0] * 50, [0.0, 1.0] * 50, Chance(1))
    assert noise.mean == 0.0
    assert noise.low < 0 < noise.high
    half = gain([1.0] * 50 + [0.0] * 50, [0.0] * 100, Chance(1))
    assert half.mean == 0.5
    assert half.low == pytest.approx(0.40, abs=0.03)  # half a standard error of 0.05 on each side, times 1.96
    assert half.high == pytest.approx(0.60, abs=0.03)
    assert half == gain([1.0] * 50 + [0.0] * 50, [0.0] * 100, Chance(1))
