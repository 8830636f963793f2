"""Which hosts may be contacted: one pure check, asked by the transport before every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from prefrontal.errors import EgressDenied

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def host_allowed(host: str, allow: Sequence[str] | None) -> bool:
    """Return whether `host` is in the list; loopback always is, None allows all, ``*.example.com`` means subdomains."""
    if allow is None or host in LOOPBACK:
        return True
    return any(host == rule or (rule.startswith("*.") and host.endswith(rule[1:])) for rule in allow)


def egress_guard(allow: Callable[[], Sequence[str] | None]) -> Callable[[str], None]:
    """Return the transport's hook; `allow` gives the list that holds at the moment of the call."""

    def check(url: str) -> None:
        rules = allow()
        if rules is None:
            return
        host = urlsplit(url).hostname or ""
        if not host_allowed(host.lower(), rules):
            raise EgressDenied(f"The host '{host}' may not be contacted.", hint="egress.allow lists those that may.")

    return check
