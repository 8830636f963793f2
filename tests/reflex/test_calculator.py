"""The calculator: exact, bounded, and silent where two readings are left."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.reflex.expressions import Unanswerable, evaluate, integer_root, tokenize
from prefrontal.reflex.numerals import decimal, parse_number, rounded, with_digits
from prefrontal.reflex.proposal import ReflexContext
from prefrontal.reflex.tools import builtin_reflexes

REFLEXES = builtin_reflexes()
CONTEXT = ReflexContext(now_s=0.0)


def ask(text: str, locale: str = "en") -> str | None:
    """Return the value of the calculator's answer, None if there is none."""
    context = ReflexContext(now_s=0.0, locale=locale)
    proposal = REFLEXES.propose(text, context)
    answer = REFLEXES.answer(proposal, context) if proposal is not None else None
    assert answer is None or answer.tool == "calculator"
    return None if answer is None else answer.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("what is 17.5% of 2,340?", "409.5"),
        ("0.1 + 0.2", "0.3"),
        ("1,00,000 + 1", "100001"),
        ("100 / 7", "14.2857142857"),
        ("2^0.5", "1.41421356237"),
        ("sqrt(2) * sqrt(2)", "2"),
        ("8^(1/3)", "2"),
        ("-5 + 3", "-2"),
        ("5 - -3", "8"),
        ("10 - 3 - 2", "5"),
        ("2^100", str(2**100)),
        ("10^-3", "0.001"),
        ("5!", "120"),
        ("calculate 3/4", "0.75"),
        ("what is 3 / 4", "0.75"),
        ("what is 100-37", "63"),
        ("twenty-five percent of two hundred and eighty", "70"),
        ("a million divided by a thousand", "1000"),
        ("percentage decrease from 80 to 60", "25"),
        ("percent change from 80 to 60", "-25"),
        ("three quarters of 80", "60"),
        ("0.75 as a fraction", "3/4"),
        ("gcd of 36 and 24", "12"),
        ("median of 5, 1 and 9", "5"),
        ("average of 1,200 and 300", "750"),
    ],
)
def test_results_are_exact(text: str, value: str) -> None:
    """Known questions have their exact or correctly rounded value."""
    assert ask(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "2^3^2",
        "-3^2",
        "2(3)",
        "10 % 3",
        "50 + 10% + 3",
        "1/0",
        "0^0",
        "sqrt(-4)",
        "9^9^9",
        "7^100000",
        "121!",
        "1,5 + 2",
        "what is 3/4",
        "9/11",
        "what is 4x4",
        "2020 - 2021",
        "555-1234",
        "average of 100,200",
        "square root of 16 plus 9",
        "one two plus three",
        "gcd of 0 and 5",
        "sum of one hundred and two",
    ],
)
def test_ambiguous_undefined_or_huge_is_left_to_a_model(text: str) -> None:
    """Where two readings are left, or no bounded result exists, the calculator abstains."""
    assert ask(text) is None


def test_the_reading_is_shown() -> None:
    """What was assumed about a percentage in a sum stands in the sentence, and money keeps its sign and cents."""
    proposal = REFLEXES.propose("$80.50 + 10%", CONTEXT)
    assert proposal is not None
    answer = REFLEXES.answer(proposal, CONTEXT)
    assert answer is not None
    assert answer.text == "$80.50 plus 10% of it is $88.55"
    assert answer.value == "88.55"


def test_a_comma_in_a_number_is_read_only_in_english() -> None:
    """With another language a comma may separate decimals, so the same text is left to a model."""
    assert ask("1,500 + 1", "en-US") == "1501"
    assert ask("1,500 + 1", "de-DE") is None
    assert ask("1500 + 1", "de-DE") == "1501"


NUMBERS = st.one_of(
    st.integers(0, 99_999).map(str), st.integers(1000, 9_999_999).map(lambda n: f"{n:,}"), st.decimals(0, 1000, places=3).map(str)
)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> tuple[str, Fraction]:
    """Draw an expression in text, and its value by Fraction arithmetic."""
    if depth == 0 or draw(st.booleans()):
        text = draw(NUMBERS)
        return text, Fraction(text.replace(",", ""))
    left, left_value = draw(expressions(depth - 1))
    right, right_value = draw(expressions(depth - 1))
    operator = draw(st.sampled_from(["+", "-", "*", "/", "×", "÷", " plus ", " minus ", " times ", " divided by "]))
    if operator in ("/", "÷", " divided by ") and not right_value:
        operator = "+"
    text = f"({left}){operator}({right})"
    if operator in ("+", " plus "):
        return text, left_value + right_value
    if operator in ("-", " minus "):
        return text, left_value - right_value
    return (text, left_value * right_value) if operator in ("*", "×", " times ") else (text, left_value / right_value)


@given(expressions())
def test_expressions_equal_fraction_arithmetic(drawn: tuple[str, Fraction]) -> None:
    """Evaluation is exact: it equals arithmetic on fractions for every generated expression."""
    text, expected = drawn
    tokens = tokenize(text)
    assert tokens is not None
    result = evaluate(tokens)
    assert result.exact
    assert result.value == expected


@given(st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 999)), min_size=1, max_size=8), st.integers(1, 999))
def test_precedence_is_that_of_school(steps: list[tuple[str, int]], first: int) -> None:
    """Without parentheses, products come before sums and equal operators go from left to right."""
    text = str(first) + "".join(f" {operator} {number}" for operator, number in steps)
    tokens = tokenize(text)
    assert tokens is not None
    expected = eval(" ".join(f"Fraction({part})" if part.isdigit() else part for part in text.split()))
    assert evaluate(tokens).value == expected


@given(st.text(max_size=80))
def test_no_text_makes_the_calculator_fail(text: str) -> None:
    """Any text is read as an expression, refused, or no arithmetic at all; nothing else happens."""
    tokens = tokenize(text)
    if tokens:
        try:
            evaluate(tokens)
        except Unanswerable:
            pass


@given(st.integers(0, 10**60), st.integers(2, 12))
def test_integer_roots_are_the_largest_that_fit(value: int, degree: int) -> None:
    """The root's power is at most the value, and the next root's is more."""
    root = integer_root(value, degree)
    assert root**degree <= value < (root + 1) ** degree


@given(st.fractions(-(10**9), 10**9), st.integers(0, 12))
def test_decimals_are_rounded_to_the_nearest(value: Fraction, places: int) -> None:
    """A shown decimal is off by at most half a unit of its last place."""
    assert abs(Fraction(decimal(value, places)) - value) <= Fraction(1, 2 * 10**places)
    text, exact = rounded(value, 12)
    assert exact == (Fraction(text) == value)


@pytest.mark.parametrize(
    ("words", "digits"),
    [
        ("one hundred and sixteen", "116"),
        ("two thousand three hundred forty-five", "2345"),
        ("2.5 million", "2500000"),
        ("one two", "one two"),
        ("thirty fifteen", "thirty fifteen"),
        ("twelve and one", "twelve and one"),
        ("a hundred", "100"),
    ],
)
def test_number_words_are_read_only_as_one_number(words: str, digits: str) -> None:
    """Words that are one number become digits; a list of numbers stays as it is."""
    assert with_digits(words) == digits


def test_mixed_numbers_are_read() -> None:
    """The text "1 1/2" is one and a half."""
    assert parse_number("1 1/2") == Fraction(3, 2)
