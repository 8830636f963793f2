"""What any gateway on our server and our client pays: bytes in, bytes out, nothing else. ``python -m bench.bare PORT KIND=URL…``.

The first part of a request's path says where it goes: ``/plain/v1/chat/completions`` to the upstream of that name.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import uvicorn
import uvloop

JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]
UPSTREAM_HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-none"}


class Bare:
    """An ASGI application that forwards."""

    def __init__(self, urls: dict[str, str]) -> None:
        self._urls = {f"/{kind}/v1/chat/completions": url for kind, url in urls.items()}
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        message = await receive()
        body = message.get("body", b"")
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        async with self._session.post(self._urls[scope["path"]], data=body, headers=UPSTREAM_HEADERS) as answer:
            if answer.content_type == "text/event-stream":
                await relay(answer, receive, send)
                return
            data = await answer.read()
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [*JSON, (b"content-length", b"%d" % len(data))],
            }
        )
        await send({"type": "http.response.body", "body": data})


async def relay(answer: aiohttp.ClientResponse, receive: Any, send: Any) -> None:
    """Pass a stream on as it comes; a client that leaves ends it, which any server must notice."""
    me = asyncio.current_task()
    assert me is not None
    gone = asyncio.ensure_future(receive())
    gone.add_done_callback(lambda done: None if done.cancelled() else me.cancel())
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": EVENTS})
        async for data in answer.content.iter_any():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        gone.cancel()
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


def main() -> None:
    app = Bare(dict(pair.split("=", 1) for pair in sys.argv[2:]))
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        backlog=2048,
    )
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
