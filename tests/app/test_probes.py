"""An upstream that was down is used again as soon as it is back, and no request has to find out that it is not."""

from __future__ import annotations

import asyncio
from typing import Any

import prefrontal
from prefrontal.app.library import Prefrontal
from prefrontal.errors import PrefrontalError
from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream


def config(upstream: MockUpstream) -> dict[str, Any]:
    breaker = {"failures": 1, "open_s": 60.0, "probe_s": 0.05}
    return {
        "models": {"m": {"profile": "openai-compatible", "endpoint": upstream.base_url}},
        "limits": {"retries": {"attempts": 1}, "breaker": breaker},
        "discovery": {"enabled": False},
        "records": {"enabled": False},
    }


async def outcome(pf: Prefrontal) -> str:
    try:
        await pf.chat("Hello", model="m")
    except PrefrontalError as error:
        return error.code
    return "ok"


async def test_an_upstream_that_is_back_is_used_at_once() -> None:
    """Its breaker would rest for a minute; the probe sees it answer again, and the next request gets its answer."""
    async with MockUpstream(lambda _: Answer(text="fine")) as upstream, prefrontal.open(config(upstream)) as pf:
        upstream.fail(Fault(kind="status", status=500, times=None, when=lambda _: True))
        assert await outcome(pf) == "upstream_error"
        await asyncio.sleep(0.3)
        assert await outcome(pf) == "upstream_overloaded"
        upstream.heal()
        for _ in range(100):
            await asyncio.sleep(0.05)
            if await outcome(pf) == "ok":
                break
        assert await outcome(pf) == "ok"
        chats = [request for request in upstream.requests if request.method == "POST"]
        assert len(chats) == 3  # the one that failed and the two that did not


async def test_a_model_that_fails_while_its_upstream_is_there_rests_as_long_as_ever() -> None:
    """A list of models that works says nothing of answers."""
    async with MockUpstream(lambda _: Answer(text="fine")) as upstream, prefrontal.open(config(upstream)) as pf:
        upstream.fail(Fault(kind="status", status=500))
        assert await outcome(pf) == "upstream_error"
        await asyncio.sleep(0.4)
        assert await outcome(pf) == "upstream_overloaded"
        assert any(request.method == "GET" for request in upstream.requests)
