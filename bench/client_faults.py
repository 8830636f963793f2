"""What the upstream clients do when things go wrong: a part of clients.py, which runs it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time


async def listen(behave, **options):
    server = await asyncio.start_server(behave, "127.0.0.1", 0, **options)
    return server, server.sockets[0].getsockname()[1]


async def probe(client) -> dict:
    found: dict[str, object] = {}
    for label, head in (("cancel before head, whole", False), ("cancel before head, stream", False), ("cancel in stream", True)):
        found[label] = await leave(client, streaming=label != "cancel before head, whole", head=head)
    found["first of 10 events"] = await first_event(client)
    found["self-signed"] = await self_signed(client)
    return found


async def leave(client, *, streaming: bool, head: bool) -> str:
    """Cancel a call and report how long the upstream took to see it, at most two seconds."""
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def behave(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        if head:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        arrived.set()
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        closed.set()
        writer.close()

    server, port = await listen(behave)
    task = asyncio.ensure_future(drain(client, f"http://127.0.0.1:{port}/", streaming))
    await arrived.wait()
    await asyncio.sleep(0.1)
    begun = time.perf_counter()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    try:
        await asyncio.wait_for(closed.wait(), 2)
        return f"{(time.perf_counter() - begun) * 1000:.1f} ms"
    except TimeoutError:
        return "not within 2 s"
    finally:
        server.close()


async def drain(client, url: str, streaming: bool) -> None:
    if not streaming:
        await client.call(url)
        return
    stream = client.stream(url)
    try:
        async for _ in stream:
            pass
    finally:
        await stream.aclose()


async def first_event(client) -> str:
    async def behave(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(10):
            writer.write(b"8\r\ndata: x\n\r\n")
            await asyncio.sleep(0.02)
        writer.write(b"0\r\n\r\n")
        writer.close()

    server, port = await listen(behave)
    begun, first_s = time.perf_counter(), 0.0
    async for _ in client.stream(f"http://127.0.0.1:{port}/"):
        first_s = first_s or time.perf_counter() - begun
    server.close()
    return f"{first_s * 1000:.1f} ms"


async def self_signed(client) -> str:
    try:
        import trustme
    except ModuleNotFoundError:
        return "(needs trustme)"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server, port = await listen(lambda reader, writer: writer.close(), ssl=context)
    try:
        await client.call(f"https://127.0.0.1:{port}/")
    except Exception as error:
        text = getattr(error, "text", str(error))
        return f"{type(error).__name__}: {text.replace(str(port), 'PORT')[:230]}"
    finally:
        server.close()
    return "accepted!"
