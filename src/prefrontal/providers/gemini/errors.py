"""Google's error objects → our error tree."""

from __future__ import annotations

from typing import Any

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
from prefrontal.providers.base import Target
from prefrontal.providers.common import loads, upstream_error

_BY_WORD: dict[str, type[ProviderError]] = {
    "INVALID_ARGUMENT": ProviderRejected,
    "FAILED_PRECONDITION": ProviderRejected,
    "OUT_OF_RANGE": ProviderRejected,
    "NOT_FOUND": ProviderRejected,
    "UNIMPLEMENTED": ProviderRejected,
    "UNAUTHENTICATED": ProviderAuthFailed,
    "PERMISSION_DENIED": ProviderAuthFailed,
    "RESOURCE_EXHAUSTED": ProviderRateLimited,
    "UNAVAILABLE": ProviderOverloaded,
    "DEADLINE_EXCEEDED": ProviderTimeout,
    "INTERNAL": ProviderError,
}
_BY_STATUS: dict[int, type[ProviderError]] = {
    400: ProviderRejected,
    401: ProviderAuthFailed,
    403: ProviderAuthFailed,
    404: ProviderRejected,
    413: ProviderRejected,
    429: ProviderRateLimited,
    503: ProviderOverloaded,
    504: ProviderTimeout,
}
_BAD_KEY = ("API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_EXPIRED")


def parse_error(response: WireResponse, target: Target) -> ProviderError:
    """Return the error a non-2xx response stands for; never raises. The streaming route wraps its errors in a list."""
    value = loads(response.body)
    if isinstance(value, list) and value:
        value = value[0]
    return error_of(value if isinstance(value, dict) else {}, response, target)


def error_of(value: dict[str, Any], response: WireResponse | None, target: Target) -> ProviderError:
    """Return the error in an error object, from a body or from an event of a stream (then `response` is None)."""
    found = value.get("error")
    error: dict[str, Any] = found if isinstance(found, dict) else {}
    word, code = error.get("status"), error.get("code")
    status = response.status if response is not None else code if isinstance(code, int) else 0
    kind = _BY_WORD.get(word) if isinstance(word, str) else None
    kind = kind or _BY_STATUS.get(status, ProviderError)
    items = error.get("details")
    details = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    reason = next((item["reason"] for item in details if isinstance(item.get("reason"), str)), None)
    message = error.get("message")
    text = message if isinstance(message, str) else found if isinstance(found, str) else ""
    if reason in _BAD_KEY or "api key not valid" in text.lower() or "api key expired" in text.lower():
        kind = ProviderAuthFailed
    elif kind is ProviderRateLimited and _daily(details):
        kind = ProviderQuotaExhausted
    return upstream_error(
        kind,
        text,
        target,
        response,
        code=reason or (word if isinstance(word, str) else None),
        retry_after_s=_retry_delay(details),
        details=_details(kind, text),
    )


def _details(kind: type[ProviderError], text: str) -> dict[str, Any]:
    if kind is ProviderTimeout:
        return {"stage": "total"}
    if kind is ProviderRejected and "exceeds the maximum number of tokens" in text:
        return {"kind": "context_length"}
    return {}


def _daily(details: list[dict[str, Any]]) -> bool:
    """Whether what ran out is a quota of the day: waiting some seconds, as the answer suggests, does not help."""
    violations = [v for item in details if isinstance(item.get("violations"), list) for v in item["violations"]]
    return any(isinstance(v, dict) and "PerDay" in str(v.get("quotaId")) for v in violations)


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    for item in details:
        delay = item.get("retryDelay")
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return max(0.0, float(delay[:-1]))
            except ValueError:
                return None
    return None
