"""Who asks, how the request came in, and the world it meets."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from prefrontal.chat.response import ChatResponse
from prefrontal.config.registry import Registry
from prefrontal.config.schema import Config
from prefrontal.contracts.access import Grant
from prefrontal.contracts.cache import CacheWish
from prefrontal.contracts.resilience import Priority
from prefrontal.contracts.trace import TraceContext
from prefrontal.contracts.wire import Dropped


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """One call, as the edge sees it.

    route: the HTTP route or the library method. request_id: the caller's. session: from a header. channel: from a header.
    allow_host: loopback or admin, so system metrics may be shown. arrived: monotonic moment of arrival (None: now).
    timeout_s: the caller's own limit. key_id: which key was shown. lost: what of a whole answer the caller's dialect cannot
    carry, for the record. trace: the caller's trace, from the header ``traceparent``. grant: what a virtual
    key opens (None: everything). data_classes: what kinds of data this is, from a header and from stored turns it goes on from.
    cache: what a header asks of the response cache. priority: from a header.
    """

    route: str = "library"
    request_id: str | None = None
    session: str | None = None
    channel: str | None = None
    key_id: str | None = None
    allow_host: bool = False
    arrived: float | None = None
    timeout_s: float | None = None
    lost: Callable[[ChatResponse], tuple[Dropped, ...]] | None = None
    trace: TraceContext | None = None
    grant: Grant | None = None
    data_classes: tuple[str, ...] = ()
    cache: CacheWish | None = None
    priority: Priority | None = None


LIBRARY = CallContext(allow_host=True)


class World(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration a request starts with, and keeps to its end whatever is reloaded meanwhile.

    models: the names that exist in it, where a key has a list (None: all); the registry holds no others.
    """

    config: Config
    registry: Registry
    hash: str = ""
    models: frozenset[str] | None = None
