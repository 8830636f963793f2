"""The one seam through which bytes leave for an upstream.

Import the vocabulary from here; `open_transport` loads the HTTP client only when it is called.
"""

from __future__ import annotations

from prefrontal.clock import Clock
from prefrontal.execute.transport.base import (
    MAX_BODY_BYTES,
    MAX_CONNECTIONS,
    SYSTEM_TRUST,
    Egress,
    Timeouts,
    TlsOptions,
    Transport,
    WireStream,
    allow_all,
)

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_CONNECTIONS",
    "SYSTEM_TRUST",
    "Egress",
    "Timeouts",
    "TlsOptions",
    "Transport",
    "WireStream",
    "allow_all",
    "open_transport",
]


def open_transport(
    *,
    clock: Clock,
    allow: Egress = allow_all,
    proxy: str | None = None,
    trust_env: bool = False,
    max_connections: int = MAX_CONNECTIONS,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> Transport:
    """Return the transport that serves. Parameters as for `HttpTransport`; no connection is made before the first call."""
    from prefrontal.execute.transport.http import HttpTransport

    return HttpTransport(
        clock=clock,
        allow=allow,
        proxy=proxy,
        trust_env=trust_env,
        max_connections=max_connections,
        max_body_bytes=max_body_bytes,
    )
