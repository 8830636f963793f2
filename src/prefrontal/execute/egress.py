"""Which hosts may be contacted: one pure check, asked by the transport before every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from prefrontal.config.check import is_loopback
from prefrontal.errors import EgressDenied


def host_allowed(host: str, allow: Sequence[str] | None) -> bool:
    """Return whether `host` is in the list, in any case of letters; loopback always is, None allows all.

    ``*.example.com`` means the subdomains of example.com and not example.com itself.
    """
    if allow is None or is_loopback(host):
        return True
    name = host.lower().rstrip(".")
    return any(name == rule or (rule.startswith("*.") and name.endswith(rule[1:])) for rule in map(str.lower, allow))


def egress_guard(allow: Callable[[], Sequence[str] | None]) -> Callable[[str], None]:
    """Return the transport's hook; `allow` gives the list that holds at the moment of the call."""

    def check(url: str) -> None:
        rules = allow()
        if rules is None:
            return
        host = urlsplit(url).hostname or ""
        if not host_allowed(host, rules):
            raise EgressDenied(f"The host '{host}' may not be contacted.", hint="egress.allow lists those that may.")

    return check
