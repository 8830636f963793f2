"""Unit conversions: exact factors, named assumptions, silence on ambiguous units."""

from __future__ import annotations

from fractions import Fraction

import pytest

from prefrontal.reflex.proposal import ReflexAnswer, ReflexContext
from prefrontal.reflex.tools import builtin_reflexes

REFLEXES = builtin_reflexes()
CONTEXT = ReflexContext(now_s=0.0)


def ask(text: str) -> ReflexAnswer | None:
    """Return the answer to a conversion."""
    proposal = REFLEXES.propose(text, CONTEXT)
    return REFLEXES.answer(proposal, CONTEXT) if proposal is not None else None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("convert 10 miles to km", "16.09344"),
        ("5'10\" in cm", "177.8"),
        ("5 in in cm", "12.7"),
        ("-40 F to C", "-40"),
        ("how many ounces in a pound?", "16"),
        ("8 oz in cups", "1"),
        ("8 oz in lb", "0.5"),
        ("10 m in seconds", "600"),
        ("1 1/2 cups in tablespoons", "24"),
        ("how many square feet in an acre", "43560"),
        ("100 Mbps in MB/s", "12.5"),
        ("11 stone 4 pounds in pounds", "158"),
        ("1 hour 30 minutes in seconds", "5400"),
        ("half a mile in meters", "804.672"),
        ("180 cm in feet and inches", "5 feet 10.9 inches"),
        ("how many days in a year", "365"),
        ("how many months in 3 years", "36"),
        ("1 metric ton in kg", "1000"),
        ("1 short ton in pounds", "2000"),
        ("1 imperial gallon in liters", "4.54609"),
    ],
)
def test_conversions_follow_the_definitions(text: str, value: str) -> None:
    """Known conversions have the value that the units' definitions give."""
    answer = ask(text)
    assert answer is not None
    assert answer.tool == "convert"
    assert answer.value == value


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("8 oz to ml", "US customary"),
        ("2 gallons in liters", "US customary"),
        ("how many MB in a GB", "powers of two it is 1024"),
        ("how many hours in a year", "leap year"),
    ],
)
def test_assumptions_are_named(text: str, named: str) -> None:
    """Where one reading is far more common, it is taken and said."""
    answer = ask(text)
    assert answer is not None
    assert named in answer.text


@pytest.mark.parametrize(
    "text",
    [
        "5 tons in kg",
        "100 calories in joules",
        "100 Mb in MB",
        "10 miles in kg",
        "10 euros in dollars",
        "100 pounds in dollars",
        "-5 miles in km",
        "-500 C to F",
        "5 feet 30 inches in cm",
        "10 km in km",
        "how many days in 3 months",
        "10 nm in m",
        "5-10 miles in km",
        "10k in miles",
    ],
)
def test_ambiguous_or_impossible_amounts_are_left_to_a_model(text: str) -> None:
    """Units with several readings, mixed dimensions, currencies and impossible amounts are not converted."""
    assert ask(text) is None


@pytest.mark.parametrize("amount", ["1", "0.001", "123,456.789", "3/7"])
@pytest.mark.parametrize(
    ("source", "target"), [("miles", "km"), ("pounds", "kg"), ("acres", "hectares"), ("psi", "bar"), ("kWh", "BTU")]
)
def test_converting_back_returns_the_amount(amount: str, source: str, target: str) -> None:
    """There and back again is the identity up to the digits shown."""
    there = ask(f"{amount} {source} in {target}")
    assert there is not None
    back = ask(f"{there.value} {target} in {source}")
    assert back is not None
    expected = Fraction(amount.replace(",", ""))
    assert abs(Fraction(back.value) - expected) <= expected / 10**12
