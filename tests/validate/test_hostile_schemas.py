"""Schemas that were made to harm: each is refused, or checked in bounded time; nothing is ever fetched for one."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from prefrontal.errors import InvalidRequest
from prefrontal.validate.compiled import MAX_SCHEMA_BYTES, Schemas
from prefrontal.validate.weigh import weigh

QUICK_S = 1.0
"""Far above what each check takes (measured: milliseconds), far below what the unbounded check takes (measured: minutes)."""


def bomb(levels: int) -> dict[str, Any]:
    """Return a schema of a few hundred bytes that doubles with each level."""
    defs: dict[str, Any] = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**defs, f"a{levels}": {"type": "object"}}}


def nested(levels: int) -> dict[str, Any]:
    """Return an object inside an object, and so on."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (bomb(40), "rules"),
        (bomb(16), "rules"),
        (nested(100), "levels"),
        ({"enum": ["x" * MAX_SCHEMA_BYTES]}, "bytes"),
        ({"$ref": "http://127.0.0.1:9/x.json"}, "cannot be used"),
        ({"anyOf": [{}], "properties": {"a": {"$ref": "#/anyOf/%C2%B2"}}}, "cannot be used"),
        ({"anyOf": [{}], "properties": {"a": {"$ref": "#/anyOf/" + "1" * 5000}}}, "cannot be used"),
        ({"$id": "http://127.0.0.1:9/a", "$ref": "b"}, "cannot be used"),
        ({"$ref": "file:///etc/hostname"}, "cannot be used"),
        ({"$ref": "#/$defs/missing"}, "cannot be used"),
        ({"type": "nope"}, "cannot be used"),
        ({"pattern": "("}, "cannot be used"),
        ({"pattern": "(a{1000}){1000}"}, "cannot be used"),
        ({"anyOf": [{"const": n} for n in range(6000)]}, "parts"),
    ],
    ids=[
        *("bomb", "small bomb", "deep", "large", "remote", "place no number", "place too long"),
        *("remote id", "file", "missing", "type", "broken", "huge", "wide"),
    ],
)
def test_a_schema_beyond_the_bounds_is_the_callers_mistake(schema: dict[str, Any], said: str) -> None:
    """It is refused with a sentence, at once, before any model is asked."""
    before = time.monotonic()
    with pytest.raises(InvalidRequest) as refused:
        Schemas().get(schema)
    assert time.monotonic() - before < QUICK_S
    assert said in refused.value.message
    assert refused.value.param == "response_format"


def test_no_socket_is_opened_for_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A remote reference is refused by name, not by a failed fetch: a listener sees nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        for schema in ({"$ref": f"http://127.0.0.1:{port}/s"}, {"$schema": f"http://127.0.0.1:{port}/s", "type": "object"}):
            try:
                Schemas().get(schema)
            except InvalidRequest:
                pass
        with pytest.raises(TimeoutError):
            listener.accept()


UNION = {
    "$ref": "#/$defs/n",
    "$defs": {
        "n": {
            "anyOf": [
                {"properties": {"x": {"$ref": "#/$defs/n"}}, "required": ["q"]},
                {"properties": {"x": {"$ref": "#/$defs/n"}}, "required": ["r"]},
            ]
        }
    },
}


def test_a_schema_that_forks_into_itself_is_checked_in_bounded_time() -> None:
    """Telling every fault of a deep value would take gigabytes; it is said that it does not fit, and for a flat one also why."""
    found = Schemas().get(UNION)
    before = time.monotonic()
    deep = found.findings(nested(100))
    assert time.monotonic() - before < QUICK_S
    assert [finding.message for finding in deep] == ["The answer does not fit the schema."]
    assert "anyOf" in str(found.findings({})) or "any of" in str(found.findings({}))
    assert weigh(UNION).forks > 0


def test_a_pattern_that_backtracks_is_linear() -> None:
    """Ordinary patterns run in linear time, those with look-around within a number of steps."""
    before = time.monotonic()
    assert Schemas().get({"pattern": "^(a+)+$"}).findings("a" * 50_000 + "b")
    Schemas().get({"pattern": "^(?=(a+)+$)a"}).findings("a" * 50_000 + "b")
    assert time.monotonic() - before < QUICK_S
    assert not Schemas().get({"pattern": "^(?!x)a"}).findings("ab")


def test_a_value_beyond_the_bounds_is_not_checked_and_says_so() -> None:
    """Too deep, or so long that a heavy schema would take seconds: not repairable, because it would come again."""
    assert [f.code for f in Schemas().get({"type": "object"}).findings(nested(300))] == ["too_deep"]
    heavy = Schemas().get(bomb(10))
    assert [f.code for f in heavy.findings([0] * 100_000)] == ["too_complex"]
    assert heavy.findings({}) == ()


INTEGER = {"type": "integer"}


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": INTEGER}, "$ref": "#/definitions/a"},
        {"$defs": {"a": {"$anchor": "here", "type": "integer"}}, "$ref": "#here"},
        {"$defs": {"a": {"$id": "urn:a", "type": "integer"}}, "$ref": "urn:a"},
        {"$schema": "https://example.com/own", "type": "integer"},
    ],
)
def test_references_within_the_schema_work(schema: dict[str, Any]) -> None:
    """Pointers, anchors and ids of its own; an unknown draft is read as the newest."""
    found = Schemas().get(schema)
    assert found.findings(3) == ()
    assert found.findings("3")


def test_compiled_schemas_are_shared_and_bounded() -> None:
    """The same schema is compiled once; of more than the bound the longest unused goes."""
    schemas = Schemas(max_kept=2)
    first = schemas.get({"type": "object"})
    assert schemas.get({"type": "object"}) is first
    schemas.get({"type": "array"})
    schemas.get({"type": "object"})
    schemas.get({"type": "string"})
    assert len(schemas) == 2
    assert schemas.get({"type": "object"}) is first
