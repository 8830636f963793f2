"""The spans of a finished request: one for it, one below for each attempt, one for a tool that answered. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.app.telemetry.vocabulary import (
    OURSELVES,
    Attributes,
    CardOf,
    error_of,
    operation_of,
    provider_of,
    sent_model,
    server_of,
)
from prefrontal.chat.usage import Usage
from prefrontal.contracts.record import Attempt, RequestRecord
from prefrontal.contracts.trace import span_id_of, trace_id_of

TOOL = -1
"""The number that a tool's span takes its id from."""


class SpanData(msgspec.Struct, frozen=True, kw_only=True):
    """One span. Times are nanoseconds of Unix time; ids are hex digits. events: name and moment. error: why it failed."""

    name: str
    kind: Literal["server", "client", "internal"]
    trace_id: str
    span_id: str
    parent_id: str | None
    foreign_parent: bool = False
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: tuple[tuple[str, int], ...] = ()
    error: str | None = None


def is_sampled(record: RequestRecord, share: float) -> bool:
    """Return whether the spans of a request are sent: as its caller says; without one, a fixed `share` of the trace ids."""
    if record.parent_span_id is not None or share >= 1.0:
        return record.trace_sampled
    return int(_trace(record)[16:], 16) < share * 2**64


def spans_of(record: RequestRecord, card_of: CardOf) -> list[SpanData]:
    """Return all spans of a request, its own first. Words of the conversation are in them only where the record has them."""
    own = _request_span(record)
    found = [own, *[_attempt_span(record, number, attempt, card_of) for number, attempt in enumerate(record.attempts, 1)]]
    if record.tool is not None:
        found.append(_tool_span(record, record.tool, own))
    return found


def _request_span(record: RequestRecord) -> SpanData:
    operation = operation_of(record)
    error = error_of(record)
    given: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": OURSELVES,
        "gen_ai.request.model": record.requested_model,
        "gen_ai.response.model": record.model,
        "gen_ai.response.id": record.id,
        "gen_ai.conversation.id": record.session,
        "http.route": record.route if record.route.startswith("/") else None,
        "http.response.status_code": record.http_status,
        "error.type": error,
        "prefrontal.answered_by": record.answered_by,
        "prefrontal.channel": record.channel,
        "prefrontal.stream": record.stream,
        "prefrontal.request.id": record.request_id,
        "prefrontal.attempts": len(record.attempts),
        "prefrontal.overhead_ms": record.overhead_ms,
        "prefrontal.cost_usd": record.cost_usd,
        "prefrontal.effort": record.effort_score,
        "prefrontal.states": record.states,
        "prefrontal.policy": record.plan.policy if record.plan else None,
        "prefrontal.task_type": record.assessment.task_type if record.assessment else None,
        "prefrontal.complexity": record.assessment.complexity if record.assessment else None,
        **_content(record),
    }
    start_ns = _moment(record, 0.0)
    first = record.first_token_ms
    return SpanData(
        name=f"{operation} {record.requested_model}",
        kind="server",
        trace_id=_trace(record),
        span_id=span_id_of(record.id, 0),
        parent_id=record.parent_span_id,
        foreign_parent=record.parent_span_id is not None,
        start_ns=start_ns,
        end_ns=_moment(record, record.duration_ms),
        attributes=_without_none(given),
        events=() if first is None else (("first_token", _moment(record, first)),),
        error=None if error is None else record.error or error,
    )


def _attempt_span(record: RequestRecord, number: int, attempt: Attempt, card_of: CardOf) -> SpanData:
    operation, model = operation_of(record), sent_model(attempt, card_of)
    error = error_of(attempt)
    given: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": provider_of(attempt),
        "gen_ai.request.model": model,
        "gen_ai.response.model": attempt.response_model,
        "gen_ai.original.model": record.requested_model,
        "gen_ai.response.finish_reasons": (attempt.finish_reason,) if attempt.finish_reason else None,
        **server_of(attempt, card_of),
        **_usage(attempt.usage),
        "http.response.status_code": attempt.upstream_status,
        "error.type": error,
        "prefrontal.model": attempt.model,
        "prefrontal.attempt": number,
        "prefrontal.queue_ms": attempt.queued_ms or None,
        "prefrontal.deployment": attempt.deployment,
        "prefrontal.hedge": attempt.hedge or None,
        "prefrontal.retry_class": attempt.retry_class,
        "prefrontal.cost_usd": attempt.cost_usd,
        "prefrontal.upstream.request.id": attempt.upstream_request_id,
        "prefrontal.dropped": tuple([f"{d.field}={d.action}" for d in attempt.dropped]) or None,
    }
    first = attempt.first_token_ms
    return SpanData(
        name=f"{operation} {model}",
        kind="client",
        trace_id=_trace(record),
        span_id=span_id_of(record.id, number),
        parent_id=span_id_of(record.id, 0),
        start_ns=_moment(record, attempt.started_ms),
        end_ns=_moment(record, max(attempt.started_ms, attempt.ended_ms)),
        attributes=_without_none(given),
        events=() if first is None else (("first_token", _moment(record, first)),),
        error=None if error is None else attempt.error or error,
    )


def _tool_span(record: RequestRecord, tool: str, parent: SpanData) -> SpanData:
    """A reflex has no clock of its own: its span is the request's."""
    return SpanData(
        name=f"execute_tool {tool}",
        kind="internal",
        trace_id=parent.trace_id,
        span_id=span_id_of(record.id, TOOL),
        parent_id=parent.span_id,
        start_ns=parent.start_ns,
        end_ns=parent.end_ns,
        attributes={"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool, "gen_ai.tool.type": "function"},
    )


def _usage(usage: Usage) -> dict[str, Any]:
    if usage.source == "unknown":
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens or None,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens or None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens or None,
        "prefrontal.usage.source": usage.source,
    }


def _content(record: RequestRecord) -> dict[str, Any]:
    """Return the words of the conversation in the conventions' form, where the record was told to keep them."""
    if record.content is None:
        return {}
    messages, choices = record.content.get("messages"), record.content.get("choices")
    found: dict[str, Any] = {}
    if isinstance(messages, list):
        found["gen_ai.input.messages"] = _json([_spoken(message, message.get("role", "user")) for message in _objects(messages)])
    if isinstance(choices, list):
        answers = [
            {**_spoken(choice, "assistant"), "finish_reason": choice.get("finish_reason") or ""} for choice in _objects(choices)
        ]
        found["gen_ai.output.messages"] = _json(answers)
    return found


def _spoken(message: dict[str, Any], role: Any) -> dict[str, Any]:
    return {"role": role, "parts": [_part(block) for block in _objects(message.get("blocks") or [])]}


def _part(block: dict[str, Any]) -> dict[str, Any]:
    kind = block.get("type")
    if kind in ("text", "reasoning"):
        return {"type": kind, "content": block.get("text", "")}
    if kind == "tool_call":
        return {"type": kind, "id": block.get("id"), "name": block.get("name"), "arguments": block.get("arguments")}
    return {"type": str(kind)}


def _objects(values: list[Any]) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _trace(record: RequestRecord) -> str:
    return record.trace_id or trace_id_of(record.id)


def _moment(record: RequestRecord, after_ms: float) -> int:
    return int(record.started_s * 1e9) + int(after_ms * 1e6)


def _without_none(given: dict[str, Any]) -> Attributes:
    return {name: value for name, value in given.items() if value is not None}
