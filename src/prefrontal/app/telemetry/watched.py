"""The HTTP session of the exporters, held to the rules about hosts: redirects and proxies are asked about like the collector."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from prefrontal.contracts.reach import host_of, is_loopback


def watched_session(allow: Callable[[str], None]) -> Any:
    """Return a session that asks `allow` before each request it sends. Raises ImportError where its library is missing."""
    library: Any = import_module("requests")

    class Watched(library.Session):  # type: ignore[misc]  # the library is loaded late, so its class has no type here
        """Each hop of a redirect comes through `send` too."""

        def send(self, request: Any, **options: Any) -> Any:
            """Send, once the host and the proxy on the way to it are allowed. Raises EgressDenied."""
            allow(request.url)
            if is_loopback(host_of(request.url)):
                options["proxies"] = {}  # nobody elsewhere can pass on what is for this machine
            for proxy in (options.get("proxies") or {}).values():
                if proxy:
                    allow(proxy if "://" in proxy else f"//{proxy}")
            return super().send(request, **options)

    return Watched()
