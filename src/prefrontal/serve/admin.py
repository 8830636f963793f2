"""The admin routes: keys, budgets, what was spent, and what was done here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from prefrontal.app.money import KeyChange, KeyDraft
from prefrontal.app.prices import PriceLine, price_list
from prefrontal.app.privacy import Erased, Whose, privacy_of
from prefrontal.contracts.money import to_usd
from prefrontal.errors import InvalidRequest
from prefrontal.ledger.rules import BudgetState
from prefrontal.ledger.vault import GROUPS, MAX_AUDIT, Audit, Group, SpendQuery, SpendRow
from prefrontal.serve.access import Caller
from prefrontal.serve.described import described

if TYPE_CHECKING:
    from prefrontal.serve.site import Site

T = TypeVar("T")

LOCAL_ACTOR = "local"
"""Who did it, in the audit log, where no key was asked for."""


def admin_routes(site: Site) -> list[Route]:
    """Return the routes below ``/v1/admin``; `site` has let only admins in."""
    pages = AdminPages(site)
    return [
        Route("/v1/admin/keys", pages.keys, methods=["GET"]),
        Route("/v1/admin/keys", pages.create, methods=["POST"]),
        Route("/v1/admin/keys/{key_id}", pages.key, methods=["GET"]),
        Route("/v1/admin/keys/{key_id}", pages.change, methods=["POST"]),
        Route("/v1/admin/keys/{key_id}", pages.revoke, methods=["DELETE"]),
        Route("/v1/admin/budgets", pages.budgets, methods=["GET"]),
        Route("/v1/admin/spend", pages.spend, methods=["GET"]),
        Route("/v1/admin/prices", pages.prices, methods=["GET"]),
        Route("/v1/admin/audit", pages.audit, methods=["GET"]),
        Route("/v1/admin/erase", pages.erase, methods=["POST"]),
        Route("/v1/admin/export", pages.export, methods=["GET"]),
    ]


class SpendParams(msgspec.Struct, frozen=True, kw_only=True):
    """The query of a report: groups with commas between them; a date or Unix seconds each."""

    by: str = "model"
    since: str | None = None
    until: str | None = None


class PriceParams(msgspec.Struct, frozen=True, kw_only=True):
    """The query of the price list."""

    model: str | None = None


class AuditParams(msgspec.Struct, frozen=True, kw_only=True):
    """The query of the audit log."""

    limit: Annotated[int, msgspec.Meta(ge=0)] = 100


class AdminPages:
    """The handlers, one a route."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pf = site.pf

    @described("keys", many=True, fails=(503,))
    async def keys(self, _request: Request) -> Response:
        """All keys, without secrets."""
        found = await self._pf.money.keys.keys()
        return _answer({"object": "list", "data": [key.public() for key in found]})

    @described("keys", body=KeyDraft, status=201, fails=(409, 503))
    async def create(self, request: Request) -> Response:
        """Make a key; its secret is in this answer and nowhere else."""
        issued = await self._pf.money.issue(await self._read(request, KeyDraft), actor_of(request))
        return _answer({**issued.key.public(), "key": issued.secret}, 201)

    @described("keys", fails=(404, 503))
    async def key(self, request: Request) -> Response:
        """One key, by id or name."""
        return _answer((await self._pf.money.key(request.path_params["key_id"])).public())

    @described("keys", body=KeyChange, fails=(404, 409, 503))
    async def change(self, request: Request) -> Response:
        """Change fields of a key."""
        change = await self._read(request, KeyChange)
        changed = await self._pf.money.change(request.path_params["key_id"], change, actor_of(request))
        return _answer(changed.public())

    @described("keys", fails=(404, 503))
    async def revoke(self, request: Request) -> Response:
        """Revoke a key."""
        return _answer((await self._pf.money.revoke(request.path_params["key_id"], actor_of(request))).public())

    @described("money", answer=BudgetState, many=True, fails=(503,))
    async def budgets(self, _request: Request) -> Response:
        """Every budget, as it stands."""
        return _answer({"object": "list", "data": await self._pf.money.budgets()})

    @described("money", query=SpendParams, many=True, fails=(400, 503))
    async def spend(self, request: Request) -> Response:
        """What was spent, added up."""
        query = query_of(request, SpendParams)
        wanted = spend_query(query.by or "model", query.since, query.until)
        rows = await self._pf.money.report(wanted)
        return _answer({"object": "list", "data": [spend_line(wanted, row) for row in rows]})

    @described("money", query=PriceParams, answer=PriceLine, many=True, fails=(404,))
    async def prices(self, request: Request) -> Response:
        """What each model costs, and who says so."""
        model = query_of(request, PriceParams).model
        return _answer({"object": "list", "data": price_list(self._pf.registry, self._pf.clock.now(), model)})

    @described("audit", query=AuditParams, answer=Audit, many=True, fails=(400, 503))
    async def audit(self, request: Request) -> Response:
        """What was done here, newest first."""
        wanted = query_of(request, AuditParams)
        return _answer({"object": "list", "data": await self._pf.money.vault.audits(min(wanted.limit, MAX_AUDIT))})

    @described("privacy", body=Whose, answer=Erased, fails=(404, 503))
    async def erase(self, request: Request) -> Response:
        """Delete what is kept of a key, a person or a request."""
        whose = await self._read(request, Whose)
        return _answer({"object": "erased", **msgspec.to_builtins(await privacy_of(self._pf).erase(whose, actor_of(request)))})

    @described("privacy", query=Whose, media="application/jsonl", fails=(400, 404, 503))
    async def export(self, request: Request) -> Response:
        """What is kept of a key, a person or a request, one JSON object a line."""
        whose = query_of(request, Whose)
        lines = privacy_of(self._pf).export(whose, actor_of(request))
        first = await anext(lines, None)  # what is wrong is said before the answer begins

        async def written() -> AsyncIterator[bytes]:
            if first is not None:
                yield msgspec.json.encode(first) + b"\n"
            async for line in lines:
                yield msgspec.json.encode(line) + b"\n"

        return StreamingResponse(written(), media_type="application/jsonl")

    async def _read(self, request: Request, kind: type[T]) -> T:
        body = await self._site.body(request.scope, request.receive)
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at `$")
            raise InvalidRequest(f"The body is wrong: {message}.", param=path.strip("`.") or None) from error
        except msgspec.DecodeError as error:
            raise InvalidRequest(f"The body is not JSON: {error}.") from error


