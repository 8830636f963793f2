"""What a type declares not to matter is left out of a state, and nothing else is."""

from __future__ import annotations

import pytest

from prefrontal.config.schema_tiers import TypeCache
from prefrontal.decisions.normal import Normaliser


def same(one: object, other: object, **rules: object) -> bool:
    normal = Normaliser(TypeCache(**rules))  # type: ignore[arg-type]
    return normal.canonical(one) == normal.canonical(other)


def test_without_rules_only_the_order_of_fields_is_free():
    """Nothing is guessed."""
    assert same({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1})
    assert not same({"b": [1, 2]}, {"b": [2, 1]})
    assert not same("due 2026-01-02", "due 2026-01-03")
    assert not same("1", 1)


@pytest.mark.parametrize(
    ("mask", "one", "other", "equal"),
    [
        ("dates", "due 2026-01-02", "due 2026-11-30", True),
        ("dates", "due 2 March 2026", "due 3 April 2026", True),
        ("dates", "due March 2nd, 2026", "due April 4th, 2027", True),
        ("dates", "in 14 days", "in 15 days", False),
        ("times", "at 10:30", "at 9:05:12", True),
        ("times", "ratio 10 to 30", "ratio 9 to 5", False),
        ("ids", "ticket ABC-123 of anna", "ticket XY-9 of anna", True),
        ("ids", "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7", True),
        ("ids", "see #12", "see #14", True),
        ("ids", "12 apples", "14 apples", False),
        ("numbers", "costs 12.50", "costs 7", True),
        ("numbers", "v2 is out", "v3 is out", False),
    ],
)
def test_masks(mask, one, other, equal):
    """Each mask covers its own kind, in texts and in the texts of JSON."""
    assert same(one, other, mask=(mask,)) == equal
    assert same({"a": [one]}, {"a": [other]}, mask=(mask,)) == equal


def test_fields_are_ignored_by_path():
    """Also inside lists, and for any name."""
    rules = {"ignore": ("now", "tasks.id", "agents.*.seen")}
    one = {"now": 1, "tasks": [{"id": 1, "t": 1}], "agents": {"a": {"seen": 1, "x": 2}}}
    assert same(one, {"now": 9, "tasks": [{"id": 7, "t": 1}], "agents": {"a": {"seen": 4, "x": 2}}}, **rules)
    assert not same(one, {"now": 9, "tasks": [{"id": 7, "t": 2}], "agents": {"a": {"seen": 4, "x": 2}}}, **rules)
    assert one["tasks"] == [{"id": 1, "t": 1}], "the caller's state stays as it is"


def test_numbers_go_into_buckets():
    """By width or by edges; what is no number stays."""
    rules = {"steps": {"progress": 25.0}, "buckets": {"queue": (1.0, 5.0, 20.0)}}
    assert same({"progress": 26, "queue": 5}, {"progress": 49.9, "queue": 19}, **rules)
    assert not same({"progress": 26}, {"progress": 50}, **rules)
    assert not same({"queue": 4}, {"queue": 5}, **rules)
    assert not same({"progress": True}, {"progress": 1}, **rules)
    assert not same({"progress": "26"}, {"progress": "27"}, **rules)


def test_edges_that_do_not_rise_are_refused():
    """Where the type is made."""
    with pytest.raises(ValueError, match="rise"):
        Normaliser(TypeCache(buckets={"x": (5.0, 1.0)}))
