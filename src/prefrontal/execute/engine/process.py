"""The operating system's side of an engine: starting the child, reading its pipes, probing it over HTTP, ending it.

`Spawn` is the seam: tests hand in a function that returns a `ChildProcess` of their own.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from prefrontal.clock import Clock

PROBE_TIMEOUT_S = 2.0
"""Assumed; a loaded two-core machine answered in 0.1 s."""
PROBE_EVERY_S = 0.02
"""Assumed: short beside the 0.07 s in which the smallest model was measured to start."""

_MAX_ANSWER_BYTES = 1024 * 1024
_MAX_LINE_CHARS = 2000
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|COOKIE", re.IGNORECASE)


class ChildProcess(Protocol):
    """What is used of `asyncio.subprocess.Process`."""

    @property
    def pid(self) -> int:
        """The process id."""
        ...

    @property
    def returncode(self) -> int | None:
        """The exit code once it ended and was waited for; a signal is negative."""
        ...

    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


Spawn = Callable[[Sequence[str], Mapping[str, str]], Awaitable[ChildProcess]]
"""Starts a child with these flags and this environment."""


async def spawn_child(flags: Sequence[str], environ: Mapping[str, str]) -> ChildProcess:
    """Start `prefrontal.execute.engine.child` in a session of its own, so that a Ctrl-C in the terminal goes to us alone.

    Its standard input stays open as long as this process lives; see the child's own description.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "prefrontal.execute.engine.child",
        f"--parent-pid={os.getpid()}",
        *flags,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=dict(environ),
        start_new_session=True,
    )


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what looks like a secret: an engine needs none."""
    return {name: value for name, value in environ.items() if not _SECRET.search(name)}


async def announced_port(child: ChildProcess) -> int | None:
    """Wait for the line in which the child names its port; None when its standard output ends instead."""
    if child.stdout is None:
        return None
    while line := await child.stdout.readline():
        try:
            return int(msgspec.json.decode(line)["port"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            continue
    return None


async def read_lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    """Yield the lines of a pipe until its end, however long or undecodable they are (cut at 2000 characters)."""
    rest = b""
    while stream is not None and (chunk := await stream.read(65536)):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line[:_MAX_LINE_CHARS].decode(errors="replace").rstrip()
        rest = rest[:_MAX_LINE_CHARS]
    if rest:
        yield rest.decode(errors="replace").rstrip()


async def http_get(port: int, path: str, clock: Clock) -> tuple[int, bytes] | None:
    """GET from 127.0.0.1 and return status and body; None when it cannot be reached or does not answer within 2 s."""
    try:
        async with clock.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
                answer = await _read_at_most(reader, _MAX_ANSWER_BYTES)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    return (int(words[1]), body) if len(words) > 1 and words[1].isdigit() else None


async def until_healthy(port: int, clock: Clock) -> None:
    """Wait until ``GET /health`` answers 200. Any other status, 503 "Loading model" above all, means not yet."""
    while True:
        answer = await http_get(port, "/health", clock)
        if answer is not None and answer[0] == 200:
            return
        await clock.sleep(PROBE_EVERY_S)


async def is_busy(port: int, clock: Clock) -> bool:
    """Say whether a slot of the engine is at work. An engine that does not answer counts as busy."""
    answer = await http_get(port, "/slots", clock)
    return answer is None or answer[0] != 200 or b'"is_processing":true' in answer[1].replace(b" ", b"")


async def end_child(child: ChildProcess, clock: Clock, *, grace_s: float) -> None:
    """End the child and wait for it: a request first, force after `grace_s`. Returns after at most twice that."""
    if child.returncode is not None:
        return
    for ask in (child.terminate, child.kill):
        try:
            ask()
        except ProcessLookupError:
            pass
        try:
            async with clock.timeout(grace_s):
                await child.wait()
                return
        except TimeoutError:
            continue


async def _read_at_most(reader: asyncio.StreamReader, size: int) -> bytes:
    answer = b""
    while len(answer) < size and (chunk := await reader.read(65536)):
        answer += chunk
    return answer
