"""The routes that are not hot: models, explain, traces, health, configuration status, metrics."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from prefrontal.app.explain import explanation
from prefrontal.config.reload import ConfigStatus
from prefrontal.contracts.access import Grant
from prefrontal.contracts.record import AnsweredBy, RequestRecord, Status
from prefrontal.errors import InvalidRequest, NotFound, Overloaded
from prefrontal.ledger.store import Ledger, RecordFilter
from prefrontal.providers.openai.request import parse_chat_request
from prefrontal.serve.admin import admin_routes
from prefrontal.serve.cache import cache_routes
from prefrontal.serve.described import described
from prefrontal.serve.engines import list_engines
from prefrontal.serve.health import health_of
from prefrontal.serve.knowledge import SearchRequest, describe_knowledge, list_knowledge, search_knowledge
from prefrontal.serve.knowledge_write import knowledge_routes
from prefrontal.serve.listing import describe_model, list_models
from prefrontal.serve.listing_anthropic import VERSION, model_info, model_page
from prefrontal.serve.messages import count_messages
from prefrontal.serve.outcomes import keep_outcomes
from prefrontal.serve.responses import count_responses, delete_response, get_response
from prefrontal.serve.types import Receive, Scope, Send
from prefrontal.serve.ui.pages import ui_routes
from prefrontal.serve.ui.reference import reference_routes

if TYPE_CHECKING:
    from prefrontal.serve.site import Site

KNOWN = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/decisions",
    "/v1/systemone",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/models",
    "/v1/explain",
    "/v1/tokens",
    "/v1/traces",
    "/v1/config/status",
    "/v1/engines",
    "/v1/health",
    "/v1/knowledge",
    "/v1/admin/keys",
    "/v1/admin/budgets",
    "/v1/admin/spend",
    "/v1/admin/prices",
    "/v1/admin/audit",
    "/v1/admin/erase",
    "/v1/admin/export",
    "/v1/admin/cache",
    "/v1/admin/decisions/cache",
)


NEAR = 0.85
"""How alike a path must be to a route's to be taken for it (assumed: one or two letters off)."""

CHOICES: dict[str, tuple[str, ...]] = {"status": get_args(Status), "answered_by": get_args(AnsweredBy)}
"""The filters of records that take one of a few words."""


def build_routes(site: Site) -> Router:
    """Return the router for everything `site` does not answer itself. Its handlers raise; `site` words the errors."""
    pages = Pages(site)
    return Router(
        routes=[
            Route("/", pages.index, methods=["GET"]),
            Route("/livez", pages.livez, methods=["GET"]),
            Route("/readyz", pages.readyz, methods=["GET"]),
            Route("/health", pages.readyz, methods=["GET"]),
            Route("/healthz", pages.readyz, methods=["GET"]),
            Route("/v1/health", pages.health, methods=["GET"]),
            Route("/metrics", pages.metrics, methods=["GET"]),
            Route("/v1/models", pages.models, methods=["GET"]),
            Route("/v1/models/{name:path}", pages.model, methods=["GET"]),
            Route("/v1/messages/count_tokens", pages.count_messages, methods=["POST"]),
            Route("/v1/responses/input_tokens", pages.count_responses, methods=["POST"]),
            Route("/v1/responses/{response_id}", pages.response, methods=["GET", "DELETE"]),
            Route("/v1/knowledge", pages.knowledge, methods=["GET"]),
            Route("/v1/knowledge/{name}", pages.engram, methods=["GET"]),
            Route("/v1/knowledge/{name}/search", pages.knowledge_search, methods=["POST"]),
            Route("/v1/decisions/{record_id}/outcome", pages.outcome, methods=["POST"]),
            Route("/v1/explain", pages.explain, methods=["POST"]),
            Route("/v1/tokens", pages.tokens, methods=["POST"]),
            Route("/v1/traces", pages.traces, methods=["GET"]),
            Route("/v1/traces/{trace_id}", pages.trace, methods=["GET"]),
            *ui_routes(site),
            *reference_routes(site),
            Route("/v1/config/status", pages.config_status, methods=["GET"]),
            Route("/v1/config/reload", pages.config_reload, methods=["POST"]),
            Route("/v1/engines", pages.engines, methods=["GET"]),
            Route("/v1/engines/{name:path}/load", pages.engine_load, methods=["POST"]),
            Route("/v1/engines/{name:path}/unload", pages.engine_unload, methods=["POST"]),
            *admin_routes(site),
            *cache_routes(site),
            *knowledge_routes(site),
        ],
        default=_not_found,
        redirect_slashes=False,
    )


