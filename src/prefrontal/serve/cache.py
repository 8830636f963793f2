"""The admin routes of the response cache and of the cache of decisions: how they stand, one entry, and deleting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from prefrontal.app.caching import delete_entry, describe_entry, tenant_named
from prefrontal.decisions.memo import Memo
from prefrontal.errors import InvalidRequest, InvariantBroken, NotFound
from prefrontal.execute.cache.answers import ResponseCache
from prefrontal.serve.described import described

if TYPE_CHECKING:
    from prefrontal.serve.site import Site


class ClearParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the answers to delete can be narrowed by."""

    key: str | None = None
    team: str | None = None
    model: str | None = None


FILTERS = ClearParams.__struct_fields__


def cache_routes(site: Site) -> list[Route]:
    """Return the routes below ``/v1/admin/cache``; `site` has let only admins in."""
    pages = CachePages(site)
    return [
        Route("/v1/admin/cache", pages.state, methods=["GET"]),
        Route("/v1/admin/cache", pages.clear, methods=["DELETE"]),
        Route("/v1/admin/cache/{entry_id}", pages.entry, methods=["GET"]),
        Route("/v1/admin/cache/{entry_id}", pages.delete, methods=["DELETE"]),
        Route("/v1/admin/decisions/cache", pages.decisions, methods=["GET"]),
        Route("/v1/admin/decisions/cache", pages.clear_decisions, methods=["DELETE"]),
    ]


class CachePages:
    """The handlers, one a route."""

    def __init__(self, site: Site) -> None:
        self._pf = site.pf

    @described("cache", fails=(503,))
    async def state(self, _request: Request) -> Response:
        """How the cache of this process stands."""
        caching = self._pf.machine.caching
        state = await self._cache().state(in_flight=0 if caching is None else len(caching.sharing))
        return _answer({"object": "cache", **msgspec.structs.asdict(state)})

    @described("cache", query=ClearParams, fails=(400, 503))
    async def clear(self, request: Request) -> Response:
        """Delete answers: those of a key, a team or a model, or all."""
        tenant, model = await self._filters(request)
        return _answer({"object": "cache", "deleted": await self._cache().clear(tenant=tenant, model=model)})

    @described("cache", fails=(503,))
    async def decisions(self, _request: Request) -> Response:
        """How the cache of decisions of this process stands."""
        return _answer({"object": "decisions.cache", **msgspec.structs.asdict(self._memo().state())})

    @described("cache", query=ClearParams, fails=(400, 503))
    async def clear_decisions(self, request: Request) -> Response:
        """Delete cached decisions: those of a key, a team or a model, or all."""
        tenant, model = await self._filters(request)
        return _answer({"object": "decisions.cache", "deleted": await self._memo().clear(tenant=tenant, model=model)})

    async def _filters(self, request: Request) -> tuple[str | None, str | None]:
        """Return the tenant and the model that a query names. Raises InvalidRequest."""
        query = dict(request.query_params)
        unknown = next((name for name in query if name not in FILTERS), None)
        if unknown is not None:  # a filter that is not understood must not delete everything
            raise InvalidRequest(f"There is no filter '{unknown}'.", param=unknown, hint=f"Known: {', '.join(FILTERS)}.")
        return tenant_named(key=await self._key_id(query.get("key")), team=query.get("team")), query.get("model")

    @described("cache", fails=(404, 503))
    async def entry(self, request: Request) -> Response:
        """What is known of one entry but its words."""
        return _answer(await describe_entry(self._cache(), request.path_params["entry_id"], self._pf.clock))

    @described("cache", fails=(404, 503))
    async def delete(self, request: Request) -> Response:
        """Delete one entry."""
        return _answer(await delete_entry(self._cache(), request.path_params["entry_id"]))

    async def _key_id(self, named: str | None) -> str | None:
        """The id of a key by id or name; what is neither is taken for the id that records show of a configured key."""
        if named is None:
            return None
        try:
            return (await self._pf.money.key(named)).id
        except NotFound:
            return named

    def _memo(self) -> Memo:
        recall = self._pf.decider.recall
        if recall is None:
            raise InvariantBroken("The gateway was built without a cache of decisions.")
        return recall.memo

    def _cache(self) -> ResponseCache:
        cache = self._pf.machine.parts.cache
        if cache is None:
            raise InvariantBroken("The gateway was built without a response cache.")
        return cache


def _answer(value: Any) -> Response:
    return Response(msgspec.json.encode(value, enc_hook=str), media_type="application/json")
