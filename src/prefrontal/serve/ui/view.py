"""A record as the pages show it: words and numbers, in order. Pure; the templates escape everything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from prefrontal.chat.usage import Usage
from prefrontal.contracts.cache import CacheNote
from prefrontal.contracts.record import Attempt, RequestRecord
from prefrontal.serve.ui.timeline import duration, timeline_of

Facts = list[tuple[str, str]]


def trace_view(record: RequestRecord) -> dict[str, Any]:
    """Return what the page of one request shows."""
    plan = record.plan
    return {
        "record": record,
        "title": f"{record.requested_model} → {record.model or 'no answer'}",
        "facts": _facts(record),
        "ids": _ids(record),
        "states": record.states,
        "reasons": plan.reasons if plan else (),
        "decision": _decision(record),
        "candidates": [
            {
                "model": one.model,
                "score": f"{one.score:.3f}",
                "eligible": one.eligible,
                "lost": one.lost,
                "parts": ", ".join(f"{name} {part:.3g}" for name, part in one.parts.items()),
            }
            for one in (plan.candidates if plan else ())
        ],
        "timeline": timeline_of(record),
        "attempts": [_attempt(number, one) for number, one in enumerate(record.attempts, 1)],
        "usage": _usage(record.usage),
        "dropped": record.dropped,
        "metadata": _plain(record.metadata),
        "content": _content(record.content),
        "raw": _plain(msgspec.to_builtins(record, enc_hook=str)),
    }


def list_view(records: list[RequestRecord], query: dict[str, str]) -> dict[str, Any]:
    """Return what the list of requests shows; `query` are the filters in use."""
    rows = [
        {
            "id": record.id,
            "time": moment(record.started_s).removesuffix(" UTC"),
            "status": record.error_code or record.status,
            "outcome": record.status,
            "asked": record.requested_model,
            "model": record.model or "–",
            "answered_by": record.answered_by,
            "duration": duration(record.duration_ms),
            "tokens": f"{record.usage.input_tokens:,} / {record.usage.output_tokens:,}",
            "cost": money(record.cost_usd),
            "attempts": len(record.attempts),
        }
        for record in records
    ]
    return {"rows": rows, "query": query}


def moment(seconds: float) -> str:
    """Return Unix time as a date and time in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(seconds)


def money(usd: float | None) -> str:
    """Return a cost as people read it; None is unknown."""
    if usd is None:
        return "unknown"
    if not usd:
        return "$0"
    return f"${usd:.2f}" if usd >= 1 else f"${usd:.6f}".rstrip("0") if usd >= 1e-6 else f"${usd:.2g}"


def cache_words(note: CacheNote) -> str:
    """Return what the response cache did, in one line."""
    parts: list[str] = [note.status]
    parts += [] if note.age_s is None else [f"{note.age_s:,.0f} s old"]
    parts += [] if note.saved_usd is None else [f"saved {money(note.saved_usd)}"]
    parts += [] if note.reason is None else [note.reason]
    parts += [] if note.id is None else [note.id]
    return ", ".join(parts)


def _facts(record: RequestRecord) -> Facts:
    found = [
        ("Status", f"{record.status} ({record.http_status})"),
        ("Answered by", record.answered_by + (f" {record.tool}" if record.tool else "")),
        ("Model", record.model or "none"),
        ("Asked for", record.requested_model),
        ("Time", duration(record.duration_ms)),
        ("First token", duration(record.first_token_ms)),
        ("Our own time", duration(record.overhead_ms)),
        ("Cost", money(record.cost_usd)),
        ("Tokens", f"{record.usage.input_tokens:,} in, {record.usage.output_tokens:,} out ({record.usage.source})"),
        *([("Response cache", cache_words(record.cache))] if record.cache is not None else []),
        ("Effort", "the model's default" if record.effort_score is None else f"{record.effort_score:.2f}"),
    ]
    if record.error_code:
        found.insert(1, ("Error", f"{record.error_code}: {record.error or ''}"))
    return found


