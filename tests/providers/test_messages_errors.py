"""Every error of the house in the words of the Messages dialect."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from anthropic.types import ErrorResponse
from anthropic.types.shared import ErrorType

from prefrontal.errors import AllAttemptsFailed, InvalidRequest, PrefrontalError, ProviderQuotaExhausted, every_error
from prefrontal.providers.anthropic.client_response import error_type, render_messages_error

WORDS = {
    "CapabilityMissing": "invalid_request_error",
    "ConfigError": "api_error",
    "Conflict": "invalid_request_error",
    "ContextTooLong": "invalid_request_error",
    "EgressDenied": "permission_error",
    "InvalidRequest": "invalid_request_error",
    "InvariantBroken": "api_error",
    "LimitExceeded": "rate_limit_error",
    "NoModelAvailable": "api_error",
    "NotAllowed": "permission_error",
    "NotAuthenticated": "authentication_error",
    "NotFound": "not_found_error",
    "Overloaded": "overloaded_error",
    "PayloadTooLarge": "request_too_large",
    "PrefrontalError": "api_error",
    "ProviderAuthFailed": "api_error",
    "ProviderCut": "api_error",
    "ProviderError": "api_error",
    "ProviderLoading": "overloaded_error",
    "ProviderMisbehaved": "api_error",
    "ProviderOverloaded": "overloaded_error",
    "ProviderQuotaExhausted": "billing_error",
    "ProviderRateLimited": "rate_limit_error",
    "ProviderRejected": "invalid_request_error",
    "ProviderTimeout": "timeout_error",
    "ProviderUnreachable": "api_error",
    "ShuttingDown": "overloaded_error",
    "StoreError": "api_error",
    "ThinkingAteCap": "api_error",
    "UnknownModel": "not_found_error",
}
"""The word of each class. A class of the house that is not here follows its status."""

TOO_LARGE = "request_too_large"
"""In the API's documentation and not among the types of its library."""

KNOWN = {*get_args(ErrorType), TOO_LARGE}


def made(kind: type[PrefrontalError]) -> PrefrontalError:
    """An error of a class."""
    return AllAttemptsFailed([InvalidRequest("No.")]) if kind is AllAttemptsFailed else kind("No.")


OURS = [kind for kind in every_error() if kind.__module__ == PrefrontalError.__module__]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_word_of_the_dialect(kind: type[PrefrontalError]) -> None:
    """The envelope is the dialect's own, the word one it knows, and the one of the table."""
    error = made(kind)
    body = render_messages_error(error, "req_1")
    assert body["error"]["type"] in KNOWN
    if body["error"]["type"] != TOO_LARGE:
        ErrorResponse.model_validate(body)
    assert body["error"]["type"] == WORDS.get(kind.__name__, error_type(error))
    assert body["request_id"] == "req_1"
    assert body["x_prefrontal"]["code"]


def test_the_table_names_no_class_that_is_gone() -> None:
    """The words belong to classes of the house."""
    assert {kind.__name__ for kind in every_error()} >= set(WORDS)


def test_the_last_of_several_failures_gives_the_word() -> None:
    """When all attempts failed, the envelope tells of the last, and of all in our part."""
    last: Any = ProviderQuotaExhausted("Empty.", model="b")
    body = render_messages_error(AllAttemptsFailed([InvalidRequest("No."), last]))
    assert body["error"]["type"] == "billing_error"
    assert [attempt["code"] for attempt in body["x_prefrontal"]["attempts"]] == ["invalid_request", "insufficient_quota"]
