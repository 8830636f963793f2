"""Cross-origin access for browsers, as configured."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from prefrontal.contracts.reach import is_loopback
from prefrontal.errors import NotAllowed
from prefrontal.serve.access import Caller
from prefrontal.serve.types import Headers

EXPOSED = (
    b"x-request-id, x-prefrontal-trace, x-prefrontal-model, x-prefrontal-answered-by, x-prefrontal-effort, "
    b"x-prefrontal-dropped, x-prefrontal-degraded, x-prefrontal-cost-usd, x-prefrontal-attempts, x-prefrontal-overhead-ms, "
    b"x-prefrontal-cache, x-prefrontal-cache-id, retry-after"
)


class Origins:
    """Which pages may call the API. Without any, browsers get no permission headers and refuse for their users."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._all = "*" in allowed
        self._allowed = frozenset(origin.encode() for origin in allowed)

    def check(self, origin: bytes | None, caller: Caller, method: str) -> None:
        """Return when a page of `origin` (None: it is no page) may have its request served.

        It matters where a caller needs no key, and for what does more than show something.

        A browser sends simple requests without asking first, and any page a person has open could spend their money that way.
        Pages from this machine may, and so may programs that are no pages of the web (``app://``, ``vscode-webview://``).

        Raises:
            NotAllowed: the page comes from elsewhere and is not configured.
        """
        if origin is None or not caller.local or method == "GET":
            return
        name = origin.decode("latin-1")
        if self._all or origin in self._allowed or not (name == "null" or name.startswith(("http://", "https://"))):
            return
        if not is_loopback(_host(name)):
            raise NotAllowed(f"Pages from '{name}' may not use this gateway.", hint="server.cors_origins lists those that may.")

    def headers(self, origin: bytes) -> Headers:
        """Return what an answer to a page of `origin` carries."""
        if not self._all and origin not in self._allowed:
            return []
        return [
            (b"access-control-allow-origin", b"*" if self._all else origin),
            (b"access-control-expose-headers", EXPOSED),
            (b"vary", b"origin"),
        ]

    def preflight(self, origin: bytes) -> Headers:
        """Return what the answer to a preflight adds."""
        if not self._all and origin not in self._allowed:
            return []
        return [
            (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
            (b"access-control-allow-headers", b"*, authorization, content-type, x-api-key, x-request-id"),
            (b"access-control-max-age", b"600"),
        ]


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None
