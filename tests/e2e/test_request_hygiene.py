"""Requests that could be read in two ways, that never end, or that are far too large: raw bytes against the real server."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.testing.upstream import MockUpstream

BODY = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
INNER = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n" + LENGTH + BODY
"""A whole request, to be hidden in or behind another one."""
BOMB = gzip.compress(bytes(900_000))

REFUSED: dict[str, tuple[int, bytes]] = {
    "length and chunks": (400, POST + b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n" + INNER),
    "chunks and length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + INNER),
    "two lengths that differ": (400, POST + b"Content-Length: 0\r\n" + LENGTH + INNER),
    "two lengths that agree": (400, POST + b"Content-Length: %d\r\n" % len(BODY) + LENGTH + BODY),
    "a list of lengths": (400, POST + b"Content-Length: 5, 5\r\n\r\nabcde"),
    "a length with a sign": (400, POST + b"Content-Length: +5\r\n\r\nabcde" + INNER),
    "a negative length": (400, POST + b"Content-Length: -5\r\n\r\nabcde" + INNER),
    "a length beyond counting": (400, POST + b"Content-Length: 99999999999999999999999\r\n\r\nabcde"),
    "a folded header": (400, POST + b"X-A: b\r\n c: d\r\n" + LENGTH + BODY),
    "chunks by a folded header": (400, POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + INNER),
    "lines ended by LF alone": (400, (POST + LENGTH).replace(b"\r\n", b"\n") + BODY),
    "a CR inside a value": (400, POST + b"X-A: b\rContent-Length: 0\r\n" + LENGTH + BODY),
    "a NUL inside a value": (400, POST + b"X-A: b\0c\r\n" + LENGTH + BODY),
    "a space before the colon": (400, POST + b"Content-Length : 5\r\n\r\nabcde" + INNER),
    "an unknown transfer coding": (400, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + INNER),
    "chunks that are not last": (400, POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + INNER),
    "chunks named twice": (400, POST + b"Transfer-Encoding: chunked\r\n" + CHUNKED + b"0\r\n\r\n" + INNER),
    "compressed chunks": (400, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + INNER),
    "chunks in HTTP/1.0": (400, POST.replace(b"HTTP/1.1", b"HTTP/1.0") + CHUNKED + b"0\r\n\r\n" + INNER),
    "a chunk size that is none": (400, POST + CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n" + INNER),
    "a negative chunk size": (400, POST + CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n" + INNER),
    "a chunk size beyond counting": (400, POST + CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n" + INNER),
    "a chunk longer than its size": (400, POST + CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n" + INNER),
    "chunks ended by LF alone": (400, POST + CHUNKED + b"5\nabcde\n0\n\n" + INNER),
    "two hosts": (400, b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + INNER),
    "no host": (400, b"GET /livez HTTP/1.1\r\n\r\n" + INNER),
    "two keys": (400, POST + b"Authorization: Bearer a\r\nauthorization: Bearer b\r\n" + LENGTH + BODY),
    "a request for a proxy": (400, b"GET http://evil.example/livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + INNER),
    "a tunnel": (400, b"CONNECT evil.example:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + INNER),
    "HTTP/2 by itself": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/0.9": (400, b"GET /livez\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)),
    "a giant header": (431, POST + b"X-A: " + b"a" * 70_000 + b"\r\n" + LENGTH + BODY),
    "a giant header that never ends": (431, POST + b"X-A: " + b"a" * 70_000),
    "a giant URL": (431, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n" + INNER),
    "too many headers": (431, POST + b"".join(b"x-%d: b\r\n" % n for n in range(250)) + LENGTH + BODY + INNER),
    "a body too large by its length": (413, POST + b"Content-Length: 9000\r\n\r\n" + b"a" * 9000),
    "a body too large in chunks": (413, POST + CHUNKED + b"2328\r\n" + b"a" * 9000 + b"\r\n0\r\n\r\n"),
}
HIDDEN: dict[str, tuple[int, bytes]] = {
    "in a body nobody reads": (404, b"POST /v1/no HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER),
    "in the body of a GET": (200, b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER),
    "in a chunk": (200, b"GET /livez HTTP/1.1\r\nHost: a\r\n" + CHUNKED + b"%x\r\n" % len(INNER) + INNER + b"\r\n0\r\n\r\n"),
    "compressed": (
        415,
        POST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB,
    ),
}  # fmt: skip


class Raw:
    """Sends bytes to a gateway and takes what comes back."""

    def __init__(self, url: str, upstream: MockUpstream) -> None:
        self.port = int(url.rpartition(":")[2])
        self.upstream = upstream

    async def send(self, data: bytes, *, wait_s: float = 5.0, quiet_s: float = 0.0) -> tuple[list[int], bytes, bool]:
        """Return the statuses that came, all bytes, and whether the server closed; `quiet_s`: how long nothing more may come."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        out, closed = b"", False
        try:
            writer.write(data)
            while True:
                async with asyncio.timeout(quiet_s if quiet_s and out else wait_s):
                    piece = await reader.read(65536)
                closed = not piece
                if closed:
                    break
                out += piece
        except ConnectionError:
            closed = True
        except TimeoutError:
            pass
        finally:
            writer.close()
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", out)], out, closed


