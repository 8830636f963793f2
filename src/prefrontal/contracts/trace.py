"""W3C Trace Context: which trace a request belongs to, and how upstreams are told.

Trace and span ids are digests of the record's id, so a request needs no randomness for them and spans can be made from its
finished record at any time.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

TRACE_BYTES, SPAN_BYTES = 16, 8
MAX_STATE = 512
"""Longer values of ``tracestate`` are not passed on (specified: the least that every party must accept)."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class TraceContext(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's trace. trace_id: 32 hex digits. parent_id: the caller's span, 16 hex digits. state: passed on unread."""

    trace_id: str
    parent_id: str
    sampled: bool = True
    state: str | None = None


def parse_traceparent(value: str, state: str | None = None) -> TraceContext | None:
    """Return what the headers ``traceparent`` and ``tracestate`` say; None where the first is not valid."""
    found = _TRACEPARENT.fullmatch(value.strip())
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    if state is not None and (len(state) > MAX_STATE or not state.isprintable()):
        state = None
    return TraceContext(trace_id=trace_id, parent_id=parent_id, sampled=bool(int(flags, 16) & 1), state=state or None)


def trace_id_of(record_id: str) -> str:
    """Return the trace id of a request that came without one: 32 hex digits."""
    return hashlib.blake2b(record_id.encode("utf-8", "replace"), digest_size=TRACE_BYTES).hexdigest()


def span_id_of(record_id: str, number: int) -> str:
    """Return a span's id, 16 hex digits: number 0 is the request, n > 0 its nth attempt, n < 0 its tools."""
    return hashlib.blake2b(f"{record_id}/{number}".encode("utf-8", "replace"), digest_size=SPAN_BYTES).hexdigest()


class Propagation(msgspec.Struct, frozen=True, kw_only=True):
    """What the attempts of one request tell their upstreams. `record_id` gives the spans' ids."""

    record_id: str
    context: TraceContext | None = None

    def headers(self, number: int) -> tuple[tuple[str, str], ...]:
        """Return the headers of the nth attempt, counted from 1: its own span is the parent of what the upstream does."""
        context = self.context
        trace_id = trace_id_of(self.record_id) if context is None else context.trace_id
        flags = "01" if context is None or context.sampled else "00"
        told = ("traceparent", f"00-{trace_id}-{span_id_of(self.record_id, number)}-{flags}")
        if context is None or context.state is None:
            return (told,)
        return (told, ("tracestate", context.state))
