"""Who may come in: keys, loopback, and the host a browser believes it talks to."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence

import msgspec

from prefrontal.config.schema_service import Server
from prefrontal.contracts.access import Grant
from prefrontal.contracts.reach import is_loopback
from prefrontal.errors import NotAllowed, NotAuthenticated
from prefrontal.ledger.keyring import KeyRing
from prefrontal.ledger.keys import PREFIX

KEY_HEADERS = (b"x-api-key", b"api-key", b"x-goog-api-key")
"""Where clients of the various dialects put their key, besides ``authorization``."""

KEY_ID_DIGITS = 12

ADMIN = "/v1/admin/"
"""Below it lies what only admins may use."""

ENGRAMS = "/v1/knowledge/"

OWN = (
    *("/v1/models", "/v1/messages", "/v1/responses", "/v1/decisions", "/v1/explain", "/v1/tokens", "/v1/traces", "/v1/knowledge"),
    *("/ui/traces", "/openapi.json", "/docs"),
)
"""Beside the routes for traffic, what virtual keys may use: it shows nothing that is not theirs."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. key_id: of a virtual key its id, of another a digest, for records. trusted: may read this host's metrics.

    admin: may use the admin routes. local: by sitting on this machine, without a key. grant: what a virtual key opens.
    """

    key_id: str | None = None
    trusted: bool = False
    admin: bool = False
    local: bool = False
    grant: Grant | None = None


class Gate:
    """Checks keys in constant time. Built once per configuration; `ring` holds the virtual keys."""

    def __init__(self, server: Server, ring: KeyRing) -> None:
        self._plain = tuple([_digest(key) for key in server.api_keys])
        self._admin = tuple([_digest(key) for key in server.admin_keys])
        self._hosts = server.trusted_hosts
        self._ring = ring

    @property
    def open(self) -> bool:
        """Whether the configuration asks for no key."""
        return not self._plain and not self._admin

    def admit(self, headers: Mapping[bytes, bytes], peer: str | None, *, admin: bool = False) -> Caller | None:
        """Return who asks, as far as memory tells; None: the vault has to be asked, see `look_up`.

        admin: for an admin route, where callers on this machine need no key as long as the configuration has none.

        Raises:
            NotAuthenticated: no key, or a wrong one. NotAllowed: the Host header is not one of ours.
        """
        if self._hosts is not None:
            self._check_host(headers.get(b"host", b""))
        if self.open:
            required = self._ring.required()
            if required is None:
                return None
            if not required or (admin and is_loopback(peer) and shown_key(headers) is None):
                return self._keyless(headers, peer)
        return self._by_key(headers, peer)

    async def look_up(self, headers: Mapping[bytes, bytes], peer: str | None, *, admin: bool) -> Caller:
        """Return who asks, like `admit`, asking the vault.

        Raises:
            NotAuthenticated: no key, or a wrong one. StoreError: the vault cannot be read.
        """
        if self.open:
            required = await self._ring.look()
            if not required or (admin and is_loopback(peer) and shown_key(headers) is None):
                return self._keyless(headers, peer)
        shown = shown_key(headers)
        if shown is not None and shown.startswith(PREFIX):
            await self._ring.find(_digest(shown))
        found = self._by_key(headers, peer)
        if found is None:  # it was forgotten in between
            raise NotAuthenticated("The API key is not valid here.")
        return found

    def _by_key(self, headers: Mapping[bytes, bytes], peer: str | None) -> Caller | None:
        shown = shown_key(headers)
        if shown is None:
            raise NotAuthenticated(
                "No API key was given.", hint="Send it as 'Authorization: Bearer KEY' (or in the header x-api-key)."
            )
        digest = _digest(shown)
        if _among(digest, self._admin):
            return Caller(key_id=digest.hex()[:KEY_ID_DIGITS], trusted=True, admin=True)
        if _among(digest, self._plain):
            return Caller(key_id=digest.hex()[:KEY_ID_DIGITS], trusted=is_loopback(peer))
        if not shown.startswith(PREFIX):
            raise NotAuthenticated("The API key is not valid here.")
        return self._virtual(digest)

    def _virtual(self, digest: bytes) -> Caller | None:
        known = self._ring.known(digest)
        if known is None:
            return None
        key = known.key
        if key is None or not key.is_secret(digest):
            raise NotAuthenticated("The API key is not valid here.")
        refusal = key.refusal(self._ring.now_s())
        if refusal is not None:
            raise NotAuthenticated(refusal)
        return Caller(key_id=key.id, grant=known.grant)

    def _keyless(self, headers: Mapping[bytes, bytes], peer: str | None) -> Caller:
        """Return a caller who needs no key. Raises NotAllowed when a page may have pointed its own name at us."""
        if self._hosts is None:
            self._check_host(headers.get(b"host", b""))
        return _local(peer)

    def _check_host(self, host: bytes) -> None:
        """Refuse hosts that are not ours.

        Without `server.trusted_hosts` only names that a stranger could own are refused, and only where no key is needed: a page
        that points its own name at this machine is then same-origin with us. Addresses and names without a dot cannot be owned.
        """
        name = host.decode("latin-1").rsplit(":", 1)[0].strip("[]").lower()
        known = not _ownable(name) if self._hosts is None else name in self._hosts
        if not known and not is_loopback(name):
            raise NotAllowed(f"The host '{name}' is not served here.", hint="server.trusted_hosts lists those that are.")


def _ownable(name: str) -> bool:
    """Return whether a stranger could register `name`: it has a dot, and is neither an address nor below ``.localhost``."""
    if "." not in name or name.endswith(".localhost"):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False


def for_admins(method: str, path: str) -> bool:
    """Return whether a route is for admins only: those below ``/v1/admin/``, and those that change engrams or show who does."""
    if path.startswith(ADMIN):
        return True
    if not path.startswith(ENGRAMS):
        return False
    _, _, rest = path.removeprefix(ENGRAMS).partition("/")
    return method not in ("GET", "HEAD") if rest != "search" and not rest.startswith("jobs") else rest != "search"


def check_route(caller: Caller, headers: Mapping[bytes, bytes], path: str, method: str = "GET") -> None:
    """Return when the caller may use a route that carries no traffic.

    Who may use the admin routes by sitting on this machine may not through a page in a browser: that would be any page the person
    has open.

    Raises:
        NotAllowed: an admin key is needed, or a page asks, or a virtual key asks for what is not its own.
    """
    if not for_admins(method, path):
        if caller.grant is not None and not path.startswith(OWN):
            raise NotAllowed("Virtual keys may not use this route.", hint="It shows what is not this key's own.")
        return
    if not caller.admin:
        raise NotAllowed("This route needs an admin key.", hint="server.admin_keys lists them.")
    if caller.local:
        host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0].strip("[]").lower()
        if b"origin" in headers or (host and not is_loopback(host)):
            raise NotAllowed("Pages in a browser may use this route with an admin key only.", hint="Set server.admin_keys.")


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


def _local(peer: str | None) -> Caller:
    here = is_loopback(peer)
    return Caller(trusted=here, admin=here, local=here)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _among(digest: bytes, known: Sequence[bytes]) -> bool:
    """Compare with every key, so that time says nothing about which one it was."""
    found = False
    for other in known:
        found |= hmac.compare_digest(digest, other)
    return found
