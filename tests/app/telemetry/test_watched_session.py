"""The session the exporters send through is held to the rules about hosts."""

from __future__ import annotations

import asyncio

import pytest

from prefrontal.app.telemetry.watched import watched_session
from prefrontal.clock import SystemClock
from prefrontal.config.schema_egress import Egress
from prefrontal.errors import EgressDenied
from prefrontal.execute.egress import egress_guard
from prefrontal.testing.http_server import HttpServer, Recorded, Reply


async def test_redirects_and_proxies_are_asked_about_like_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that redirects elsewhere is not followed there, and a proxy elsewhere is not gone through."""

    async def away(asked: Recorded, reply: Reply) -> None:
        reply.whole(307, {"location": "http://elsewhere.invalid/v1/traces"}, b"")

    server = HttpServer(away, clock=SystemClock())
    await server.start(0)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    session = watched_session(egress_guard(lambda: Egress(allow=("collector.invalid",))))
    try:
        with pytest.raises(EgressDenied, match="elsewhere"):
            await asyncio.to_thread(session.post, f"http://127.0.0.1:{server.port}/v1/traces", data=b"x")
        with pytest.raises(EgressDenied, match="proxy"):
            await asyncio.to_thread(session.post, "http://collector.invalid/v1/traces", data=b"x")
    finally:
        session.close()
        await server.stop()
    assert len(server.requests) == 1
