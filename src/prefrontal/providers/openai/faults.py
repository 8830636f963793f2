"""Errors of OpenAI-compatible upstreams: every known shape → one classified `ProviderError`.

403 with a content-policy word, content filter     ProviderRejected (details.code = content_filter)
401, 403                                           ProviderAuthFailed
402, or a word for an empty account                ProviderQuotaExhausted, never retried
400 … with a word for too long a context           ProviderRejected (details.code = context_length_exceeded)
any status with a word for a modality the model    ProviderRejected (details.code = capability_missing)
  lacks (llama.cpp answers 500 to an image)
503 "loading model"                                ProviderLoading
503, 529, 498, or a word for overload              ProviderOverloaded
429                                                ProviderRateLimited (retry_after_s)
408, 504                                           ProviderTimeout
409, 424 (TGI: generation failed), other 5xx       ProviderError
an error in a stream whose words tell nothing      ProviderError
any other 4xx                                      ProviderRejected with the upstream's message
"""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.contracts.wire import WireResponse
from prefrontal.errors import (
    ProviderAuthFailed,
    ProviderError,
    ProviderLoading,
    ProviderOverloaded,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from prefrontal.providers.backoff import retry_after_s, should_retry

MAX_MESSAGE_CHARS = 1000
"""Assumed: what a person reads of an upstream's message; some engines send whole stack traces."""

_QUOTA = (
    "insufficient_quota",
    "credit_balance",
    "credit balance",
    "billing_hard_limit",
    "exceeded_current_quota",
    "insufficient_balance",
    "insufficient balance",
    "insufficient_user_quota",
    "arrearage",
)
_CONTEXT = (
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "maximum model length",
    "context window",
    "available context size",
    "longer than the model's context",
    "prompt is too long",
    "input is too long",
    "max_model_len",
    "`inputs` tokens + `max_new_tokens` must be",
)
_FILTER = ("content_filter", "content_policy", "data_inspection_failed", "content policy", "safety_check", "usage guidelines")
_UNABLE = ("input is not supported", "does not support image", "does not support audio", "is not a multimodal model")
"""The request asks for what the model has not: it will fail each time, and the model is well."""
_OVERLOAD = ("server_is_overloaded", "engine_overloaded", "overloaded_error", "slow_down", "model_overloaded")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What an error body says. All parts are optional; `status` is the one the body itself names."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str | None = None
    status: int | None = None


def read_fault(body: bytes) -> Fault:
    """Return what an error body of any known shape says; never raises."""
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        text = body[: 4 * MAX_MESSAGE_CHARS].decode("utf-8", "replace").strip()
        return Fault() if text[:1] == "<" else Fault(message=text[:MAX_MESSAGE_CHARS])
    return fault_of(value)


def fault_of(value: object) -> Fault:
    """Return what a decoded error says: OpenAI's envelope, its inner object, the flat form, a bare string, or ``detail``."""
    if isinstance(value, list):
        return fault_of(value[0]) if value else Fault()
    if isinstance(value, str):
        return Fault(message=value[:MAX_MESSAGE_CHARS])
    if not isinstance(value, dict):
        return Fault()
    inner = value.get("error")
    if isinstance(inner, dict):
        value = inner
    elif isinstance(inner, str):
        value = {"message": inner, "type": value.get("error_type"), "code": value.get("code")}
    message = value.get("message") or value.get("detail") or ""
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    code = value.get("code")
    param = value.get("param")
    number = code if isinstance(code, int) else int(code) if isinstance(code, str) and code.isdecimal() else None
    return Fault(
        message=message[:MAX_MESSAGE_CHARS],
        type=str(value.get("type") or value.get("status") or ""),
        code="" if code is None else str(code),
        param=param if isinstance(param, str) else None,
        status=number if number is not None and 400 <= number < 600 else None,
    )


def parse_error(response: WireResponse, provider: str, model: str | None) -> ProviderError:
    """Return the classified error of a non-2xx response; never raises."""
    headers = response.headers
    known: dict[str, Any] = {
        "should_retry": should_retry(headers),
        "retry_after_s": retry_after_s(headers) if response.status in (408, 409, 429, 498, 500, 502, 503, 504, 529) else None,
        "upstream_request_id": headers.get("x-request-id") or headers.get("request-id"),
    }
    return classify(read_fault(response.body), response.status, provider, model, **known)


def classify(fault: Fault, status: int | None, provider: str, model: str | None, **known: Any) -> ProviderError:
    """Return the error for a fault; `status` is None for one that arrived inside a 200 answer."""
    effective = status if status is not None else fault.status or _status_of_words(fault)
    words = f"{fault.type} {fault.code} {fault.message}".lower()
    cls, code = _class_of(effective, words)
    details = {"code": code} if code else {}
    if cls is ProviderTimeout:
        details["stage"] = "first_byte"
    who = f"{provider} ({model})" if model else provider
    if cls is ProviderAuthFailed:
        text = "refused our credentials."  # its own words may repeat the key
    elif fault.message:
        text = f"answered: {fault.message}"
    else:
        text = f"answered with HTTP status {status}." if status is not None else "reported an error without a message."
    return cls(
        f"{who} {text}",
        model=model,
        provider=provider,
        upstream_status=status,
        upstream_code=fault.code or fault.type or None,
        param=fault.param,
        details=details,
        **known,
    )


def _class_of(status: int, words: str) -> tuple[type[ProviderError], str | None]:
    def says(table: tuple[str, ...]) -> bool:
        return any(word in words for word in table)

    if status in (400, 422, 500, 501) and says(_UNABLE):
        return ProviderRejected, "capability_missing"
    client = 400 <= status < 500
    if client and status != 429 and says(_CONTEXT):
        return ProviderRejected, "context_length_exceeded"
    if status in (400, 403, 422) and says(_FILTER):
        return ProviderRejected, "content_filter"
    if status == 402 or (client and says(_QUOTA)):
        return ProviderQuotaExhausted, None
    if status == 503 and "loading" in words:
        return ProviderLoading, None
    if status in (498, 503, 529) or (status in (429, 500) and says(_OVERLOAD)):
        return ProviderOverloaded, None
    plain: dict[int, type[ProviderError]] = {
        401: ProviderAuthFailed,
        403: ProviderAuthFailed,
        408: ProviderTimeout,
        409: ProviderError,
        424: ProviderError,
        429: ProviderRateLimited,
        504: ProviderTimeout,
    }
    return plain.get(status, ProviderRejected if client else ProviderError), None


def _status_of_words(fault: Fault) -> int:
    """The status an error inside a stream would have had; 500 when its words do not tell."""
    words = f"{fault.type} {fault.code}".lower()
    for word, status in (
        ("rate_limit", 429),
        ("quota", 429),
        ("overloaded", 503),
        ("unavailable", 503),
        ("invalid_request", 400),
        ("badrequest", 400),
        ("validation", 422),
        ("authentication", 401),
        ("not_found", 404),
        ("timeout", 504),
    ):
        if word in words:
            return status
    return 500
