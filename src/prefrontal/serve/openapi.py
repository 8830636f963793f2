"""The API's description in OpenAPI 3.1, made of the router's routes, the handlers' docstrings and the types they decode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from starlette.routing import BaseRoute, Route

from prefrontal.serve.described import JSON, Described, description_of

ABOUT = (
    "Prefrontal's own routes. Those that carry traffic have the forms of OpenAI's and Anthropic's APIs and are described there: "
    "/v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings, /v1/messages. "
    "Where no key is configured, none is needed."
)
GATE = (401, 403)
"""What every route may answer before its handler is asked."""

WORDS = {
    400: "The request is wrong; `error.param` names the field.",
    401: "No key, or a wrong one.",
    403: "The key, the host or the page may not use this route.",
    404: "There is no such object.",
    409: "Another object is in the way.",
    413: "The body is too large.",
    415: "The body is compressed.",
    422: "It cannot be done as asked.",
    429: "A limit is reached.",
    500: "A setting is wrong.",
    502: "An upstream failed.",
    503: "Not now: the process is ending, or its records cannot be read or written.",
    504: "An upstream was too slow.",
}
_PLACE = re.compile(r"\{(\w+)(?::path)?\}")
REF = "#/components/schemas/{name}"


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, in the four fields of OpenAI's API."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every error of these routes; `x_prefrontal` says who caused it and whether the same may work later."""

    error: ErrorBody
    x_prefrontal: dict[str, Any]


def openapi_of(routes: Sequence[BaseRoute], version: str) -> dict[str, Any]:
    """Return the description of every described route."""
    operations = list(_operations(routes))
    kinds = [kind for _, _, _, said in operations for kind in (said.body, said.query, said.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components([ErrorAnswer, *kinds], ref_template=REF)
    shapes = dict(zip([repr(kind) for kind in [ErrorAnswer, *kinds]], schemas, strict=True))
    paths: dict[str, Any] = {}
    for path, method, summary, said in operations:
        told = _operation(path, method, summary, said, shapes, components)
        paths.setdefault(_PLACE.sub(r"{\1}", path), {})[method.lower()] = told
    return {
        "openapi": "3.1.0",
        "info": {"title": "Prefrontal", "version": version, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys([said.tag for _, _, _, said in operations])],
        "security": [{"bearer": []}, {}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "A key of the gateway."}},
        },
    }


def _operations(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str, str, Described]]:
    for route in routes:
        if not isinstance(route, Route):
            continue
        said = description_of(route.endpoint)
        for method in sorted((route.methods or set()) - {"HEAD"}) if said is not None else ():
            yield route.path, method, (route.endpoint.__doc__ or "").strip(), said  # type: ignore[misc]  # said is not None here


def _operation(
    path: str, method: str, summary: str, said: Described, shapes: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    name = _PLACE.sub(r"\1", path).strip("/").replace("/", "_").replace(".", "_")
    first, _, rest = summary.partition("\n\n")
    out: dict[str, Any] = {"operationId": f"{method.lower()}_{name}", "tags": [said.tag], "summary": " ".join(first.split())}
    if rest or said.like:
        out["description"] = " ".join([*rest.split(), *([said.like] if said.like else [])])
    text = {"type": "string", "minLength": 1}
    parameters = [{"name": found, "in": "path", "required": True, "schema": text} for found in _PLACE.findall(path)]
    if said.query is not None:
        parameters += _query(shapes[repr(said.query)], components)
    if parameters:
        out["parameters"] = parameters
    if said.body is not None:
        out["requestBody"] = {"required": True, "content": {JSON: {"schema": shapes[repr(said.body)]}}}
    elif said.like is not None:
        out["requestBody"] = {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}
    out["responses"] = _responses(said, shapes, components)
    return out


def _query(schema: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters that the fields of a query's type are."""
    found = components[schema["$ref"].rpartition("/")[2]]
    needed = found.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": _without_null(field)}
        for name, field in found["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that can be left out and never null, as values of a query are."""
    left = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    if "anyOf" in left:
        rest = [one for one in left.pop("anyOf") if one != {"type": "null"}]
        return {**left, **rest[0]} if len(rest) == 1 else {**left, "anyOf": rest}
    if None in left.get("enum", ()):
        left["enum"] = [word for word in left["enum"] if word is not None]
    return left


def _responses(said: Described, shapes: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    shape = {"type": "object"} if said.answer is None else shapes[repr(said.answer)]
    if said.many:
        data = {"type": "array", "items": shape}
        shape = {"type": "object", "required": ["object", "data"], "properties": {"object": {"const": "list"}, "data": data}}
    schema = {"type": "string"} if said.media != JSON else shape
    done = {"description": "Done.", "content": {said.media: {"schema": schema}}}
    answers = {str(status): done for status in (said.status, *said.also)}
    body = (400, 413, 415) if said.body is not None or said.like is not None else ()
    wrong = {JSON: {"schema": shapes[repr(ErrorAnswer)]}}
    for status in sorted({*GATE, *body, *said.fails}):
        answers[str(status)] = {"description": WORDS[status], "content": wrong}
    return answers
