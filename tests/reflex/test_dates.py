"""Dates and durations: the calendar's edges, ambiguous dates, and the caller's own day."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from prefrontal.reflex.proposal import ReflexAnswer, ReflexContext
from prefrontal.reflex.tools import builtin_reflexes

REFLEXES = builtin_reflexes()
NOW_S = datetime(2026, 11, 20, 23, 30, tzinfo=UTC).timestamp()


def ask(text: str, zone: str = "UTC", locale: str = "en") -> ReflexAnswer | None:
    """Return the answer on November 20, 2026, half an hour before midnight UTC."""
    context = ReflexContext(now_s=NOW_S, timezone=zone, locale=locale)
    proposal = REFLEXES.propose(text, context)
    return REFLEXES.answer(proposal, context) if proposal is not None else None


def value(text: str, zone: str = "UTC", locale: str = "en") -> str | None:
    """Return the answer's value."""
    answer = ask(text, zone, locale)
    return None if answer is None else answer.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("how many days until Christmas?", "35"),
        ("how many days until March 5", "105"),
        ("how many days until February 29", "466"),
        ("days between 2024-02-28 and 2024-03-01", "2"),
        ("how many weeks until Christmas", "5"),
        ("how many months between 2020-01-15 and 2024-06-20", "53"),
        ("1 month after January 31, 2025", "2025-02-28"),
        ("90 days before 2025-03-01", "2024-12-01"),
        ("what day of the week was July 20, 1969", "Sunday"),
        ("what day of the week is christmas in 2027", "Saturday"),
        ("is 1900 a leap year", "no"),
        ("is 2000 a leap year?", "yes"),
        ("how many days in February 2028", "29"),
        ("when is easter 2027", "2027-03-28"),
        ("how many days left in the year", "41"),
        ("how old am I if I was born on November 21, 1990", "35"),
        ("how old am I if I was born on November 20, 1990", "36"),
        ("2h 45m + 1h 30m", "PT4H15M"),
        ("3 hours - 45 minutes", "PT2H15M"),
        ("convert 200 minutes to hours and minutes", "PT3H20M"),
        ("how long is it from 9:15 am to 5:40 pm", "8.4167"),
        ("what time is 3 hours after 10:30 pm", "01:30"),
        ("what is the unix timestamp", str(int(NOW_S))),
        ("what week number is it", "2026-W47"),
        ("what year is it", "2026"),
        ("when is the next leap year", "2028"),
        ("what was yesterday's date", "2026-11-19"),
        ("3 weeks from now", "2026-12-11"),
    ],
)
def test_dates_are_counted_rightly(text: str, expected: str) -> None:
    """Known questions have their value."""
    assert value(text) == expected


def test_today_is_the_callers_day() -> None:
    """Half an hour before midnight UTC it is already tomorrow in Tokyo; an unknown zone is no reason to guess."""
    assert value("what is today's date") == "2026-11-20"
    assert value("what is today's date", "Asia/Tokyo") == "2026-11-21"
    assert value("what is today's date", "Mars/Olympus") is None


def test_numeric_dates_are_read_where_only_one_order_is_possible() -> None:
    """Day and month may be swapped unless a number, a dot or the locale's country settles it."""
    question = "what day of the week was 03/04/2025"
    assert value(question) is None
    assert value(question, locale="en-US") == "Tuesday"
    assert value(question, locale="en-GB") == "Thursday"
    assert value("what day of the week was 25/12/2024") == value("what day of the week was 12/25/2024") == "Wednesday"
    assert value("what day of the week was 03.04.2025") == "Thursday"


@pytest.mark.parametrize(
    "text",
    [
        "what day of the week was February 30, 2024",
        "what day of the week was October 14, 1066",
        "how many days until 2020-01-01",
        "how many days since 2030-01-01",
        "how many days from December 20 to January 5",
        "how long from 10:00 to 2:00",
        "30m + 2h 1d",
        "999999 years after 2020-01-01",
        "how old am I if I was born in 1990",
        "what day is July 4th",
        "how many business days between 2025-01-01 and 2025-02-01",
        "2 hours and 30 minutes",
    ],
)
def test_missing_or_uncertain_days_are_left_to_a_model(text: str) -> None:
    """Days that do not exist, lie outside the certain calendar or have two readings are not answered."""
    assert value(text) is None


def test_assumed_years_are_said() -> None:
    """A date without a year is completed, and the sentence shows with which."""
    answer = ask("how many days between March 3 and April 10")
    assert answer is not None
    assert answer.value == "38"
    assert "2026" in answer.text
