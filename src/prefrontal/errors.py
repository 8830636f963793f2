"""The error tree. Every error says who caused it, whether trying again helps, and what a client may be told.

    PrefrontalError
    ├─ InvalidRequest            400  client     param: dotted path of the field, e.g. ``messages[0].content``
    │  ├─ ContextTooLong         400             input_tokens, models that could take it
    │  ├─ CapabilityMissing      400             what the named model cannot do
    │  └─ UnknownModel           404             nearest names
    ├─ NotFound                  404  client
    ├─ NotAuthenticated          401  client
    ├─ NotAllowed                403  client
    ├─ Conflict                  409  client
    ├─ PayloadTooLarge           413  client
    ├─ LimitExceeded             429  gateway    dimension: concurrency | requests | tokens
    │  └─ QuotaExceeded          429             a budget is used up: dimension, window, spent, limit, reset
    ├─ Overloaded                503  gateway    our own queue, ledger or disk is full; nothing was called
    ├─ ShuttingDown              503  gateway
    ├─ NoModelAvailable          503  gateway    no configured model can serve this
    ├─ ConfigError               –    gateway    file, path, rule, hint
    ├─ StoreError                503  gateway
    ├─ EgressDenied              403  gateway
    ├─ ProviderError             502  provider   model, provider, upstream status and request id
    │  ├─ ProviderRejected       400             the upstream called the request wrong
    │  ├─ ProviderAuthFailed     502             our key for the upstream is bad; the caller's is fine
    │  ├─ CredentialsExhausted   503             every key we have for the upstream rests; the caller's is fine
    │  ├─ ProviderQuotaExhausted 429             the upstream account is empty: never retried
    │  ├─ ProviderRateLimited    429             retry_after_s
    │  ├─ ProviderLoading        503             the engine is loading the model
    │  ├─ ProviderOverloaded     503
    │  ├─ ProviderUnreachable    502             DNS, connection refused, TLS
    │  ├─ ProviderTimeout        504             stage: connect | first_byte | between | total
    │  ├─ ProviderCut            502             the connection ended inside the answer
    │  ├─ ProviderMisbehaved     502             unparsable answer
    │  ├─ ThinkingAteCap         502             finish_reason=length and no content
    │  └─ StructuredOutputInvalid 502            the answer is not in the form that was asked for, also after repair
    ├─ AllAttemptsFailed         –               takes status and type of the last attempt
    └─ InvariantBroken           500  gateway    our bug

Cancellation is never an error here: ``asyncio.CancelledError`` passes through untouched.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

Origin = Literal["client", "gateway", "provider"]


class PrefrontalError(Exception):
    """Base of everything this package raises on purpose.

    Class attributes ``code``, ``status``, ``type``, ``origin`` and ``retryable`` are part of the public contract;
    ``message`` is written for the person who reads it and holds no secret and no stack trace.
    """

    code: ClassVar[str] = "internal_error"
    status: int = 500
    type: ClassVar[str] = "server_error"
    origin: ClassVar[Origin] = "gateway"
    retryable: ClassVar[bool] = False
    standing: tuple[Any, ...] = ()  # what is left of the caller's rate limits, for headers

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint
        self.param, self.retry_after_s = param, retry_after_s
        self.details: dict[str, Any] = details or {}

    @property
    def text(self) -> str:
        """The message with its hint, as shown to people."""
        return f"{self.message} {self.hint}" if self.hint else self.message


class InvalidRequest(PrefrontalError):
    """The request cannot be understood; ``param`` is the path of the field."""

    code = "invalid_request"
    status = 400
    type = "invalid_request_error"
    origin = "client"


class ContextTooLong(InvalidRequest):
    """The input does not fit the model's context window."""

    code = "context_length_exceeded"


class CapabilityMissing(InvalidRequest):
    """The named model cannot do what the request asks (images, tools, …)."""

    code = "capability_missing"


class UnknownModel(InvalidRequest):
    """No model of that name; ``details['nearest']`` lists close names."""

    code = "model_not_found"
    status = 404


class NotFound(PrefrontalError):
    """No such route or object."""

    code = "not_found"
    status = 404
    type = "invalid_request_error"
    origin = "client"


class NotAuthenticated(PrefrontalError):
    """No key, or a wrong one."""

    code = "invalid_api_key"
    status = 401
    type = "authentication_error"
    origin = "client"


class NotAllowed(PrefrontalError):
    """The key is good and may not do this."""

    code = "permission_denied"
    status = 403
    type = "permission_error"
    origin = "client"


class Conflict(PrefrontalError):
    """The object is in a state that forbids the operation."""

    code = "conflict"
    status = 409
    type = "invalid_request_error"
    origin = "client"


class PayloadTooLarge(PrefrontalError):
    """The body is larger than ``server.max_body_bytes``."""

    code = "payload_too_large"
    status = 413
    type = "invalid_request_error"
    origin = "client"


class LimitExceeded(PrefrontalError):
    """One of our own limits; ``details`` names dimension, limit and scope. `elsewhere`: another model may still take it."""

    code = "rate_limit_exceeded"
    status = 429
    type = "rate_limit_error"
    retryable = True
    elsewhere: bool = True


class QuotaExceeded(LimitExceeded):
    """A budget does not leave enough for the call. Trying again helps when its window ends, which may be weeks away."""

    code = "insufficient_quota"
    type = "insufficient_quota"
    retryable = False


class Overloaded(PrefrontalError):
    """A bounded queue of ours is full; no upstream was called."""

    code = "overloaded"
    status = 503
    type = "overloaded_error"
    retryable = True


