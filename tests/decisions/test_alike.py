"""States that mean the same are found, near twins are not; figures are taken on the half that nothing was chosen on."""

from __future__ import annotations

from collections import Counter

import pytest

from prefrontal.decisions.alike import MOST_ROOM, Alike
from prefrontal.testing.likeness import paraphrases, twins

LEAST = 0.8


@pytest.fixture(scope="module")
def alike() -> Alike:
    return Alike()


def test_near_twins_are_kept_apart_and_paraphrases_found(alike: Alike):
    """At most 1 % false hits on at least 300 near twins, at least 50 % hits on at least 300 paraphrases, on the test half."""
    false, same = list(twins("test")), list(paraphrases("test"))
    assert min(len(false), len(same)) >= 300
    assert min(Counter(pair.category for pair in false).values()) >= 300
    wrong = [pair for pair in false if alike.likeness(pair.first, pair.second) >= LEAST]
    found = [pair for pair in same if alike.likeness(pair.first, pair.second) >= LEAST]
    assert len(wrong) / len(false) <= 0.01, wrong[:5]
    assert len(found) / len(same) >= 0.5


def test_never_across_rooms(alike: Alike):
    """Tenants, roles and types are rooms: the very same words are not found in another one."""
    crossed = 0
    for number, pair in enumerate(paraphrases("test")):
        alike.add(b"tenant one", pair.first, f"kept {number}")
        crossed += alike.find(b"tenant two", pair.first, 0.0) is not None
    assert crossed == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Anna asks for a refund of the laptop", "Please refund Anna for the laptop", True),
        ("Anna reported Bernd to the board today", "Bernd reported Anna to the board today", False),
        ("Move 3 boxes to hall 5 this week", "Move 5 boxes to hall 3 this week", False),
        ("Move three boxes to the hall now", "Move 3 boxes to the hall now", True),
        ("Release v1.2.3 is ready for review", "Release v1.2.4 is ready for review", False),
        ("Write to anna@example.com about it today", "Write to anne@example.com about it today", False),
        ("The door isn't open for visitors", "The door is not open for visitors", True),
        ("The door is open for visitors", "The door is not open for visitors", False),
        ("All tests of the build are green", "Some tests of the build are green", False),
        ("The build is blocked by the tests", "The build was blocked by the tests", False),
        ("It may rain on the party today", "It will rain on the party today", False),
        ("Ship the order before the holiday", "Ship the order after the holiday", False),
    ],
)
def test_guards(alike: Alike, one: str, other: str, same: bool):
    """One word changes what a sentence means."""
    assert (alike.likeness(one, other) >= 0.7) == same


def test_values_of_json_must_be_equal():
    """Short texts are values; sentences may be worded differently; keys and numbers count."""
    alike = Alike()
    told = {"status": "blocked", "age": 3, "note": "Anna asks for a refund of the laptop"}
    alike.add(b"r", told, "kept")
    assert alike.find(b"r", {**told, "note": "Please refund Anna for the laptop"}, 0.6) == "kept"
    assert alike.find(b"r", {**told, "status": "done"}, 0.6) is None
    assert alike.find(b"r", {**told, "age": 4}, 0.6) is None
    assert alike.find(b"r", {**told, "more": 1}, 0.6) is None


def test_rooms_are_bounded_and_forget():
    """The longest unused go; what the cache lets go is not found any more."""
    alike = Alike()
    letters = "abcdefghijklmnopqrst"
    states = [f"The part {one}{two} is missing from the shelf" for one in letters for two in letters][: MOST_ROOM + 20]
    for number, state in enumerate(states):
        alike.add(b"r", state, str(number))
    assert alike.find(b"r", states[0], 0.9) is None
    assert alike.find(b"r", states[-1], 0.9) == str(MOST_ROOM + 19)
    alike.forget(str(MOST_ROOM + 19))
    assert alike.find(b"r", states[-1], 0.9) is None