def answer(value: Any, status: int = 200) -> Response:
    """Return `value` as JSON; structs are written as objects."""
    return Response(msgspec.json.encode(value, enc_hook=str), status, media_type="application/json")


async def _not_found(scope: Scope, _receive: Receive, _send: Send) -> None:
    path = scope["path"]
    hint = None
    if f"/v1{path}" in KNOWN:
        hint = f"Did you mean /v1{path}? The base URL ends in /v1."
    elif path in KNOWN:
        raise HTTPException(405, headers={"Allow": "POST"})  # only the hot routes are known and not in the router
    elif near := get_close_matches(path, KNOWN, n=1, cutoff=NEAR):
        hint = f"Did you mean {near[0]}?"
    raise NotFound(f"There is no route {scope['method']} {path}.", hint=hint)


class Pages:
    """The handlers, one a route."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pf = site.pf

    async def index(self, _request: Request) -> Response:
        """Say what this is."""
        return answer({"name": "prefrontal", "api": "/v1", "models": "/v1/models", "health": "/readyz"})

    async def livez(self, _request: Request) -> Response:
        """The process answers."""
        return Response("ok", media_type="text/plain")

    async def readyz(self, _request: Request) -> Response:
        """The process takes work: 200, or 503 with the reasons. Contacts nobody."""
        ledger = self._pf.ledger.status()
        problems = []
        if self._site.draining:
            problems.append("shutting down")
        if not ledger.writable and not _admits(self._pf.ledger):
            problems.append(f"records cannot be written: {ledger.last_error}")
        shown = {"status": "unavailable" if problems else "ok", "problems": problems, "models": len(self._pf.registry.enabled)}
        return answer(shown, 503 if problems else 200)

    @described("models")
    async def health(self, _request: Request) -> Response:
        """How each model and deployment stands."""
        return answer(health_of(self._pf))

    async def metrics(self, _request: Request) -> Response:
        """The Prometheus exposition."""
        colleague = self._site.colleague
        shown = self._site.metrics.render() if colleague is None else await colleague.scrape()
        return Response(shown, media_type="text/plain; version=0.0.4")

    @described("models", many=True, fails=(400,))
    async def models(self, request: Request) -> Response:
        """The models clients may name."""
        listed = list_models(self._pf, _grant(request))
        return answer(model_page(listed, request.query_params) if VERSION in request.headers else listed)

    @described("models", fails=(404,))
    async def model(self, request: Request) -> Response:
        """One model. Raises UnknownModel."""
        found = describe_model(self._pf, request.path_params["name"], _grant(request))
        return answer(model_info(found) if VERSION in request.headers else found)

    @described("knowledge", many=True, fails=(400,))
    async def knowledge(self, request: Request) -> Response:
        """The engrams that can be searched."""
        return answer(await list_knowledge(self._pf, _grant(request)))

    @described("knowledge", fails=(400, 404, 503))
    async def engram(self, request: Request) -> Response:
        """One engram. Raises NotFound."""
        return answer(await describe_knowledge(self._pf, request.path_params["name"], _grant(request)))

    @described("knowledge", body=SearchRequest, fails=(404, 503))
    async def knowledge_search(self, request: Request) -> Response:
        """Passages for a query, with citations."""
        body = await self._site.body(request.scope, request.receive)
        return answer(await search_knowledge(self._pf, request.path_params["name"], body, _grant(request)))

    @described("decisions", like="The body holds what turned out to be right.", fails=(404, 409, 503))
    async def outcome(self, request: Request) -> Response:
        """What turned out to be right about a request."""
        body, context = await self._site.body(request.scope, request.receive), request.scope["prefrontal.context"]
        return answer(await keep_outcomes(self._pf, request.path_params["record_id"], body, context))

    @described("requests", like="The body is that of a chat completion.", fails=(404, 429, 503))
    async def explain(self, request: Request) -> Response:
        """The plan for a chat request, calling nothing."""
        body = await self._site.body(request.scope, request.receive)
        parsed = parse_chat_request(body)
        context = request.scope["prefrontal.context"]
        found = await self._pf.machine.explain(parsed, context, self._pf.world(context.grant))
        return answer(explanation(found))

    @described("requests", like="The body is that of a chat completion.", fails=(404, 429, 502, 503, 504))
    async def tokens(self, request: Request) -> Response:
        """The input tokens of a chat request: the engine's count, or an estimate."""
        parsed = parse_chat_request(await self._site.body(request.scope, request.receive))
        return answer(await self._pf.count(parsed, request.scope["prefrontal.context"]))

    async def count_messages(self, request: Request) -> Response:
        """The input tokens of a Messages request."""
        body = await self._site.body(request.scope, request.receive)
        return answer(await count_messages(self._pf, request.scope, body, request.scope["prefrontal.context"]))

    async def count_responses(self, request: Request) -> Response:
        """The input tokens of a Responses request."""
        body = await self._site.body(request.scope, request.receive)
        return answer(await count_responses(self._pf, body, request.scope["prefrontal.context"]))

    async def response(self, request: Request) -> Response:
        """One stored response, or its end."""
        response_id, context = request.path_params["response_id"], request.scope["prefrontal.context"]
        if request.method == "DELETE":
            return answer(await delete_response(self._pf, response_id, context))
        stream = request.query_params.get("stream") == "true"
        found = await get_response(self._pf, response_id, context, stream=stream)
        return Response(found, media_type="application/json")

    @described("requests", query=RecordFilter, answer=RequestRecord, many=True, fails=(400, 503))
    async def traces(self, request: Request) -> Response:
        """Request records, newest first."""
        wanted, context = _filter(request), request.scope["prefrontal.context"]
        if context.grant is not None:  # a virtual key sees its own requests
            wanted = msgspec.structs.replace(wanted, key_id=context.key_id)
        found = await self._pf.ledger.find(wanted)
        last = found[-1].id if found else None
        return answer({"object": "list", "data": found, "next_before": last})

    @described("requests", answer=RequestRecord, fails=(404, 503))
    async def trace(self, request: Request) -> Response:
        """One request record."""
        trace_id = request.path_params["trace_id"]
        record = await self._pf.ledger.get(trace_id)
        context = request.scope["prefrontal.context"]
        if record is None or (context.grant is not None and record.key_id != context.key_id):
            raise NotFound(f"There is no trace '{trace_id}'.", hint="It may be older than records.retention_days.")
        return answer(record)

    @described("configuration", answer=ConfigStatus)
    async def config_status(self, _request: Request) -> Response:
        """How the configuration stands."""
        return answer(self._pf.status())

    @described("configuration", answer=ConfigStatus, fails=(500, 503))
    async def config_reload(self, _request: Request) -> Response:
        """Read the configuration file again now; keys that their providers refused are tried again, also when nothing changed."""
        status = await self._pf.holder.reload_now()
        self._pf.runtime.parking.clear()
        if self._site.colleague is not None:
            await self._site.colleague.spread_reload()
        return answer(status)

    @described("engines", many=True)
    async def engines(self, _request: Request) -> Response:
        """The local engines."""
        return answer({"object": "list", "data": list_engines(self._pf)})

    @described("engines", fails=(404, 409, 502, 503, 504))
    async def engine_load(self, request: Request) -> Response:
        """Start a local engine and wait until it is ready."""
        url = await self._pf.engines.ensure(request.path_params["name"])
        return answer({"model": request.path_params["name"], "state": "ready", "base_url": url})

    @described("engines", fails=(404, 409, 503))
    async def engine_unload(self, request: Request) -> Response:
        """Stop a local engine."""
        await self._pf.engines.stop(request.path_params["name"])
        return answer({"model": request.path_params["name"], "state": "stopped"})


def _admits(ledger: Ledger) -> bool:
    """Return whether new work is taken: on Postgres records may wait for a while."""
    try:
        ledger.admit()
    except Overloaded:
        return False
    return True


def _grant(request: Request) -> Grant | None:
    found: Grant | None = request.scope["prefrontal.context"].grant
    return found


def _filter(request: Request) -> RecordFilter:
    query = dict(request.query_params)
    for name, words in CHOICES.items():
        if name in query and query[name] not in words:
            raise InvalidRequest(f"{name} cannot be '{query[name]}'.", param=name, hint=f"It is one of: {', '.join(words)}.")
    try:
        return msgspec.convert(query, RecordFilter, strict=False)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`")
        if name not in query:
            raise InvalidRequest(f"The query is wrong: {error}.", param="query") from error
        kind = "a whole number" if name == "limit" else "a number"
        raise InvalidRequest(f"{name} has to be {kind}, not '{query[name]}'.", param=name) from error
