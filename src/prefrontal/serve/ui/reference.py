"""The API's description as a page: made of the OpenAPI document, on the server, without a script."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from prefrontal.serve.openapi import openapi_of

if TYPE_CHECKING:
    from prefrontal.serve.site import Site

DEEP = 3
"""How far a type's own fields are shown below it (assumed: what lies deeper is read in the document itself)."""


class ReferencePages:
    """The document and its page. Both are the same for as long as the process runs, and made when first asked for."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._document: dict[str, Any] | None = None

    async def document(self, _request: Request) -> Response:
        """The description of the API, OpenAPI 3.1."""
        return Response(msgspec.json.encode(self._made()), media_type="application/json")

    async def page(self, _request: Request) -> Response:
        """The same for people."""
        shell = self._site.shell
        answer = Response(shell.page("docs.html", **reference_view(self._made())))
        answer.raw_headers = [*shell.headers, (b"content-length", b"%d" % len(answer.body))]
        return answer

    def _made(self) -> dict[str, Any]:
        if self._document is None:
            from prefrontal import __version__

            self._document = openapi_of(self._site.routes, __version__)
        return self._document


def reference_routes(site: Site) -> list[Route]:
    """Return the routes of the description."""
    pages = ReferencePages(site)
    return [Route("/openapi.json", pages.document, methods=["GET"]), Route("/docs", pages.page, methods=["GET"])]


def reference_view(document: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows: operations by tag, each with its parameters, its body's fields and its statuses."""
    schemas = document["components"]["schemas"]
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, found in methods.items():
            body = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            success = next(answer for status, answer in found["responses"].items() if status < "300")
            shown = next(iter(success["content"].values()))["schema"]
            groups[found["tags"][0]].append(
                {
                    "method": method.upper(),
                    "path": path,
                    "summary": found["summary"],
                    "description": found.get("description", ""),
                    "parameters": [_parameter(one) for one in found.get("parameters", ())],
                    "body": _fields(body, schemas),
                    "answer": _fields(shown.get("properties", {}).get("data", {}).get("items", shown), schemas),
                    "statuses": [(status, answer["description"]) for status, answer in found["responses"].items()],
                }
            )
    return {"about": document["info"]["description"], "version": document["info"]["version"], "groups": groups}


def _parameter(one: dict[str, Any]) -> dict[str, Any]:
    return {"name": one["name"], "place": one["in"], "needed": one["required"], **_told(one["schema"])}


def _fields(schema: dict[str, Any] | None, schemas: dict[str, Any], depth: int = 0, before: str = "") -> list[dict[str, Any]]:
    """Return the fields of an object's schema, those inside its objects and lists by their path."""
    found = _resolved(schema or {}, schemas)
    out: list[dict[str, Any]] = []
    for name, field in found.get("properties", {}).items():
        out.append({"name": before + name, "needed": name in found.get("required", ()), **_told(field)})
        for part in field.get("anyOf", [field]) if depth + 1 < DEEP else ():
            inner, mark = (part["items"], "[]") if isinstance(part.get("items"), dict) else (part, "")
            if "$ref" in inner:
                out.extend(_fields(inner, schemas, depth + 1, f"{before}{name}{mark}."))
    return out


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    target = schema.get("$ref")
    found: dict[str, Any] = schemas[target.rpartition("/")[2]] if target else schema
    return found


def _told(schema: dict[str, Any]) -> dict[str, Any]:
    default = schema.get("default")
    shown = "" if default in (None, [], {}) or "default" not in schema else json.dumps(default)
    return {"kind": _kind(schema), "default": shown, "description": schema.get("description", "")}


def _kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join([_kind(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return ", ".join(["null" if word is None else str(word) for word in schema["enum"]])
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {_kind(items)}" if isinstance(items, dict) and items else "list"
    if "$ref" in schema:
        return "object"
    return str(schema.get("type", "anything"))
