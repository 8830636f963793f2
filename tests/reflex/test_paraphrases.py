"""Of the committed paraphrases of real questions, at least nine in ten are taken and answered rightly.

Operands are drawn here and the expected values are computed here, with fractions, datetime, zoneinfo and a table of
definitions of units written out below; the product's own code is not used for them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from prefrontal.reflex.proposal import ReflexContext
from prefrontal.reflex.tools import Reflexes, builtin_reflexes

TEMPLATES: dict[str, list[str]] = yaml.safe_load((Path(__file__).parent / "paraphrases.yaml").read_text())
NOW = datetime(2026, 5, 13, 14, 20, tzinfo=ZoneInfo("America/Chicago"))
CONTEXT = ReflexContext(now_s=NOW.timestamp(), timezone="America/Chicago")
DRAWS = 4  # operand sets a template; it counts as right only if all are

# kind -> how many of the base unit one unit is, by definition of the units
FACTORS: dict[str, dict[str, int | str]] = {
    "length": {
        "kilometre": 1000, "metre": 1, "centimetre": "0.01", "mile": "1609.344", "foot": "0.3048", "inch": "0.0254",
    },
    "mass": {"kilogram": 1000, "gram": 1, "pound": "453.59237", "ounce": "28.349523125", "stone": "6350.29318"},
    "volume": {
        "litre": 1, "millilitre": "0.001", "gallon": "3.785411784", "fluid_ounce": "0.0295735295625", "cup": "0.2365882365",
        "tablespoon": "0.01478676478125", "teaspoon": "0.00492892159375",
    },
    "speed": {"mps": 3600, "kph": 1000, "mph": "1609.344", "knot": 1852},
    "area": {"square_metre": 1, "square_foot": "0.09290304", "acre": "4046.8564224", "hectare": 10000},
    "data": {"gigabyte": 10**9, "megabyte": 10**6, "gibibyte": 2**30, "mebibyte": 2**20},
    "energy": {"kilowatt_hour": 3600000, "megajoule": 1000000, "kilojoule": 1000, "kilocalorie": 4184},
    "pressure": {"bar": 100000, "psi": "6894.757293168361"},
    "time": {"minute": 60, "hour": 3600, "day": 86400, "week": 604800},
}  # fmt: skip
PLACES = {
    "Tokyo": "Asia/Tokyo", "London": "Europe/London", "New York": "America/New_York", "Sydney": "Australia/Sydney",
    "Berlin": "Europe/Berlin", "mumbai": "Asia/Kolkata", "Los Angeles": "America/Los_Angeles", "Singapore": "Asia/Singapore",
    "paris": "Europe/Paris", "Toronto": "America/Toronto", "Kathmandu": "Asia/Kathmandu",
}  # fmt: skip
MONTHS = [date(2024, month, 1).strftime("%B") for month in range(1, 13)]
WORDS = {12: "twelve", 7: "seven", 25: "twenty-five", 40: "forty", 116: "one hundred and sixteen", 90: "ninety"}

Drawn = tuple[dict[str, str], object]


def grouped(value: int, rng: random.Random) -> str:
    """Write an integer with or without separators."""
    return f"{value:,}" if rng.random() < 0.5 else str(value)


def amount(rng: random.Random, top: int = 5000) -> tuple[str, Fraction]:
    """Draw a positive number, sometimes with decimals."""
    value = rng.randint(2, top)
    if rng.random() < 0.3:
        text = f"{value}.{rng.randint(1, 99):02d}"
        return text, Fraction(text)
    return grouped(value, rng), Fraction(value)


def numbers(rng: random.Random, names: str, top: int = 999) -> tuple[dict[str, str], list[Fraction]]:
    """Draw one integer for each name."""
    drawn = [rng.randint(2, top) for _ in names]
    return {name: grouped(value, rng) for name, value in zip(names, drawn, strict=True)}, [Fraction(value) for value in drawn]


def percent(rng: random.Random, rule: Callable[[Fraction, Fraction], Fraction]) -> Drawn:
    """Draw a percentage and an amount."""
    share = rng.choice(["5", "12", "17.5", "20", "33", "8.25", "150", "75"])
    text, value = amount(rng)
    return {"p": share, "n": text}, rule(Fraction(share) / 100, value)


def of_two(rule: Callable[[Fraction, Fraction], Fraction]) -> Callable[[random.Random], Drawn]:
    """Make a kind with slots a and b."""

    def draw(rng: random.Random) -> Drawn:
        slots, (first, second) = numbers(rng, "ab")
        return slots, rule(first, second)

    return draw


def of_three(rule: Callable[[Fraction, Fraction, Fraction], Fraction]) -> Callable[[random.Random], Drawn]:
    """Make a kind with slots a, b and c."""

    def draw(rng: random.Random) -> Drawn:
        slots, (first, second, third) = numbers(rng, "abc", 99)
        return slots, rule(first, second, third)

    return draw


def of_one(rule: Callable[[int], object], low: int = 2, high: int = 400) -> Callable[[random.Random], Drawn]:
    """Make a kind with one integer in slots n and k."""

    def draw(rng: random.Random) -> Drawn:
        value = rng.randint(low, high)
        return {"n": str(value), "k": str(value)}, rule(value)

    return draw


def draw_power(rng: random.Random) -> Drawn:
    """Draw a small base and exponent."""
    base, exponent = rng.randint(2, 15), rng.randint(4, 9)
    return {"b": str(base), "e": str(exponent)}, Fraction(base**exponent)


def draw_remainder(rng: random.Random) -> Drawn:
    """Draw a dividend and a divisor."""
    value, divisor = rng.randint(20, 999), rng.randint(2, 17)
    return {"a": str(value), "k": str(divisor)}, Fraction(value % divisor)


def draw_words(rng: random.Random) -> Drawn:
    """Draw numbers in words: the two templates differ, so the expectation holds both."""
    first, second = rng.sample(sorted(WORDS), 2)
    return {"wa": WORDS[first], "wb": WORDS[second]}, {Fraction(first * second), Fraction(first + second * first)}


def written(day: date, rng: random.Random) -> str:
    """Write a date in one of the ways people do."""
    month = MONTHS[day.month - 1]
    ending = "th" if 10 < day.day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    return rng.choice(
        [
            day.isoformat(),
            f"{month} {day.day}, {day.year}",
            f"{day.day} {month} {day.year}",
            f"{month[:3]} {day.day}{ending} {day.year}",
        ]
    )


def past_day(rng: random.Random) -> date:
    """Draw a day between 1900 and last year."""
    return date(1900, 1, 1) + timedelta(days=rng.randint(0, 46000))


def draw_days(rng: random.Random) -> Drawn:
    """Draw two days."""
    first, second = sorted([past_day(rng), past_day(rng)])
    return {"d1": written(first, rng), "d2": written(second, rng)}, (second - first).days


def shifted(sign: int) -> Callable[[random.Random], Drawn]:
    """Make a kind that counts days on or back from a day."""

    def draw(rng: random.Random) -> Drawn:
        day, count = past_day(rng), rng.randint(2, 400)
        return {"d1": written(day, rng), "k": str(count)}, (day + sign * timedelta(days=count)).isoformat()

    return draw


def draw_months(rng: random.Random) -> Drawn:
    """Draw a day that every month has, and some months."""
    day, count = past_day(rng).replace(day=rng.randint(1, 28)), rng.randint(2, 40)
    index = day.year * 12 + day.month - 1 + count
    return {"d1": written(day, rng), "m": str(count)}, date(index // 12, index % 12 + 1, day.day).isoformat()


def of_day(rule: Callable[[date], object]) -> Callable[[random.Random], Drawn]:
    """Make a kind with one past day."""

    def draw(rng: random.Random) -> Drawn:
        day = past_day(rng)
        return {"d1": written(day, rng)}, rule(day)

    return draw


def draw_year(rng: random.Random) -> Drawn:
    """Draw a year and say whether it is a leap year."""
    year = rng.choice([1900, 2000, 2024, 2023, 2100, rng.randint(1700, 2200)])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return {"y": str(year)}, "yes" if leap else "no"


def draw_month_length(rng: random.Random) -> Drawn:
    """Draw a month of a year."""
    year, month = rng.randint(1900, 2100), rng.randint(1, 12)
    after = date(year + month // 12, month % 12 + 1, 1)
    return {"month": MONTHS[month - 1], "y": str(year)}, (after - date(year, month, 1)).days


def draw_month_day(rng: random.Random) -> Drawn:
    """Draw a day of the year and count to its next occurrence."""
    day = NOW.date() + timedelta(days=rng.randint(1, 300))
    return {"md": f"{MONTHS[day.month - 1]} {day.day}"}, (day - NOW.date()).days


def draw_lengths(rng: random.Random) -> Drawn:
    """Draw two lengths of time."""
    slots = {"h1": rng.randint(1, 9), "m1": rng.randint(1, 59), "h2": rng.randint(1, 9), "m2": rng.randint(1, 59)}
    total = (slots["h1"] + slots["h2"]) * 60 + slots["m1"] + slots["m2"]
    text = f"PT{total // 60}H" + (f"{total % 60}M" if total % 60 else "")
    return {name: str(value) for name, value in slots.items()}, text


def clock(minutes: int) -> str:
    """Write a time of day."""
    hour, minute = divmod(minutes, 60)
    half = "am" if hour < 12 else "pm"
    return f"{hour % 12 or 12}:{minute:02d} {half}" if minute else f"{hour % 12 or 12}{half}"


def draw_span(rng: random.Random) -> Drawn:
    """Draw two times of one day."""
    start = rng.randint(0, 10) * 60 + rng.choice([0, 15, 30])
    length = rng.randint(2, 40) * 15
    return {"t1": clock(start), "t2": clock(start + length)}, Fraction(length, 60)


def place_slots(rng: random.Random) -> tuple[dict[str, str], ZoneInfo, ZoneInfo]:
    """Draw two places."""
    first, second = rng.sample(sorted(PLACES), 2)
    return {"place": first, "place2": second}, ZoneInfo(PLACES[first]), ZoneInfo(PLACES[second])


def draw_now(rng: random.Random) -> Drawn:
    """Draw a place and tell its time."""
    slots, zone, _ = place_slots(rng)
    return slots, NOW.astimezone(zone).isoformat(timespec="minutes")


def draw_carried(rng: random.Random) -> Drawn:
    """Draw a time of day in one place; on the given day in the template that names one, else today in that place."""
    slots, zone, other = place_slots(rng)
    minutes, day = rng.randint(6, 23) * 60 + rng.choice([0, 30]), date(2026, rng.randint(1, 12), rng.randint(10, 20))
    expected = set()
    for on in (day, NOW.astimezone(zone).date()):
        there = datetime(on.year, on.month, on.day, minutes // 60, minutes % 60, tzinfo=zone).astimezone(other)
        expected.add(there.isoformat(timespec="minutes"))
    return slots | {"t1": clock(minutes), "d1": written(day, rng)}, expected


def draw_ahead(rng: random.Random) -> Drawn:
    """Draw two places and count how many hours the second is ahead of the first."""
    slots, zone, other = place_slots(rng)
    left, right = NOW.astimezone(zone).utcoffset(), NOW.astimezone(other).utcoffset()
    assert left is not None
    assert right is not None
    return slots, Fraction((right - left) // timedelta(minutes=1), 60)


def draw_apart(rng: random.Random) -> Drawn:
    """Draw two places and count the hours between their clocks."""
    slots, ahead = draw_ahead(rng)
    assert isinstance(ahead, Fraction)
    return slots, abs(ahead)


def years_since(day: date) -> int:
    """Count full years to now."""
    return NOW.year - day.year - ((NOW.month, NOW.day) < (day.month, day.day))


def draw_conversion(kind: str) -> Callable[[random.Random], Drawn]:
    """Make a kind "convert SOURCE TARGET"."""
    _, source, target = kind.split()

    def draw(rng: random.Random) -> Drawn:
        text, value = amount(rng, 300)
        if source == "fahrenheit":
            return {"x": text}, (value - 32) * Fraction(5, 9)
        if source == "celsius":
            return {"x": text}, value * Fraction(9, 5) + 32 if target == "fahrenheit" else value + Fraction("273.15")
        table = next(table for table in FACTORS.values() if source in table)
        return {"x": text}, value * Fraction(table[source]) / Fraction(table[target])

    return draw


def draw_height(rng: random.Random) -> Drawn:
    """Draw feet and inches."""
    feet, inches = rng.randint(4, 7), rng.randint(1, 11)
    return {"ft": str(feet), "inch": str(inches)}, (feet * 12 + inches) * Fraction("2.54")


def draw_square(rng: random.Random) -> Drawn:
    """Draw a number, a perfect square half of the time."""
    value = rng.randint(2, 40) ** 2 if rng.random() < 0.5 else rng.randint(2, 900)
    return {"n": str(value)}, Fraction(math.isqrt(value * 10**60), 10**30)


KINDS: dict[str, Callable[[random.Random], Drawn]] = {
    "percent_of": lambda rng: percent(rng, lambda share, value: share * value),
    "percent_of_money": lambda rng: percent(rng, lambda share, value: share * value),
    "percent_more": lambda rng: percent(rng, lambda share, value: value + share * value),
    "percent_less": lambda rng: percent(rng, lambda share, value: value - share * value),
    "what_percent": of_two(lambda a, b: a / b * 100),
    "percent_change": of_two(lambda a, b: (b - a) / a * 100),
    "square_root": draw_square,
    "cube_root": lambda rng: (lambda root: ({"n": str(root**3)}, Fraction(root)))(rng.randint(2, 30)),
    "power": draw_power,
    "square": of_one(lambda n: Fraction(n**2)),
    "cube": of_one(lambda n: Fraction(n**3)),
    "times": of_two(lambda a, b: a * b),
    "plus": of_two(lambda a, b: a + b),
    "minus": of_two(lambda a, b: a - b),
    "distance": of_two(lambda a, b: abs(a - b)),
    "divide": of_two(lambda a, b: a / b),
    "mixed": of_three(lambda a, b, c: a + b * c),
    "grouped": of_three(lambda a, b, c: (a + b) * c),
    "half": of_one(lambda n: Fraction(n, 2)),
    "double": of_one(lambda n: Fraction(2 * n)),
    "average": of_three(lambda a, b, c: (a + b + c) / 3),
    "factorial": of_one(lambda n: Fraction(math.factorial(n)), 3, 25),
    "remainder": draw_remainder,
    "gcd": of_two(lambda a, b: Fraction(math.gcd(int(a), int(b)))),
    "lcm": of_two(lambda a, b: Fraction(math.lcm(int(a), int(b)))),
    "words_times": draw_words,
    "height": draw_height,
    "days_between": draw_days,
    "date_plus": shifted(1),
    "date_minus": shifted(-1),
    "date_plus_months": draw_months,
    "from_today": of_one(lambda n: (NOW.date() + timedelta(days=n)).isoformat()),
    "ago": of_one(lambda n: (NOW.date() - timedelta(days=n)).isoformat()),
    "weekday": of_day(lambda day: day.strftime("%A")),
    "until_christmas": lambda _: ({}, (date(2026, 12, 25) - NOW.date()).days),
    "until_date": draw_month_day,
    "since": of_day(lambda day: (NOW.date() - day).days),
    "today": lambda _: ({}, "2026-05-13"),
    "tomorrow": lambda _: ({}, "2026-05-14"),
    "leap_year": draw_year,
    "age_days": of_day(lambda day: (NOW.date() - day).days),
    "age_years": of_day(years_since),
    "month_length": draw_month_length,
    "duration_sum": draw_lengths,
    "clock_span": draw_span,
    "now_in": draw_now,
    "time_there": draw_carried,
    "zone_difference": draw_apart,
    "zone_ahead": draw_ahead,
} | {kind: draw_conversion(kind) for kind in TEMPLATES if kind.startswith("convert ")}


def agrees(value: str, expected: object) -> bool:
    """Compare an answer's value: numbers to twelve digits or six decimals, everything else exactly."""
    if isinstance(expected, set):
        return any(agrees(value, one) for one in expected)
    if isinstance(expected, str):
        return value == expected
    assert isinstance(expected, int | Fraction)
    try:
        return abs(Fraction(value) - expected) <= max(abs(Fraction(expected)) / 10**11, Fraction(1, 10**9))
    except ValueError:
        return False


