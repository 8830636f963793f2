"""The API's description: every own route is in it, made of the types that are decoded; the page needs nothing from elsewhere."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

import prefrontal
from prefrontal.app.money import KeyChange, KeyDraft
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.serve.described import description_of
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.site import Site

STATED = ("/v1/messages/count_tokens", "/v1/responses/input_tokens", "/v1/responses/{response_id}")
"""Routes whose form is another maker's, described there."""


class Gateway:
    """A site and a client of it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(site, client=("127.0.0.1", 5000)), base_url="http://127.0.0.1")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with a key for callers and one for admins."""
    async with AsyncExitStack() as stack:
        tree = {"discovery": {"enabled": False}, "server": {"api_keys": ["plain"], "admin_keys": ["boss"]}}
        env = {"PREFRONTAL_HOME": str(tmp_path)}
        pf = await stack.enter_async_context(prefrontal.open(tree, env=env, ledger=MemoryLedger()))
        found = Gateway(Site(pf, Metrics(pf), instance="pf_test"))
        await stack.enter_async_context(found.http)
        yield found


async def document(gateway: Gateway, key: str = "plain") -> dict[str, Any]:
    """The description as a client gets it."""
    found: dict[str, Any] = (await gateway.http.get("/openapi.json", headers={"authorization": f"Bearer {key}"})).json()
    return found


async def test_every_own_route_is_described_and_nothing_else(gateway: Gateway) -> None:
    """Method by method: what lies under /v1 in the router, and back."""
    served = {
        (method.lower(), re.sub(r":path\}", "}", route.path))
        for route in gateway.site.routes
        if isinstance(route, Route) and route.path.startswith("/v1/") and route.path not in STATED
        for method in (route.methods or set()) - {"HEAD"}
    }
    paths = (await document(gateway))["paths"]
    assert {(method, path) for path, methods in paths.items() for method in methods} == served
    assert ("post", "/v1/admin/keys") in served


async def test_bodies_are_the_types_that_are_decoded(gateway: Gateway) -> None:
    """Each field of the type stands in the document, and a body with another field is refused."""
    found = await document(gateway)
    schemas = found["components"]["schemas"]
    assert set(schemas["KeyDraft"]["properties"]) == set(KeyDraft.__struct_fields__)
    assert set(schemas["KeyChange"]["properties"]) == set(KeyChange.__struct_fields__)
    assert schemas["KeyDraft"]["required"] == ["name"]
    for path, methods in found["paths"].items():
        body = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in body:
            url = path.replace("{key_id}", "k").replace("{name}", "n")
            answer = await gateway.http.post(url, json={"unheard_of": 1}, headers={"authorization": "Bearer boss"})
            assert answer.status_code in (400, 404), path
            assert str(answer.status_code) in methods["post"]["responses"]


async def test_every_operation_says_what_it_does_under_a_name_of_its_own(gateway: Gateway) -> None:
    """Operation ids are unique, summaries are there, references lead somewhere."""
    found = await document(gateway)
    operations = [operation for methods in found["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) > 20
    assert all(operation["summary"].endswith(".") for operation in operations)
    named = set(re.findall(r"#/components/schemas/(\w+)", str(found)))
    assert named <= set(found["components"]["schemas"])


async def test_the_page_shows_every_operation_and_loads_nothing(gateway: Gateway) -> None:
    """A browser's password is the key; no script, no address of another host, and a policy that would stop both."""
    basic = base64.b64encode(b"any:plain").decode()
    page = await gateway.http.get("/docs", headers={"authorization": f"Basic {basic}"})
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    text = page.text
    assert "<script" not in text
    assert not re.search(r"(src|href)=.?https?:", text)
    for path in (await document(gateway))["paths"]:
        assert path in text
    assert "budgets[].window" in text


async def test_description_and_page_ask_for_a_key(gateway: Gateway) -> None:
    """Without one: 401, for the page with the browser's question."""
    assert (await gateway.http.get("/openapi.json")).status_code == 401
    page = await gateway.http.get("/docs")
    assert page.status_code == 401
    assert page.headers["www-authenticate"].startswith("Basic")


def test_a_handler_without_a_description_has_none() -> None:
    """Routes of probes and pages are not part of the API."""
    assert description_of(print) is None