def _ids(record: RequestRecord) -> Facts:
    found = [
        ("Record", record.id),
        ("Started", moment(record.started_s)),
        ("Route", f"{record.route} ({record.dialect}{', streamed' if record.stream else ''})"),
        ("Channel", record.channel),
        ("Session", record.session),
        ("Request id", record.request_id),
        ("Key", record.key_id),
        ("Trace id (W3C)", record.trace_id),
        ("Caller's span", record.parent_span_id),
        ("Configuration", record.config_hash),
    ]
    return [(name, value) for name, value in found if value]


def _decision(record: RequestRecord) -> Facts:
    """Return what was assessed and planned, as facts."""
    found: Facts = []
    assessment, plan = record.assessment, record.plan
    if assessment is not None:
        needs = [name for name, value in msgspec.structs.asdict(assessment.needs).items() if value is True]
        found += [
            ("Task", f"{assessment.task_type}, complexity {assessment.complexity:.2f}, confidence {assessment.confidence:.2f}"),
            ("Signals", ", ".join(assessment.signals) or "none"),
            ("Needs", ", ".join([*needs, f"{assessment.needs.context_tokens:,} tokens of context"])),
        ]
    if plan is not None:
        estimate = plan.estimate
        found += [
            ("Path", plan.path + (f" ({plan.tool})" if plan.tool else "")),
            ("Policy", plan.policy),
            ("Fallbacks", ", ".join(plan.fallbacks) or "none"),
            ("Estimate", f"{estimate.input_tokens:,} in, {estimate.output_tokens:,} out, {money(estimate.cost_usd)}"),
        ]
        found += [(f"Effort: {factor.name}", f"× {factor.value:.2f}, {factor.reason}") for factor in plan.effort.factors]
    return found


def _attempt(number: int, attempt: Attempt) -> dict[str, Any]:
    fields = attempt.effort_fields or {}
    known: list[tuple[str, str | None]] = [
        ("Made for", attempt.reason),
        ("Form told by", attempt.form_method),
        ("Provider", attempt.provider),
        ("Answered as", attempt.response_model),
        ("Finish", attempt.finish_reason),
        ("Chunks", f"{attempt.chunks:,}" if attempt.chunks else None),
        ("Effort sent", ", ".join(f"{name} = {value}" for name, value in fields.items())),
        ("Effort dialect", attempt.effort_dialect),
        ("Status there", str(attempt.upstream_status) if attempt.upstream_status else None),
        ("Its request id", attempt.upstream_request_id),
        ("Retry class", attempt.retry_class),
    ]
    details: Facts = [(name, value) for name, value in known if value]
    return {
        "number": number,
        "model": attempt.place,
        "outcome": attempt.outcome,
        "error": ": ".join(part for part in (attempt.error_code, attempt.error) if part),
        "started": duration(attempt.started_ms),
        "queued": duration(attempt.queued_ms),
        "first": duration(attempt.first_token_ms),
        "ended": duration(attempt.ended_ms),
        "tokens": f"{attempt.usage.input_tokens:,} / {attempt.usage.output_tokens:,}",
        "source": attempt.usage.source,
        "cost": money(attempt.cost_usd),
        "details": details,
        "dropped": attempt.dropped,
    }


def _usage(usage: Usage) -> Facts:
    return [
        ("Input", f"{usage.uncached_input_tokens:,}"),
        ("Input read from a cache", f"{usage.cache_read_tokens:,}"),
        ("Input written to a cache", f"{usage.cache_write_tokens:,}"),
        ("Output", f"{usage.output_tokens:,}"),
        ("of which thinking", f"{usage.reasoning_tokens:,}"),
        ("Source", usage.source),
    ]


def _content(content: dict[str, Any] | None) -> list[dict[str, str]] | None:
    """Return who said what; None where the words were not kept."""
    if content is None:
        return None
    said = [(message, str(message.get("role", ""))) for message in _objects(content.get("messages"))]
    said += [(choice, "answer") for choice in _objects(content.get("choices"))]
    if not said:
        return [{"who": "as stored", "text": _plain(content) or ""}]
    return [
        {"who": f"{who}: {block.get('type', '')}" if block.get("type") != "text" else who, "text": _words(block)}
        for thing, who in said
        for block in _objects(thing.get("blocks"))
    ]


def _words(block: dict[str, Any]) -> str:
    text = block.get("text")
    return text if isinstance(text, str) and text else _plain(block) or ""


def _objects(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _plain(value: Any) -> str | None:
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode() if value else None