@pytest.fixture
async def raw(start_gateway: Callable[..., Any], tmp_path: Path) -> AsyncIterator[Raw]:
    async with MockUpstream({"x": "y"}, models=("m",)) as upstream:
        config = {
            "server": {"max_body_bytes": 4096, "max_header_bytes": 8192, "head_timeout_s": 0.4, "body_timeout_s": 0.6},
            "discovery": {"enabled": False},
            "models": {"m": {"profile": "openai", "endpoint": upstream.base_url, "key": "k"}},
        }
        gateway = await asyncio.to_thread(start_gateway, tmp_path / "home", config)
        yield Raw(gateway.url, upstream)
        await asyncio.to_thread(gateway.stop)
        assert "Traceback" not in gateway.errors()


async def test_what_can_be_read_in_two_ways_is_refused_and_the_connection_closed(raw: Raw) -> None:
    """One answer of the right status, then the end; the request hidden behind it is never seen, and no model is asked."""
    for name, (status, data) in REFUSED.items():
        found, _, closed = await raw.send(data)
        assert (found, closed) == ([status], True), name
    for name, (status, data) in HIDDEN.items():
        found, _, _ = await raw.send(data, quiet_s=0.15)
        assert found == [status], name
    assert raw.upstream.requests == []
    found, _, _ = await raw.send(POST + LENGTH + BODY, quiet_s=0.15)
    assert found == [200]
    assert len(raw.upstream.requests) == 1


async def test_a_trailer_is_no_header(raw: Raw) -> None:
    """What comes after a chunked body cannot add a header that a proxy in front of us did not see."""
    body = b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\nx-request-id: from-a-trailer\r\n\r\n"
    found, out, _ = await raw.send(POST + CHUNKED + body, quiet_s=0.15)
    assert found == [200]
    assert b"from-a-trailer" not in out


SLOW: tuple[tuple[bytes, int], ...] = (
    (b"GET /livez", 408),
    (POST, 408),
    (POST + b"Content-Length: 100\r\n\r\n{", 408),
    (b"POST /v1/no HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{", 404),
    (POST + CHUNKED + b"5;" + b"a" * 300, 408),
)


async def test_who_sends_slowly_is_not_waited_for(raw: Raw) -> None:
    """Neither in the head nor in the body, also one whose answer is out already; drops that keep coming buy no time."""
    ended = await asyncio.gather(*[dripped(raw.port, data) for data, _ in SLOW])
    for (data, answered), out in zip(SLOW, ended, strict=True):
        assert [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", out)] in ([answered], []), data


async def dripped(port: int, data: bytes) -> bytes:
    """Send, then byte by byte for as long as the server takes it; return what came, nothing where a reset overtook it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)

    async def drip() -> None:
        while True:
            await asyncio.sleep(0.1)
            writer.write(b"a")

    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(3):
            return await reader.read(-1)
    except ConnectionResetError:
        return b""
    finally:
        dripping.cancel()
        writer.close()