def failures(reflexes: Reflexes, seed: int) -> list[str]:
    """Ask every template with drawn operands, and describe those that were not taken or answered wrongly."""
    failed = []
    for kind, templates in TEMPLATES.items():
        for template in templates:
            rng = random.Random(f"{seed} {kind} {template}")
            for _ in range(DRAWS):
                slots, expected = KINDS[kind](rng)
                text = template.format(**slots)
                proposal = reflexes.propose(text, CONTEXT)
                answer = reflexes.answer(proposal, CONTEXT) if proposal is not None else None
                if answer is None or not agrees(answer.value, expected):
                    failed.append(f"{kind}: {text!r} -> {answer.text if answer else 'not taken'} (expected {expected})")
                    break
    return failed


def test_there_are_enough_paraphrases() -> None:
    """The committed list holds at least 220 different templates of known kinds."""
    templates = [template for group in TEMPLATES.values() for template in group]
    assert len(templates) >= 220
    assert len(set(templates)) == len(templates)
    assert set(TEMPLATES) <= set(KINDS)


@pytest.mark.parametrize("seed", [1, 20260513])
def test_nine_in_ten_paraphrases_are_taken_and_right(seed: int) -> None:
    """At least 90 % of the templates are answered rightly with drawn operands, and none of the rest wrongly."""
    failed = failures(builtin_reflexes(), seed)
    total = sum(map(len, TEMPLATES.values()))
    assert len(failed) <= total // 10, "\n".join(failed)
    assert [line for line in failed if "not taken" not in line] == []
