"""The record every request leaves behind."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.contracts.assessment import Assessment
from prefrontal.contracts.money import Degraded
from prefrontal.contracts.plan import Plan
from prefrontal.contracts.wire import Dropped

AnsweredBy = Literal["model", "cache", "tool", "retrieval", "rule", "none"]
Status = Literal["ok", "error", "cancelled"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One call to one upstream. Times are milliseconds from the request's arrival; `cost_usd` None is unknown.

    response_model: what the upstream calls the model that answered. chunks: pieces of a stream that carried something to see.
    """

    model: str
    provider: str = ""
    started_ms: float = 0.0
    first_token_ms: float | None = None
    ended_ms: float = 0.0
    queued_ms: float = 0.0
    outcome: Literal["ok", "error", "cancelled"] = "ok"
    error_code: str | None = None
    error: str | None = None
    upstream_status: int | None = None
    upstream_request_id: str | None = None
    retry_class: str | None = None
    finish_reason: str | None = None
    response_model: str | None = None
    chunks: int | None = None
    effort_dialect: str | None = None
    effort_fields: dict[str, Any] | None = None
    usage: Usage = UNKNOWN_USAGE
    cost_usd: float | None = None
    dropped: tuple[Dropped, ...] = ()


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one request. `started_s` is Unix time; durations are milliseconds.

    `trace_id` is the W3C trace (32 hex digits), the caller's where one was given; `parent_span_id` is the caller's span then.
    `trace_sampled` False: the caller asked not to keep this trace. `overhead_ms` is the time that was ours: the total without
    the time spent waiting for an upstream.
    team and tags are those of the key; `degraded` says that a budget changed the model.
    `content` is stored only when configured, with secrets removed; `content_dropped` says that it had to be left out.
    """

    id: str
    started_s: float
    route: str
    dialect: str
    requested_model: str
    status: Status
    answered_by: AnsweredBy
    http_status: int = 200
    model: str | None = None
    stream: bool = False
    channel: str = "chat"
    session: str | None = None
    request_id: str | None = None
    key_id: str | None = None
    team: str | None = None
    tags: tuple[str, ...] = ()
    degraded: Degraded | None = None
    trace_id: str | None = None
    parent_span_id: str | None = None
    trace_sampled: bool = True
    duration_ms: float = 0.0
    overhead_ms: float = 0.0
    first_token_ms: float | None = None
    usage: Usage = UNKNOWN_USAGE
    cost_usd: float | None = None
    states: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    assessment: Assessment | None = None
    plan: Plan | None = None
    tool: str | None = None
    effort_score: float | None = None
    dropped: tuple[Dropped, ...] = ()
    error_code: str | None = None
    error: str | None = None
    config_hash: str | None = None
    metadata: dict[str, Any] | None = None
    content: dict[str, Any] | None = None
    content_dropped: bool = False
