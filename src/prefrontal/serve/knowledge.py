"""GET /v1/knowledge, GET /v1/knowledge/{name}, POST /v1/knowledge/{name}/search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from prefrontal.contracts.access import Grant
from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.installed import require, unknown_engram

if TYPE_CHECKING:
    from prefrontal.app.library import Prefrontal
    from prefrontal.knowledge.search.filters import Filter

MOST_QUERY = 100_000
"""Longest query, characters (assumed: ten thousand words are looked at, and no more)."""

Names = tuple[str, ...]


class Filters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a search may find. `paths`, `exclude` and `symbols` are globs; times are seconds since the epoch."""

    paths: Names = ()
    exclude: Names = ()
    types: Names = ()
    tags: Names = ()
    symbols: Names = ()
    since_s: float | None = None
    until_s: float | None = None


class SearchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a search. `scope` is a folder of the engram; `text` False leaves the passages' text out.

    `mode`: by words, by dense vectors, by both, or what fits the engram.
    """

    query: Annotated[str, Meta(min_length=1, max_length=MOST_QUERY)]
    k: Annotated[int, Meta(ge=1, le=1000)] = 10
    scope: str = ""
    filters: Filters = Filters()
    text: bool = True
    mode: Literal["lexical", "dense", "hybrid", "auto"] = "auto"


async def list_knowledge(pf: Prefrontal, grant: Grant | None = None) -> dict[str, Any]:
    """Return the engrams; of those that a virtual key may not search nothing is said."""
    found = await pf.knowledge.engrams()
    return {"object": "list", "data": [one for one in found if grant is None or grant.sees(one["id"])]}


async def describe_knowledge(pf: Prefrontal, name: str, grant: Grant | None = None) -> dict[str, Any]:
    """Return one engram. Raises NotFound, also for one that a virtual key may not search."""
    _check(name, grant)
    return await pf.knowledge.engram(name)


async def search_knowledge(pf: Prefrontal, name: str, body: bytes, grant: Grant | None = None) -> dict[str, Any]:
    """Return passages. Raises NotFound as `describe_knowledge` does, InvalidRequest naming the field."""
    _check(name, grant)
    request = parse_search(body)
    found = await pf.knowledge.search(
        name, request.query, k=request.k, where=_where(request), text=request.text, mode=request.mode
    )
    return {"object": "knowledge.search", **found}


def parse_search(body: bytes) -> SearchRequest:
    """Return the request. Raises InvalidRequest with the path of the field that is wrong."""
    try:
        return msgspec.json.decode(body, type=SearchRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        text, _, path = str(error).partition(" - at `$")
        raise InvalidRequest(f"The search is wrong: {text}.", param=path.strip("`.") or None) from error


def _check(name: str, grant: Grant | None) -> None:
    if grant is not None and not grant.sees(name):
        raise unknown_engram(name)


def _where(request: SearchRequest) -> Filter:
    require()
    from prefrontal.knowledge.search.filters import Filter

    return Filter(scope=request.scope, **{name: getattr(request.filters, name) for name in Filters.__struct_fields__})
