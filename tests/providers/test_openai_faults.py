"""Errors of upstreams: every shape is read, every class is told apart, and nothing raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from prefrontal.providers.backoff import duration_s, retry_after_s, should_retry
from prefrontal.providers.openai.faults import parse_error


def fault(status: int, body: Any = None, **headers: str) -> ProviderError:
    """The error a response stands for; header names with - written as _."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return parse_error(WireResponse(status=status, headers=names, body=raw), "engine", "m")


def openai_error(message: str = "m", kind: str = "t", code: Any = None, param: str | None = None) -> dict[str, Any]:
    """OpenAI's envelope."""
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, openai_error("bad temperature", param="temperature"), ProviderRejected),
        (401, openai_error("wrong key"), ProviderAuthFailed),
        (402, openai_error("Insufficient Balance"), ProviderQuotaExhausted),
        (403, openai_error("no access"), ProviderAuthFailed),
        (403, openai_error("violates our usage guidelines"), ProviderRejected),
        (404, openai_error("no such model"), ProviderRejected),
        (408, None, ProviderTimeout),
        (409, None, ProviderError),
        (413, None, ProviderRejected),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, ProviderRejected),
        (424, {"error": "Request failed during generation", "error_type": "generation"}, ProviderError),
        (429, openai_error("slow", code="rate_limit_exceeded"), ProviderRateLimited),
        (429, openai_error("pay", kind="insufficient_quota", code="insufficient_quota"), ProviderQuotaExhausted),
        (429, openai_error("pay", code="credit_balance_exhausted"), ProviderQuotaExhausted),
        (429, openai_error("pay", kind="exceeded_current_quota_error"), ProviderQuotaExhausted),
        (429, openai_error("busy", kind="engine_overloaded_error"), ProviderOverloaded),
        (498, None, ProviderOverloaded),
        (500, openai_error("boom"), ProviderError),
        (500, openai_error("busy", code="server_is_overloaded"), ProviderOverloaded),
        (500, openai_error("image input is not supported - hint: … the mmproj", code=500), ProviderRejected),
        (500, openai_error("audio input is not supported - hint: … the mmproj", code=500), ProviderRejected),
        (400, openai_error("tiny is not a multimodal model", code=400), ProviderRejected),
        (502, b"<html>Bad gateway</html>", ProviderError),
        (503, openai_error("Loading model", kind="unavailable_error", code=503), ProviderLoading),
        (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}, ProviderOverloaded),
        (503, None, ProviderOverloaded),
        (504, None, ProviderTimeout),
        (529, openai_error("busy"), ProviderOverloaded),
    ],
)
def test_classes_of_errors(status: int, body: Any, kind: type[ProviderError]) -> None:
    """Status and words together give the class; the error names model, provider and status."""
    error = fault(status, body)
    assert type(error) is kind
    assert (error.model, error.provider, error.upstream_status) == ("m", "engine", status)


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (openai_error("one", "two", "three"), "one", "three"),
        (openai_error("one", "two"), "one", "two"),
        ({"object": "error", "message": "flat", "type": "BadRequest", "code": 400}, "flat", "400"),
        ({"error": "tgi says", "error_type": "validation"}, "tgi says", "validation"),
        ({"error": "ollama says"}, "ollama says", None),
        ({"detail": "fastapi says"}, "fastapi says", None),
        ([{"error": {"message": "list", "status": "INVALID", "code": 400}}], "list", "400"),
        (b"plain words", "plain words", None),
        (b"<html><h1>x</h1></html>", "HTTP status 400", None),
        (b"", "HTTP status 400", None),
    ],
)
def test_shapes_of_bodies(body: Any, message: str, code: str | None) -> None:
    """The upstream's message is shown and its code kept, whatever the shape; pages of HTML are not shown."""
    error = fault(400, body)
    assert message in error.message
    assert "<h1>" not in error.message
    assert error.upstream_code == code


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens.",
        "the request exceeds the available context size, try increasing it",
        "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        "`inputs` tokens + `max_new_tokens` must be <= 4096",
    ],
)
def test_too_long_a_context_is_told(message: str) -> None:
    """Each engine's words for it end in the same code, and the request is not tried again as it is."""
    error = fault(400, openai_error(message))
    assert error.details == {"code": "context_length_exceeded"}
    assert not error.retryable


def test_our_key_is_not_shown() -> None:
    """An upstream that repeats the key in its refusal does not get it into our message."""
    assert "sk-secret" not in fault(401, openai_error("Incorrect API key provided: sk-secret")).text


def test_long_messages_are_cut() -> None:
    """A stack trace of an engine does not become an error message of 100 KB."""
    assert len(fault(400, openai_error("x" * 100_000)).message) < 2000


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"x-ratelimit-reset-requests": "1m2s", "x-ratelimit-remaining-requests": "0"}, 62.0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "250ms"}, 1.0),
        (
            {
                "x-ratelimit-reset-requests": "1h",
                "x-ratelimit-remaining-requests": "5",
                "x-ratelimit-reset-tokens": "7.66s",
                "x-ratelimit-remaining-tokens": "0",
            },
            7.66,
        ),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], wait: float | None) -> None:
    """Milliseconds win over seconds over limits' resets; dates count from the response's own date; nonsense is no answer."""
    assert retry_after_s(headers) == (pytest.approx(wait) if wait is not None else None)


def test_waiting_travels_with_the_error_only_where_it_helps() -> None:
    """A limit carries its wait, a rejected request does not; x-should-retry is kept as it was said."""
    limited = fault(429, openai_error(), retry_after="3", x_should_retry="false", x_request_id="r1")
    assert (limited.retry_after_s, limited.should_retry, limited.upstream_request_id) == (3.0, False, "r1")
    rejected = fault(400, openai_error(), retry_after="3", x_should_retry="true")
    assert (rejected.retry_after_s, rejected.should_retry) == (None, True)
    assert should_retry({}) is None
    assert should_retry({"x-should-retry": "maybe"}) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("6m0s", 360.0), ("120ms", 0.12), ("1.5", 1.5), ("1h2m3s", 3723.0), ("x", None), ("1s!", None)]
)
def test_durations(text: str, seconds: float | None) -> None:
    """Durations as rate-limit headers write them."""
    assert duration_s(text) == (pytest.approx(seconds) if seconds is not None else None)


@given(
    st.integers(300, 599),
    st.binary(max_size=60)
    | st.builds(
        lambda v: json.dumps(v).encode(),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda x: (
                st.lists(x, max_size=2)
                | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "detail", "param"]), x, max_size=3)
            ),
        ),
    ),
)
def test_reading_an_error_never_raises(status: int, body: bytes) -> None:
    """Any body under any status is some ProviderError with a sentence."""
    error = fault(status, body)
    assert isinstance(error, ProviderError)
    assert error.message
