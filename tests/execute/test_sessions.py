"""Where conversations were answered, remembered within bounds."""

from __future__ import annotations

from prefrontal.execute.sessions import MAX_NAME, Sessions
from prefrontal.plan.inputs import Stay


def test_a_session_is_found_until_its_cache_is_cold() -> None:
    """The latest answer counts, for as long as the provider's cache lives."""
    sessions = Sessions()
    sessions.note("s", "a", 10, now=0.0)
    sessions.note("s", "b", 25, now=100.0)
    assert sessions.find("s", 400.0, ttl_s=300.0) == Stay(model="b", cached_tokens=25)
    assert sessions.find("s", 400.1, ttl_s=300.0) is None
    assert sessions.find("other", 100.0, ttl_s=300.0) is None
    assert len(sessions) == 0


def test_the_longest_silent_makes_room() -> None:
    """The bound holds, and a session that speaks again is young again."""
    sessions = Sessions(max_sessions=2)
    for name, now in (("a", 0.0), ("b", 1.0), ("a", 2.0), ("c", 3.0)):
        sessions.note(name, "m", 1, now=now)
    assert [name for name in "abc" if sessions.find(name, 3.0, ttl_s=300.0)] == ["a", "c"]


def test_a_long_name_works_and_is_not_kept() -> None:
    """Callers choose names; two long ones that differ at the end are two, also with half characters in them."""
    sessions = Sessions()
    long = "x" * 100_000
    sessions.note(long + "a\ud800", "a", 1, now=0.0)
    sessions.note(long + "b", "b", 1, now=0.0)
    assert sessions.find(long + "a\ud800", 0.0, ttl_s=1.0) == Stay(model="a", cached_tokens=1)
    assert sessions.find(long + "b", 0.0, ttl_s=1.0) == Stay(model="b", cached_tokens=1)
    assert max(map(len, sessions._entries)) <= MAX_NAME
