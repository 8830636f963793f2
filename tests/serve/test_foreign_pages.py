"""Pages in a browser, where callers on this machine need no key; and answers that a key may not have stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

import prefrontal
from prefrontal.contracts.access import Grant
from prefrontal.contracts.money import Payer
from prefrontal.errors import NotFound
from prefrontal.machine.context import CallContext
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.responses import get_response, serve_responses
from prefrontal.serve.site import Site
from prefrontal.serve.types import Message
from prefrontal.serve.watcher import EXTENSION, Leaving, Watcher

ASK = {"model": "auto", "messages": [{"role": "user", "content": "what is 17.5% of 2,340?"}]}


async def post(home: Path, server: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
    """Send one question to a gateway without models."""
    config = {"discovery": {"enabled": False}, "server": server}
    async with prefrontal.open(config, env={"PREFRONTAL_HOME": str(home)}) as pf:
        site = Site(pf, Metrics(pf), instance="pf_test")
        transport = httpx.ASGITransport(app=site, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4123") as http:
            return await http.post("/v1/chat/completions", json=ASK, headers=headers)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://elsewhere.example", 403),
        ("null", 403),
        ("http://[broken", 403),
        ("https://listed.example", 200),
        ("http://localhost:3000", 200),
        ("http://127.0.0.1:4123", 200),
        ("vscode-webview://abc", 200),
        (None, 200),
    ],
)
async def test_a_page_from_elsewhere_spends_nothing(tmp_path: Path, origin: str | None, status: int) -> None:
    """A browser sends simple requests without asking; without a key only pages that are known may have them served."""
    answer = await post(tmp_path, {"cors_origins": ["https://listed.example"]}, {} if origin is None else {"origin": origin})
    assert answer.status_code == status
    if status == 403:
        assert "server.cors_origins" in answer.text


async def test_a_page_that_has_a_key_is_served(tmp_path: Path) -> None:
    """The key says who asks; what the page may read is the browser's business."""
    headers = {"origin": "https://elsewhere.example", "authorization": "Bearer sk-own-0123456789"}
    assert (await post(tmp_path, {"api_keys": ["sk-own-0123456789"]}, headers)).status_code == 200


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_key_whose_content_is_not_stored_has_no_stored_responses(tmp_path: Path, keeps: bool) -> None:
    """`store_content: false` holds for the Responses API too, and the answer says so; another key's is there to be read."""
    grant = Grant(payer=Payer(key_id="key_1"), store_content=keeps)
    context = CallContext(key_id="key_1", grant=grant)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("the connection tells of its end")

    scope: dict[str, Any] = {"type": "http", "headers": [], "extensions": {EXTENSION: Leaving(lambda: None)}}
    async with prefrontal.open({"discovery": {"enabled": False}}, env={"PREFRONTAL_HOME": str(tmp_path)}) as pf:
        body = b'{"model": "auto", "input": "what is 17.5% of 2,340?"}'
        await serve_responses(pf, body, context, [], Watcher(scope, receive), send)
        told = httpx.Response(200, content=sent[1]["body"]).json()
        assert told["store"] is keeps
        if keeps:
            assert await get_response(pf, told["id"], context, stream=False) == sent[1]["body"]
        else:
            with pytest.raises(NotFound):
                await get_response(pf, told["id"], context, stream=False)
