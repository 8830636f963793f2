"""An assessment costs a tenth of a millisecond at 1 KB and at most a millisecond at 100 KB."""

import timeit

import pytest

from prefrontal.assess.assessor import assess

PROSE = (
    "Please read what follows, and then tell me what the harbour master should do next and why. "
    "The ferry was late again on Tuesday; 42 passengers missed the 9:15 train, and three of them wrote to us. "
)
CODE = "def total(rows):\n    return sum(row['price'] * row.get('count', 1) for row in rows if row is not None)\n\n"
NOISY_FACTOR = 3
"""A busy machine may be this much slower than the bound (the project's rule for timing tests)."""


def best_seconds(action, number):
    return min(timeit.repeat(action, number=number, repeat=7)) / number


@pytest.mark.parametrize("unit", [PROSE, CODE, "Вопрос о погоде и о дороге домой. "])
def test_one_kilobyte_takes_a_tenth_of_a_millisecond(rules, ask, unit):
    """The cost on 1 KB stays within 0.1 ms, times the factor for noise."""
    request = ask((unit * 40)[:1_000])
    assert best_seconds(lambda: assess(request, input_tokens=250, rules=rules), 30) <= 0.1e-3 * NOISY_FACTOR


@pytest.mark.parametrize("unit", [PROSE, CODE, "\n", "a: ", "$ ", "x " * 9 + "\n- ", "(A) "])
def test_a_hundred_kilobytes_take_a_millisecond(rules, ask, unit):
    """The cost on 100 KB stays within 1 ms, times the factor for noise, also for texts made to be slow."""
    request = ask((unit * 100_000)[:100_000])
    assert best_seconds(lambda: assess(request, input_tokens=25_000, rules=rules), 5) <= 1e-3 * NOISY_FACTOR
