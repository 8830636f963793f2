"""Time zones: places with one meaning, and local times that happen exactly once."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from prefrontal.reflex.places import Places
from prefrontal.reflex.proposal import ReflexContext
from prefrontal.reflex.tools import builtin_reflexes

REFLEXES = builtin_reflexes()
WINTER_S = datetime(2026, 1, 15, 12, 0, tzinfo=UTC).timestamp()
SUMMER_S = datetime(2026, 7, 15, 12, 0, tzinfo=UTC).timestamp()


def ask(text: str, now_s: float = WINTER_S) -> str | None:
    """Return the answer's value."""
    context = ReflexContext(now_s=now_s, timezone="Europe/Paris")
    proposal = REFLEXES.propose(text, context)
    answer = REFLEXES.answer(proposal, context) if proposal is not None else None
    return None if answer is None else answer.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what time is it", "2026-01-15T13:00+01:00"),
        ("what time is it in Tokyo?", "2026-01-15T21:00+09:00"),
        ("time in New York right now", "2026-01-15T07:00-05:00"),
        ("what time is it in Paris, France?", "2026-01-15T13:00+01:00"),
        ("current time in UTC", "2026-01-15T12:00+00:00"),
        ("3pm London time in New York", "2026-01-15T10:00-05:00"),
        ("convert 3pm London time to New York time on 2026-03-20", "2026-03-20T11:00-04:00"),
        ("9am PST in London", "2026-01-15T17:00+00:00"),
        ("what is the time difference between London and Kathmandu", "5.75"),
        ("how many hours ahead of Tokyo is London", "-9"),
        ("how many hours behind Tokyo is London", "9"),
        ("what time zone is Chicago in", "America/Chicago"),
        ("when it is 11pm in Los Angeles, what time is it in Sydney", "2026-01-16T18:00+11:00"),
    ],
)
def test_local_times_are_right(text: str, expected: str) -> None:
    """Known questions have their value on January 15, 2026 at noon UTC."""
    assert ask(text) == expected


def test_summer_time_is_followed() -> None:
    """The same question has another answer in summer, and winter's abbreviation is not accepted for a summer day."""
    assert ask("what time is it in London") == "2026-01-15T12:00+00:00"
    assert ask("what time is it in London", SUMMER_S) == "2026-07-15T13:00+01:00"
    assert ask("3pm EST in London") == "2026-01-15T20:00+00:00"
    assert ask("3pm EST in London", SUMMER_S) is None
    assert ask("3pm EDT in London", SUMMER_S) == "2026-07-15T20:00+01:00"


@pytest.mark.parametrize(
    "text",
    [
        "convert 2:30 am New York time to London time on 2025-03-09",
        "convert 1:30 am New York time to London time on 2025-11-02",
        "what time is it in Portland",
        "what time is it in London, Ontario",
        "what time is it in the USA",
        "3pm IST in London",
        "what time is it in Narnia",
        "3pm London time in New York on 03/04/2026",
    ],
)
def test_skipped_repeated_and_ambiguous_times_are_left_to_a_model(text: str) -> None:
    """An hour that does not exist or happens twice, and a place or date with several meanings, are not answered."""
    assert ask(text) is None


def test_every_named_place_has_a_zone() -> None:
    """Each name in the table leads to a zone of the database."""
    places = Places()
    for zone in {places._zone_of(name) for name in places._zones}:
        assert zone is not None
        assert ZoneInfo(zone).key == zone
