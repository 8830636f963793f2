"""Who may come in: keys, loopback, and the host a browser believes it talks to."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence

import msgspec

from prefrontal.config.schema_service import Server
from prefrontal.errors import NotAllowed, NotAuthenticated

KEY_HEADERS = (b"x-api-key", b"api-key", b"x-goog-api-key")
"""Where clients of the various dialects put their key, besides ``authorization``."""

KEY_ID_DIGITS = 12


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. key_id: a digest of the key, for records. trusted: may read this host's metrics."""

    key_id: str | None = None
    trusted: bool = False


class Gate:
    """Checks keys in constant time. Built once per configuration."""

    def __init__(self, server: Server) -> None:
        self._plain = tuple([_digest(key) for key in server.api_keys])
        self._admin = tuple([_digest(key) for key in server.admin_keys])
        self._hosts = server.trusted_hosts

    @property
    def open(self) -> bool:
        """Whether no key is needed."""
        return not self._plain and not self._admin

    def admit(self, headers: Mapping[bytes, bytes], peer: str | None) -> Caller:
        """Return who asks.

        Raises:
            NotAuthenticated: no key, or a wrong one. NotAllowed: the Host header is not one of ours.
        """
        if self._hosts is not None:
            self._check_host(headers.get(b"host", b""))
        if self.open:
            return Caller(trusted=is_loopback(peer))
        shown = shown_key(headers)
        if shown is None:
            raise NotAuthenticated(
                "No API key was given.", hint="Send it as 'Authorization: Bearer KEY' (or in the header x-api-key)."
            )
        digest = _digest(shown)
        if _among(digest, self._admin):
            return Caller(key_id=digest.hex()[:KEY_ID_DIGITS], trusted=True)
        if _among(digest, self._plain):
            return Caller(key_id=digest.hex()[:KEY_ID_DIGITS], trusted=is_loopback(peer) and not self._admin)
        raise NotAuthenticated("The API key is not valid here.")

    def _check_host(self, host: bytes) -> None:
        name = host.decode("latin-1").rsplit(":", 1)[0].strip("[]").lower()
        if self._hosts is not None and name not in self._hosts and not is_loopback(name):
            raise NotAllowed(f"The host '{name}' is not served here.", hint="server.trusted_hosts lists those that are.")


def shown_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the key a caller shows, wherever their dialect puts it."""
    authorization = headers.get(b"authorization")
    if authorization and authorization[:7].lower() == b"bearer ":
        return authorization[7:].strip().decode("latin-1")
    for name in KEY_HEADERS:
        value = headers.get(name)
        if value:
            return value.decode("latin-1")
    return None


def is_loopback(host: str | None) -> bool:
    """Return whether an address or name is this machine."""
    if host is None:
        return False
    if host in ("127.0.0.1", "::1", "localhost"):  # the common answers without parsing
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _among(digest: bytes, known: Sequence[bytes]) -> bool:
    """Compare with every key, so that time says nothing about which one it was."""
    found = False
    for other in known:
        found |= hmac.compare_digest(digest, other)
    return found
