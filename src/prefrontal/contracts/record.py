"""The record every request leaves behind."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.contracts.assessment import Assessment
from prefrontal.contracts.cache import CacheNote
from prefrontal.contracts.decision import DecisionAnswer
from prefrontal.contracts.knowledge import KnowledgeNote
from prefrontal.contracts.money import Degraded
from prefrontal.contracts.plan import Plan
from prefrontal.contracts.resilience import Priority, Shed
from prefrontal.contracts.verdict import Validation
from prefrontal.contracts.wire import Dropped

AnsweredBy = Literal["model", "cache", "tool", "retrieval", "rule", "none"]
Status = Literal["ok", "error", "cancelled"]
Outcome = Literal["ok", "error", "cancelled", "hedge_lost"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One call to one upstream. Times are milliseconds from the request's arrival; `cost_usd` None is unknown.

    reason: why it was made, when not for the request itself (``repair``, ``escalation``). form_method: how the model was told the
    form of its answer (see `providers.structured`).
    response_model: what the upstream calls the model that answered. chunks: pieces of a stream that carried something to see.
    deployment: which of the model's deployments (None: it has one). hedge: made beside a slow attempt before it; of the two, the
    one that was given up for the other has the outcome ``hedge_lost``.
    """

    model: str
    provider: str = ""
    started_ms: float = 0.0
    first_token_ms: float | None = None
    ended_ms: float = 0.0
    queued_ms: float = 0.0
    deployment: str | None = None
    hedge: bool = False
    reason: str | None = None
    form_method: str | None = None
    outcome: Outcome = "ok"
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

    @property
    def place(self) -> str:
        """The model, and which of its deployments where it has several, for people."""
        return self.model if self.deployment is None else f"{self.model}#{self.deployment}"


class RequestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one request. `started_s` is Unix time; durations are milliseconds.

    `trace_id` is the W3C trace (32 hex digits), the caller's where one was given; `parent_span_id` is the caller's span then.
    `trace_sampled` False: the caller asked not to keep this trace. `overhead_ms` is the time that was ours: the total without
    the time spent waiting for an upstream.
    team and tags are those of the key; `degraded` says that a budget changed the model; `data_classes` are the classes of data
    that decided where it might be sent, `users` the pseudonyms of the people it was made for. `cache` says what the response
    cache did (None: nobody asked it); what it answered has the tokens of the call that was made for it once, and costs nothing.
    `shed`: why it was refused unanswered for want of room; `admission_ms`: how long it waited to be let in.
    `decisions` are the answers of a decision request; where content is not stored, without the words of questions made for it.
    `knowledge` says which passages of which engrams went into the prompt (None: none were asked for), not their words.
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
    data_classes: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    cache: CacheNote | None = None
    trace_id: str | None = None
    parent_span_id: str | None = None
    trace_sampled: bool = True
    priority: Priority = "normal"
    shed: Shed | None = None
    admission_ms: float = 0.0
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
    validation: Validation | None = None
    error_code: str | None = None
    error: str | None = None
    config_hash: str | None = None
    metadata: dict[str, Any] | None = None
    decisions: tuple[DecisionAnswer, ...] = ()
    knowledge: KnowledgeNote | None = None
    content: dict[str, Any] | None = None
    content_dropped: bool = False
