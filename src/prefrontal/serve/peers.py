"""Who connected, when proxies may stand between: an address is believed only from those the configuration names."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from prefrontal.contracts.reach import is_loopback
from prefrontal.serve.types import Scope

FORWARDED = (b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via", b"x-forwarded-host", b"cf-connecting-ip")
"""Headers that a proxy adds: a caller with one of them does not sit at this machine, whoever connected."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Peers:
    """Tells where callers are. `trusted` are the networks whose proxies are believed."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted: tuple[Network, ...] = tuple([ipaddress.ip_network(text, strict=False) for text in trusted])

    def of(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the caller's address as far as it can be believed; None: unknown, and certainly not this machine's."""
        client = scope.get("client")
        peer: str | None = client[0] if client else None
        if not any(name in headers for name in FORWARDED):
            return peer
        if self._is_trusted(peer):
            return self._behind(headers)
        return None if is_loopback(peer) else peer

    def _behind(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the last address in ``x-forwarded-for`` that is no proxy of ours: those before it are the caller's own words."""
        chain = [part.strip() for part in headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")]
        for address in reversed(chain):
            if not self._is_trusted(address):
                try:
                    found = ipaddress.ip_address(address)
                except ValueError:
                    return None
                return None if found.is_loopback else str(found)
        return None

    def _is_trusted(self, address: str | None) -> bool:
        try:
            found = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        return any(found.version == network.version and found in network for network in self._trusted)
