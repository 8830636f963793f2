"""What a transport promises, whatever client stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from prefrontal.contracts.wire import WireRequest, WireResponse

MAX_BODY_BYTES = 64 * 1024 * 1024
"""Largest whole answer `Transport.send` accepts, in bytes. Assumed: embeddings of a big batch stay below it."""

MAX_CONNECTIONS = 256
"""Connections to one origin at a time. Assumed: above the slots of any engine, below the usual file limit of 1024."""

Egress = Callable[[str], None]
"""Called with the URL before anything is sent; raises `EgressDenied` to forbid it."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for an upstream, in seconds (> 0). None never fires.

    `connect_s`      name resolution, TCP and TLS; also the longest wait for one of the origin's connections.
    `first_byte_s`   from the call to the first byte: of the head for `send`, of the body for `open`.
    `between_s`      between two reads of a body.
    `total_s`        the whole exchange.

    The defaults are assumed, not measured: five seconds is two lost SYN packets, ten minutes is the default of the
    OpenAI SDK, two minutes without a token is longer than any pause seen from a working engine.
    """

    connect_s: float | None = 5.0
    first_byte_s: float | None = 600.0
    between_s: float | None = 120.0
    total_s: float | None = None


class TlsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the certificate of an endpoint is checked.

    `verify=False` accepts any certificate (the settings file calls it `tls.verify`). `ca_file` names a PEM file whose
    authorities are trusted for this endpoint instead of the system's (`tls.ca_file`).
    """

    verify: bool = True
    ca_file: str | None = None


SYSTEM_TRUST = TlsOptions()
"""Certificates are checked against the system's authorities."""


class WireStream(Protocol):
    """An answer whose body is still arriving. Close it, whatever happens."""

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers with lower-case names; values of repeated names are joined by a comma and a space."""
        ...

    async def read(self) -> bytes:
        """Return the bytes that have arrived, at least one, waiting for them if need be; b"" at the end of the body.

        Nothing is read ahead and nothing is held back until a buffer is full. Cancelling a read closes the connection
        to the upstream. Raises `ProviderTimeout` and `ProviderCut`.
        """
        ...

    async def aclose(self) -> None:
        """Give the connection back, or close it when the body has not been read to its end. May be called twice."""
        ...


class Transport(Protocol):
    """Carries bytes to upstreams and back, and knows nothing of models.

    Answers of every status are answers: only what prevents an answer is raised, as one of the `ProviderError` classes
    with the client's own exception as its cause. Redirects are not followed, cookies are not kept. Cancelling a call
    closes its connection at once, so that the upstream stops working for nobody.

    `tls` travels with each call: a connection made under one set of options never serves a call with another, so that a
    model that accepts any certificate does not open the door for others at the same address.
    """

    async def send(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireResponse:
        """Send and return the whole answer. Raises `ProviderMisbehaved` when the body is larger than the bound."""
        ...

    async def open(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireStream:
        """Send and return as soon as the head of the answer is there."""
        ...

    async def aclose(self) -> None:
        """Close every connection. Calls still running fail with `ProviderCut`, later ones with `ShuttingDown`."""
        ...


def allow_all(url: str) -> None:
    """Forbid nothing: the egress hook of a process without a policy."""
