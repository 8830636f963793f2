"""Schemas of callers, compiled once and kept within bounds. Nothing is ever fetched for one."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import msgspec

from prefrontal.contracts.verdict import Finding
from prefrontal.errors import InvalidRequest
from prefrontal.validate.weigh import TooDear, Weight, weigh

MAX_SCHEMA_BYTES = 262_144
"""A schema as JSON (assumed: vendors take some 100 KB)."""

MAX_KEPT = 256
"""Compiled schemas kept (assumed: the distinct forms of a busy team)."""

MAX_EFFORT = 50_000_000
"""Rules of the schema times values in the answer that are still checked (measured: 11 ns a rule, so half a second at most)."""

MAX_ANSWER_DEPTH = 128
"""Levels of an answer (assumed: real ones have fewer than twenty)."""

MAX_EXPLAINED = 20_000
"""Ways through a schema that refers to itself up to which each fault is told (measured: beyond it telling takes gigabytes)."""

MAX_FINDINGS, MAX_MESSAGE = 12, 300
"""Faults told of one answer, and characters of each (assumed: more do not help a model)."""

BACKTRACKS = 10_000
"""Steps back that a pattern may take which only the slower engine knows (assumed)."""

PATTERN_BYTES = 1_048_576
"""Size of a compiled pattern (assumed: a hundred times an ordinary one)."""

_DRAFTS = ("draft-04/", "draft-06/", "draft-07/", "draft/2019-09/", "draft/2020-12/")


class Compiled:
    """One schema, ready to check values. `findings` is what is wrong with one."""

    __slots__ = ("_check", "_weight")

    def __init__(self, check: Any, weight: Weight) -> None:
        self._check = check
        self._weight = weight

    def findings(self, value: Any) -> tuple[Finding, ...]:
        """Return what is wrong with a value; messages name the rule and the place, not the value."""
        depth, size = extent_of(value)
        if depth > MAX_ANSWER_DEPTH:
            return (_wrong("too_deep", f"The answer has more than {MAX_ANSWER_DEPTH} levels.", repairable=False),)
        if self._weight.rules * size > MAX_EFFORT:
            return (_wrong("too_complex", "The answer is too long to be checked against this schema.", repairable=False),)
        if self._check.is_valid(value):
            return ()
        if self._weight.forks and self._weight.forks**depth > MAX_EXPLAINED:
            return (_wrong("schema", "The answer does not fit the schema."),)
        found: list[Finding] = []
        for error in self._check.iter_errors(value):
            where = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in error.instance_path)
            found.append(_wrong("schema", _said(error), where))
            if len(found) == MAX_FINDINGS:
                break
        return tuple(found) or (_wrong("schema", "The answer does not fit the schema."),)


class Schemas:
    """A bounded store of compiled schemas by the digest of their JSON; the longest unused goes first."""

    def __init__(self, *, max_kept: int = MAX_KEPT) -> None:
        self._max_kept = max_kept
        self._kept: OrderedDict[bytes, Compiled] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, schema: dict[str, Any], param: str = "response_format") -> Compiled:
        """Return the schema compiled.

        Raises:
            InvalidRequest: it is no schema, refers to one elsewhere, or is too large, too deep or too dear to check.
        """
        try:
            data = msgspec.json.encode(schema)
        except RecursionError:
            raise InvalidRequest("The schema is too deep.", param=param) from None
        key = hashlib.blake2b(data, digest_size=16).digest()
        found = self._kept.get(key)
        if found is None:
            if len(data) > MAX_SCHEMA_BYTES:
                raise InvalidRequest(f"The schema is larger than {MAX_SCHEMA_BYTES} bytes.", param=param)
            found = self._kept[key] = _compiled(schema, param)
            while len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found


def extent_of(value: Any) -> tuple[int, int]:
    """Return the levels of a JSON value and the values in it; at most one level more than `MAX_ANSWER_DEPTH` is counted."""
    level, depth, size = [value], 0, 0
    while depth <= MAX_ANSWER_DEPTH:
        size += len(level)
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        depth += 1
        if not level:
            break
    return depth, size


def _compiled(schema: dict[str, Any], param: str) -> Compiled:
    try:
        weight = weigh(schema)
    except TooDear as error:
        raise InvalidRequest(f"The schema is refused: {error}.", param=param) from None
    import jsonschema_rs

    dialect = schema.get("$schema")
    if dialect is not None and not (isinstance(dialect, str) and any(draft in dialect for draft in _DRAFTS)):
        schema = {key: value for key, value in schema.items() if key != "$schema"}
    linear = jsonschema_rs.RegexOptions(size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES)
    bounded = jsonschema_rs.FancyRegexOptions(
        backtrack_limit=BACKTRACKS, size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES
    )
    said = ""
    for patterns in (linear, bounded):  # the second knows look-around, and gives up after so many steps
        try:
            check = jsonschema_rs.validator_for(
                schema, validate_formats=True, offline=True, mask="the value", pattern_options=patterns
            )
            return Compiled(check, weight)
        except (ValueError, RecursionError, jsonschema_rs.ReferencingError) as error:
            said = str(getattr(error, "message", None) or error).splitlines()[0]
    raise InvalidRequest(f"The schema cannot be used: {said[:MAX_MESSAGE]}.", param=param)


def _said(error: Any) -> str:
    kind = type(error.kind).__name__
    if kind in ("AdditionalProperties", "UnevaluatedProperties"):
        return "There are properties that the schema does not allow."  # their names are the model's words
    return str(error.message)[:MAX_MESSAGE].rstrip(".") + "."


def _wrong(code: str, message: str, where: str = "", *, repairable: bool = True) -> Finding:
    return Finding(code=code, severity="error", where=where, message=message, repairable=repairable)
