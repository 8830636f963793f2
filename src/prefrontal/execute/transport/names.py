"""How names become addresses: this machine's own without asking anybody, all others by the system."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class LocalNames(AbstractResolver):
    """Knows ``localhost`` by itself (specified: RFC 6761), so that no resolver can point it elsewhere."""

    def __init__(self) -> None:
        self._system: ThreadedResolver | None = None

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Return the addresses of `host`. Raises OSError when it has none."""
        if host.lower() == "localhost":
            wanted = [one for one in LOOPBACK if family in (socket.AF_UNSPEC, one[0])]
            return [result(host, address, port, kind) for kind, address in wanted]
        self._system = self._system or ThreadedResolver()
        return await self._system.resolve(host, port, family)

    async def close(self) -> None:
        """Nothing to close."""


def result(host: str, address: str, port: int, family: int) -> ResolveResult:
    """Return one address in the client's form; it is connected to as it stands."""
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    )
