"""The headers of our answers. Only what is known at the first byte."""

from __future__ import annotations

import math
from collections.abc import Mapping

from prefrontal.contracts.cache import CACHE_WISHES, CacheNote, CacheWish
from prefrontal.contracts.money import Degraded
from prefrontal.contracts.record import RequestRecord
from prefrontal.contracts.trace import TraceContext, parse_traceparent
from prefrontal.contracts.wire import Dropped
from prefrontal.errors import AllAttemptsFailed, InvalidRequest, LimitExceeded, PrefrontalError, ProviderError
from prefrontal.machine.run import told
from prefrontal.serve.types import Headers

MAX_REQUEST_ID = 128
"""Longer request ids of callers are not echoed (assumed: a UUID has 36 characters)."""

MAX_DROPPED = 1024
"""The header x-prefrontal-dropped is cut here; the record has all of it (assumed: proxies limit headers to a few KiB)."""


def request_id_of(value: bytes | None) -> str | None:
    """Return the caller's request id when it may be echoed: short, printable ASCII."""
    if not value or len(value) > MAX_REQUEST_ID or not value.isascii():
        return None
    text = value.decode("ascii")
    return text if text.isprintable() else None


def trace_of(headers: Mapping[bytes, bytes]) -> TraceContext | None:
    """Return the caller's trace, from the headers of W3C Trace Context; one that is not valid begins none (specified there)."""
    state = headers.get(b"tracestate")
    return parse_traceparent(headers[b"traceparent"].decode("latin-1"), state.decode("latin-1") if state else None)


def cache_wish(value: bytes) -> CacheWish:
    """Return what the header ``x-prefrontal-cache`` asks. Raises InvalidRequest for any other word."""
    text = value.decode("latin-1").strip().lower()
    for wish in CACHE_WISHES:
        if text == wish:
            return wish
    known = ", ".join(CACHE_WISHES)
    raise InvalidRequest(f"x-prefrontal-cache cannot be '{text}'.", param="x-prefrontal-cache", hint=f"Known: {known}.")


def first_headers(trace: str, request_id: str | None, model: str | None, answered_by: str, effort: float | None) -> Headers:
    """Return the headers that every answer carries."""
    echoed = (request_id or trace).encode()
    headers: Headers = [
        (b"x-request-id", echoed),
        (b"request-id", echoed),
        (b"x-prefrontal-trace", trace.encode()),
        (b"x-prefrontal-answered-by", answered_by.encode()),
    ]
    if model is not None:
        headers.append((b"x-prefrontal-model", _latin(model)))
    if effort is not None:
        headers.append((b"x-prefrontal-effort", b"%.3g" % effort))
    return headers


def cache_headers(note: CacheNote | None, headers: Headers) -> None:
    """Add what the response cache did, as far as it is known at the first byte."""
    if note is not None:
        headers.append((b"x-prefrontal-cache", note.status.encode()))
        if note.id is not None:
            headers.append((b"x-prefrontal-cache-id", note.id.encode()))


def degraded_header(degraded: Degraded | None, headers: Headers) -> None:
    """Add which budget made the gateway take another model, and instead of which."""
    if degraded is not None:
        headers.append((b"x-prefrontal-degraded", _latin(f"budget={degraded.budget}; instead_of={degraded.instead_of}")))


def dropped_header(dropped: tuple[Dropped, ...], headers: Headers) -> None:
    """Add what was not sent as given."""
    if dropped:
        dropped = told(dropped)
    if dropped:
        text = ", ".join([f"{d.field}={d.action}" for d in dropped])
        headers.append((b"x-prefrontal-dropped", _latin(text[:MAX_DROPPED])))


def whole_headers(record: RequestRecord, request_id: str | None) -> Headers:
    """Return the headers of an answer that is complete: also cost, attempts and our own time."""
    headers = first_headers(record.id, request_id, record.model, record.answered_by, record.effort_score)
    dropped_header(record.dropped, headers)
    degraded_header(record.degraded, headers)
    cache_headers(record.cache, headers)
    if record.cost_usd is not None:
        headers.append((b"x-prefrontal-cost-usd", b"%.9f" % record.cost_usd))
    headers.append((b"x-prefrontal-attempts", b"%d" % len(record.attempts)))
    headers.append((b"x-prefrontal-overhead-ms", b"%.3f" % record.overhead_ms))
    return headers


def error_headers(error: PrefrontalError, request_id: str | None) -> Headers:
    """Return the headers of an error: ids, and whether and when to try again.

    When the gateway has already tried again itself, clients are told not to: two retries of three are nine calls.
    """
    trace = error.details.get("trace")
    headers: Headers = []
    echoed = request_id or trace
    if isinstance(echoed, str):
        headers += [(b"x-request-id", echoed.encode()), (b"request-id", echoed.encode())]
    if isinstance(trace, str):
        headers.append((b"x-prefrontal-trace", trace.encode()))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
        headers.append((b"retry-after-ms", b"%d" % max(1, math.ceil(error.retry_after_s * 1000))))
    last = error.last if isinstance(error, AllAttemptsFailed) else error
    if error.status == 504 and "stage" in last.details:
        headers.append((b"x-prefrontal-stage", _latin(str(last.details["stage"]))))
    if isinstance(error, ProviderError | AllAttemptsFailed):
        headers.append((b"x-should-retry", b"false"))
    elif isinstance(error, LimitExceeded) or error.status >= 500:
        later = error.retryable or (error.retry_after_s is not None and not isinstance(error, LimitExceeded))
        headers.append((b"x-should-retry", b"true" if later else b"false"))
    return headers


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
