"""The pages' handlers, and errors as pages."""

from __future__ import annotations

import base64
import hashlib
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from prefrontal.errors import InvalidRequest, NotAuthenticated, NotFound, PrefrontalError
from prefrontal.ledger.store import RecordFilter
from prefrontal.serve.types import Headers
from prefrontal.serve.ui.guard import CHALLENGE, page_headers
from prefrontal.serve.ui.view import list_view, trace_view

if TYPE_CHECKING:
    from jinja2 import Environment

    from prefrontal.serve.site import Site

PAGE_LENGTH = 50
FILTERS = ("status", "model", "answered_by", "channel", "before")


class Shell:
    """Fills the templates. jinja2 is imported with the first page."""

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import Environment, PackageLoader, StrictUndefined

        return Environment(
            loader=PackageLoader("prefrontal.serve.ui"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    @cached_property
    def _style(self) -> str:
        return resources.files("prefrontal.serve.ui").joinpath("style.css").read_text(encoding="utf-8")

    @cached_property
    def headers(self) -> Headers:
        """The headers of every page."""
        return page_headers(base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode())

    def page(self, template: str, **values: Any) -> bytes:
        """Return a page. Everything in `values` is escaped."""
        from markupsafe import Markup

        style = Markup(self._style)  # noqa: S704 - our own file, read from the package
        return self._environment.get_template(template).render(style=style, **values).encode()

    def error(self, error: PrefrontalError, request_id: str | None) -> tuple[Headers, bytes]:
        """Return an error as a page, with the browser's question for a key where that is what is missing."""
        challenge = [CHALLENGE] if isinstance(error, NotAuthenticated) else []
        return [*self.headers, *challenge], self.page("error.html", error=error, request_id=request_id)


class TracePages:
    """The list of requests, and one request."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def traces(self, request: Request) -> Response:
        """The newest requests that the caller may see, filtered by the query."""
        query = {name: value for name, value in request.query_params.items() if name in FILTERS and value}
        try:
            wanted = msgspec.convert({**query, "limit": PAGE_LENGTH}, RecordFilter, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"The query is wrong: {error}.", param="query") from error
        context = request.scope["prefrontal.context"]
        if context.grant is not None:  # a virtual key sees its own requests
            wanted = msgspec.structs.replace(wanted, key_id=context.key_id)
        records = await self._site.pf.ledger.find(wanted)
        older = None
        if len(records) == PAGE_LENGTH:
            older = "/ui/traces?" + urlencode({**query, "before": records[-1].id})
        return self._answer("traces.html", older=older, **list_view(records, query))

    async def trace(self, request: Request) -> Response:
        """One request. Raises NotFound, also for one that is not the caller's to see."""
        trace_id = request.path_params["trace_id"]
        record = await self._site.pf.ledger.get(trace_id)
        context = request.scope["prefrontal.context"]
        if record is None or (context.grant is not None and record.key_id != context.key_id):
            raise NotFound(f"There is no trace '{trace_id}'.", hint="It may be older than records.retention_days.")
        return self._answer("trace.html", **trace_view(record))

    def _answer(self, template: str, **values: Any) -> Response:
        shell = self._site.shell
        answer = Response(shell.page(template, **values))
        answer.raw_headers = [*shell.headers, (b"content-length", b"%d" % len(answer.body))]
        return answer


def ui_routes(site: Site) -> list[Route]:
    """Return the routes of the pages."""
    pages = TracePages(site)
    return [
        Route("/ui/traces", pages.traces, methods=["GET"]),
        Route("/ui/traces/{trace_id}", pages.trace, methods=["GET"]),
    ]
