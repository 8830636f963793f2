"""Google's OpenAPI-like schemas, read as JSON Schema."""

from __future__ import annotations

from typing import Any

_NESTED = ("items", "additionalProperties")
_LISTS = ("anyOf", "prefixItems")
_MAPS = ("properties", "defs", "$defs")


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema` with lower-case types, and ``nullable`` said in JSON Schema's way."""
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, str):
            out[key] = value.lower()
        elif key in _NESTED and isinstance(value, dict):
            out[key] = json_schema(value)
        elif key in _LISTS and isinstance(value, list):
            out[key] = [json_schema(item) if isinstance(item, dict) else item for item in value]
        elif key in _MAPS and isinstance(value, dict):
            out[key] = {name: json_schema(item) if isinstance(item, dict) else item for name, item in value.items()}
        elif key not in ("nullable", "propertyOrdering"):
            out[key] = value
    if schema.get("nullable") is True and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out
