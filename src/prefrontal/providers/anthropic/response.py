"""Answers of the Messages wire → blocks: whole messages, errors, token counts, model lists."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Block, Refusal, ToolCall
from prefrontal.chat.response import ChatResponse, Choice, FinishReason
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.contracts.model import Capability
from prefrontal.contracts.wire import WireResponse
from prefrontal.errors import (
    ProviderAuthFailed,
    ProviderError,
    ProviderOverloaded,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from prefrontal.providers.anthropic.blocks import DIALECT, Malformed, parse_blocks, raw_inputs
from prefrontal.providers.base import Found, Target
from prefrontal.providers.common import count_of, loads, misbehaved, object_of, upstream_error

FINISHES: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "pause",
}
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "refusal",
    "content_filter": "refusal",
    "pause": "pause_turn",
}
_KNOWN = ("id", "type", "role", "model", "content", "stop_reason")
_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


class _RawContent(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"")


_RAW_CONTENT = msgspec.json.Decoder(_RawContent)


def parse_message(response: WireResponse, target: Target) -> ChatResponse:
    """Return the answer. Raises ProviderMisbehaved, or the error the body holds."""
    value = object_of(response, target, "the message")
    content = value.get("content")
    if value.get("type") == "error":
        raise error_of(value, response, target)
    if not isinstance(content, list):
        raise misbehaved(target, "the message has no content", response)
    inputs = raw_inputs(_RAW_CONTENT.decode(response.body).content)
    try:
        blocks = parse_blocks(content, inputs)
    except Malformed as error:
        raise misbehaved(target, f"content{error.path} is not {error.expected}", response) from None
    raw = value.get("stop_reason")
    own = {key: found for key, found in value.items() if key not in _KNOWN}
    choice = Choice(
        blocks=(*blocks, *refusal_of(value.get("stop_details"))),
        finish_reason=finish_of(raw, calls=any(isinstance(block, ToolCall) for block in blocks)),
        raw_finish=raw if isinstance(raw, str) else None,
        form="parts",
    )
    return ChatResponse(
        id=str(value.get("id") or ""),
        model=str(value.get("model") or ""),
        choices=(choice,),
        usage=usage_of(value.get("usage")),
        extra={DIALECT: own} if own else None,
    )


def finish_of(raw: Any, *, calls: bool) -> FinishReason:
    """Return our word for a ``stop_reason``; an unknown one is a plain stop, or a tool turn when there are tool calls."""
    return FINISHES.get(raw, "tool_calls" if calls else "stop") if isinstance(raw, str) else "tool_calls" if calls else "stop"


def refusal_of(details: Any) -> tuple[Block, ...]:
    """Return the explanation in ``stop_details`` as a refusal block, if there is one."""
    text = details.get("explanation") if isinstance(details, dict) else None
    return (Refusal(text=text),) if isinstance(text, str) and text else ()


def usage_of(value: Any) -> Usage:
    """Return the usage: input is uncached + cache writes + cache reads, output includes thinking."""
    if not isinstance(value, dict):
        return UNKNOWN_USAGE
    details = value.get("output_tokens_details")
    return Usage(
        uncached_input_tokens=count_of(value.get("input_tokens")),
        cache_write_tokens=count_of(value.get("cache_creation_input_tokens")),
        cache_read_tokens=count_of(value.get("cache_read_input_tokens")),
        output_tokens=count_of(value.get("output_tokens")),
        reasoning_tokens=count_of(details.get("thinking_tokens")) if isinstance(details, dict) else 0,
        source="reported",
    )


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the wire's usage object."""
    out: dict[str, Any] = dict(
        zip(
            _COUNTS,
            (usage.uncached_input_tokens, usage.cache_write_tokens, usage.cache_read_tokens, usage.output_tokens),
            strict=True,
        )
    )
    if usage.reasoning_tokens:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return out


_BY_TYPE: dict[str, type[ProviderError]] = {
    "invalid_request_error": ProviderRejected,
    "authentication_error": ProviderAuthFailed,
    "permission_error": ProviderAuthFailed,
    "billing_error": ProviderQuotaExhausted,
    "not_found_error": ProviderRejected,
    "request_too_large": ProviderRejected,
    "rate_limit_error": ProviderRateLimited,
    "timeout_error": ProviderTimeout,
    "overloaded_error": ProviderOverloaded,
    "api_error": ProviderError,
}
_BY_STATUS: dict[int, type[ProviderError]] = {
    400: ProviderRejected,
    401: ProviderAuthFailed,
    402: ProviderQuotaExhausted,
    403: ProviderAuthFailed,
    404: ProviderRejected,
    408: ProviderTimeout,
    413: ProviderRejected,
    422: ProviderRejected,
    429: ProviderRateLimited,
    503: ProviderOverloaded,
    504: ProviderTimeout,
    529: ProviderOverloaded,
}
_EMPTY_ACCOUNT = ("credit balance is too low", "spend limit", "usage limits")


