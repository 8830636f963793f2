"""The extension object ``x_prefrontal`` of a request, in whatever dialect it came."""

from __future__ import annotations

import difflib

import msgspec

from prefrontal.chat.request import NO_HINTS, Hints
from prefrontal.errors import InvalidRequest

FIELD = "x_prefrontal"
_UNIT_RANGE = ("effort", "urgency", "risk")


def parse_hints(value: object) -> Hints:
    """Return the hints in `value`; null is no hints.

    Raises:
        InvalidRequest: `param` names the key; an unknown key gets the nearest known one.
    """
    if value is None:
        return NO_HINTS
    if not isinstance(value, dict):
        raise InvalidRequest(f"'{FIELD}' must be an object.", param=FIELD)
    for key in value:
        if key not in Hints.__struct_fields__:
            raise _unknown(str(key))
    try:
        hints = msgspec.convert(value, Hints)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        where = FIELD + path.rstrip("`")
        raise InvalidRequest(f"'{where}': {text}.", param=where) from None
    for key in _UNIT_RANGE:
        score = getattr(hints, key)
        if score is not None and not 0.0 <= score <= 1.0:
            raise InvalidRequest(f"'{FIELD}.{key}' must lie between 0 and 1, but is {score}.", param=f"{FIELD}.{key}")
    for key in ("max_cost_usd", "deadline_s"):
        amount = getattr(hints, key)
        if amount is not None and amount < 0:
            raise InvalidRequest(f"'{FIELD}.{key}' must not be negative, but is {amount}.", param=f"{FIELD}.{key}")
    return hints


def _unknown(key: str) -> InvalidRequest:
    near = difflib.get_close_matches(key, Hints.__struct_fields__, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(Hints.__struct_fields__)}."
    return InvalidRequest(f"Unknown key {key!r} in '{FIELD}'.", param=f"{FIELD}.{key}", hint=hint)