def query_of(request: Request, kind: type[T]) -> T:
    """Return a request's query as `kind`; parameters it does not have are ignored where it allows that. Raises InvalidRequest."""
    try:
        return msgspec.convert(dict(request.query_params), kind, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise InvalidRequest(f"The query is wrong: {message}.", param=path.rstrip("`") or "query") from error


def spend_query(by: str, since: str | None, until: str | None) -> SpendQuery:
    """Return the query of a report.

    by: groups with commas between them. since, until: ``2026-01-31``, ``2026-01-31T12:00:00Z`` or Unix seconds; UTC where no zone
    is given. Raises InvalidRequest.
    """
    groups: list[Group] = []
    for name in [part.strip() for part in by.split(",") if part.strip()]:
        found = next((group for group in GROUPS if group == name), None)
        if found is None:
            raise InvalidRequest(f"Spending cannot be added up by '{name}'.", param="by", hint=f"Known: {', '.join(GROUPS)}.")
        if found not in groups:
            groups.append(found)
    return SpendQuery(by=tuple(groups), since_s=moment_of(since, "since"), until_s=moment_of(until, "until"))


def spend_line(query: SpendQuery, row: SpendRow) -> dict[str, Any]:
    """Return one line of a report with its groups by name."""
    return {
        **dict(zip(query.by, row.group, strict=True)),
        "calls": row.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": to_usd(row.cost_pico),
        "estimated": row.estimated,
        "unpriced": row.unpriced,
    }


def moment_of(text: str | None, param: str) -> float | None:
    """Return the Unix time of a date or of Unix seconds, None for nothing. Raises InvalidRequest."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(f"'{text}' is not a date.", param=param, hint="Write 2026-01-31 or Unix seconds.") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def actor_of(request: Request) -> str:
    """Return who did it, for the audit log."""
    caller: Caller = request.scope["prefrontal.caller"]
    return caller.key_id or LOCAL_ACTOR


def _answer(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value, enc_hook=str), status, media_type="application/json")