def parse_error(response: WireResponse, target: Target) -> ProviderError:
    """Return the error a non-2xx response stands for; never raises."""
    value = loads(response.body)
    return error_of(value if isinstance(value, dict) else {}, response, target)


def error_of(value: dict[str, Any], response: WireResponse | None, target: Target) -> ProviderError:
    """Return the error in an error object, from a body or from the ``error`` event of a stream (then `response` is None)."""
    error = value.get("error")
    fields = error if isinstance(error, dict) else {}
    kind = fields.get("type")
    code = kind if isinstance(kind, str) else None
    message = fields.get("message") if isinstance(fields.get("message"), str) else error if isinstance(error, str) else ""
    found = _BY_TYPE.get(code or "") or _BY_STATUS.get(response.status if response else 0, ProviderError)
    detail = fields.get("details")
    reason = detail.get("type") if isinstance(detail, dict) else None
    told = f"{message} {reason or ''}".lower().replace("_", " ")
    if found in (ProviderRejected, ProviderRateLimited) and any(phrase in told for phrase in _EMPTY_ACCOUNT):
        found = ProviderQuotaExhausted
    details: dict[str, Any] = {}
    if found is ProviderRejected and "prompt is too long" in told:
        details["kind"] = "context_length"
    if found is ProviderTimeout:
        details["stage"] = "total"
    made = upstream_error(found, str(message), target, response, code=code, details=details)
    if made.upstream_request_id is None and isinstance(value.get("request_id"), str):
        made.upstream_request_id = value["request_id"]
    return made


def parse_count(response: WireResponse, target: Target) -> int:
    """Return the number of input tokens. Raises ProviderMisbehaved."""
    value = object_of(response, target, "the token count").get("input_tokens")
    if not isinstance(value, int) or isinstance(value, bool):
        raise misbehaved(target, "the token count has no input_tokens", response)
    return value


def parse_models(response: WireResponse, target: Target) -> tuple[Found, ...]:
    """Return the models listed; retired ones are left out. Raises ProviderMisbehaved."""
    value = object_of(response, target, "the model list").get("data")
    if not isinstance(value, list):
        raise misbehaved(target, "the model list has no data", response)
    return tuple(
        [_found(item) for item in value if isinstance(item, dict) and item.get("id") and item.get("lifecycle") != "retired"]
    )


def parse_model(response: WireResponse, target: Target) -> Found:
    """Return what the API says about one model. Raises ProviderMisbehaved."""
    value = object_of(response, target, "the model")
    if not isinstance(value.get("id"), str):
        raise misbehaved(target, "the model has no id", response)
    return _found(value)


_CAPABILITIES = {
    "thinking": ("thinking",),
    "image_input": ("vision",),
    "pdf_input": ("files",),
    "structured_outputs": ("structured_output",),
    "citations": ("citations",),
    "batch": ("batch",),
    "code_execution": ("code_execution",),
}


def _found(item: dict[str, Any]) -> Found:
    said = item.get("capabilities")
    capabilities: dict[str, Capability] = {}
    levels: tuple[str, ...] = ()
    if isinstance(said, dict):
        for name, ours in _CAPABILITIES.items():
            entry = said.get(name)
            if isinstance(entry, dict) and isinstance(entry.get("supported"), bool):
                capabilities |= {our: Capability(value=entry["supported"], origin="engine") for our in ours}
        effort = said.get("effort")
        if isinstance(effort, dict) and effort.get("supported"):
            order = ("low", "medium", "high", "xhigh", "max")
            levels = tuple([name for name in order if (effort.get(name) or {}).get("supported")])
    known = ("id", "max_input_tokens", "max_tokens")
    return Found(
        id=str(item["id"]),
        context_tokens=count_of(item.get("max_input_tokens")) or None,
        max_output_tokens=count_of(item.get("max_tokens")) or None,
        capabilities=capabilities,
        effort_levels=levels,
        owned_by=DIALECT,
        extra={key: found for key, found in item.items() if key not in known} or None,
    )
