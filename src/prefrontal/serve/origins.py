"""Cross-origin access for browsers, as configured."""

from __future__ import annotations

from collections.abc import Sequence

from prefrontal.serve.types import Headers

EXPOSED = (
    b"x-request-id, x-prefrontal-trace, x-prefrontal-model, x-prefrontal-answered-by, x-prefrontal-effort, "
    b"x-prefrontal-dropped, x-prefrontal-degraded, x-prefrontal-cost-usd, x-prefrontal-attempts, x-prefrontal-overhead-ms, "
    b"retry-after"
)


class Origins:
    """Which pages may call the API. Without any, browsers get no permission headers and refuse for their users."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._all = "*" in allowed
        self._allowed = frozenset(origin.encode() for origin in allowed)

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