class ShuttingDown(Overloaded):
    """The process is draining."""

    code = "shutting_down"


class NoModelAvailable(PrefrontalError):
    """No configured model can serve the request now; ``details['reasons']`` says why each was ruled out."""

    code = "no_model_available"
    status = 503
    type = "server_error"


class ConfigError(PrefrontalError):
    """A setting is wrong. ``details`` carries file, path (dotted) and rule."""

    code = "config_error"
    status = 500
    type = "config_error"

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        path: str | None = None,
        rule: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, param=path, hint=hint)
        self.file, self.path, self.rule = file, path, rule
        self.details = {"file": file, "path": path, "rule": rule, "hint": hint}

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.path) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class StoreError(PrefrontalError):
    """The ledger could not be read or written."""

    code = "store_error"
    status = 503
    retryable = True


class EgressDenied(PrefrontalError):
    """A policy forbids contacting that host."""

    code = "egress_denied"
    status = 403
    type = "permission_error"


class ProviderError(PrefrontalError):
    """Something went wrong upstream.

    ``model`` and ``provider`` name the attempt, ``upstream_status`` is the HTTP status it sent (None when it sent none),
    ``upstream_request_id`` its own id where it gave one. ``should_retry`` is the upstream's ``x-should-retry`` when present.
    """

    code = "upstream_error"
    status = 502
    type = "upstream_error"
    origin = "provider"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        provider: str | None = None,
        upstream_status: int | None = None,
        upstream_request_id: str | None = None,
        upstream_code: str | None = None,
        should_retry: bool | None = None,
        retry_after_s: float | None = None,
        param: str | None = None,
        hint: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, param=param, hint=hint, retry_after_s=retry_after_s, details=details)
        self.model, self.provider = model, provider
        self.upstream_status, self.upstream_code = upstream_status, upstream_code
        self.upstream_request_id, self.should_retry = upstream_request_id, should_retry


class ProviderRejected(ProviderError):
    """The upstream refused the request itself (400, 404, 413, 422, content policy)."""

    code = "upstream_rejected"
    status = 400
    type = "invalid_request_error"
    retryable = False


class ProviderAuthFailed(ProviderError):
    """The upstream refused our credentials; the caller's key is fine."""

    code = "upstream_credentials"
    retryable = False


class CredentialsExhausted(ProviderError):
    """Every key or deployment of the model rests, refused or rate-limited; ``retry_after_s`` when the first one is back."""

    code = "upstream_credentials_exhausted"
    status = 503


class ProviderQuotaExhausted(ProviderError):
    """The upstream account has no credit left; trying again does not help."""

    code = "insufficient_quota"
    status = 429
    type = "insufficient_quota"
    retryable = False


class ProviderRateLimited(ProviderError):
    """The upstream limits our rate; ``retry_after_s`` when it said for how long."""

    code = "upstream_rate_limited"
    status = 429
    type = "rate_limit_error"


class ProviderLoading(ProviderError):
    """The engine is up and still loading the model."""

    code = "upstream_loading"
    status = 503


class ProviderOverloaded(ProviderError):
    """The upstream has no capacity now."""

    code = "upstream_overloaded"
    status = 503
    type = "overloaded_error"


class ProviderUnreachable(ProviderError):
    """No connection: name resolution, refused, TLS."""

    code = "upstream_unreachable"


class ProviderTimeout(ProviderError):
    """The upstream was too slow; ``details['stage']`` is connect, first_byte, between or total."""

    code = "upstream_timeout"
    status = 504
    type = "timeout_error"


class ProviderCut(ProviderError):
    """The connection ended inside an answer."""

    code = "upstream_cut"


class ProviderMisbehaved(ProviderError):
    """The answer is not what the protocol says."""

    code = "upstream_misbehaved"


class ThinkingAteCap(ProviderError):
    """The model spent its whole output cap on thinking: finish_reason=length and no content."""

    code = "thinking_ate_cap"


class StructuredOutputInvalid(ProviderError):
    """The answer is not in the form that was asked for, and could not be repaired.

    ``details``: ``findings``, ``answer`` (the text as the model gave it: for the caller, never for records or logs), ``repairs``.
    """

    code = "structured_output_invalid"
    retryable = False


class AllAttemptsFailed(PrefrontalError):
    """Every candidate failed. ``errors`` holds them in order; status, type and code are those of the last."""

    retryable = False

    def __init__(self, errors: list[PrefrontalError]) -> None:
        last = errors[-1]
        tried = ", ".join(f"{getattr(e, 'model', None) or e.details.get('scope') or '?'} ({e.code})" for e in errors)
        super().__init__(f"{last.message} Tried: {tried}.", param=last.param, retry_after_s=last.retry_after_s)
        self.errors = errors
        self.last = last
        self.status = last.status


class InvariantBroken(PrefrontalError):
    """Our own bug; caught only at the HTTP edge."""

    code = "internal_error"


def cause_of(cancelled: BaseException) -> PrefrontalError | None:
    """Return the error that a cancellation carries (``task.cancel(error)``): the work then failed of it and was not given up."""
    return next((told for told in cancelled.args if isinstance(told, PrefrontalError)), None)


def every_error() -> list[type[PrefrontalError]]:
    """All classes of the tree, for the tests that check that each is documented."""
    found: list[type[PrefrontalError]] = [PrefrontalError]
    for cls in found:  # grows while it is walked
        found.extend(cls.__subclasses__())
    return sorted(set(found), key=lambda cls: cls.__name__)
