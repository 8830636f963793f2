"""What a failure means for the next step. Classification is a value; waiting is done elsewhere."""

from __future__ import annotations

from typing import Literal

import msgspec

from prefrontal.errors import (
    CapabilityMissing,
    ConfigError,
    ContextTooLong,
    EgressDenied,
    LimitExceeded,
    NoModelAvailable,
    PrefrontalError,
    ProviderAuthFailed,
    ProviderError,
    ProviderLoading,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    QuotaExceeded,
    ShuttingDown,
    StructuredOutputInvalid,
    ThinkingAteCap,
)

Kind = Literal["no", "transient", "rate_limited", "loading", "quota"]

MAX_HONOURED_WAIT_S = 120.0
"""Longest retry-after that is waited for; the official SDKs stop there too (specified: openai SDK)."""

LOADING_WAIT_S = 1.0
"""Pause before asking a loading engine again (assumed: small models load within seconds)."""

LOADING_ATTEMPTS = 60
"""How often a loading engine is asked again when there is no other model (assumed: one minute)."""


MAX_DOUBLINGS = 32
"""Doubling ends here: any cap is reached long before (and floats end at 1,024)."""


class RetryClass(msgspec.Struct, frozen=True, kw_only=True):
    """What to do after a failure.

    kind: ``no`` (same model will fail again), ``transient``, ``rate_limited`` (wait `after_s`), ``loading`` (wait, do not count
    against the breaker), ``quota`` (this account is empty). `fallback`: whether another model may be tried. `counts`: whether the
    breaker of this model counts it.
    """

    kind: Kind
    after_s: float | None = None
    fallback: bool = True
    counts: bool = True

    @property
    def retry(self) -> bool:
        """Whether the same model may be asked again."""
        return self.kind in ("transient", "rate_limited", "loading")


NO = RetryClass(kind="no", fallback=False, counts=False)
"""The fault is the caller's, or ours: no other model would do better."""

ELSEWHERE = RetryClass(kind="no", counts=False)
"""This model cannot take the request, and another may; its breaker has nothing to learn."""


def classify(error: PrefrontalError) -> RetryClass:
    """Return what `error` means; total over the error tree.

    A request the upstream calls wrong is not retried on it, but another model may take it (a larger window, a feature) unless
    the fault is the caller's in any dialect. ``x-should-retry`` overrides both ways, but never makes an empty account or a
    refused key worth another try.
    """
    if isinstance(error, ProviderError):
        return _classify_provider(error)
    if isinstance(error, LimitExceeded):
        kind: Kind = "quota" if isinstance(error, QuotaExceeded) else "rate_limited"
        return RetryClass(kind=kind, after_s=error.retry_after_s, fallback=error.elsewhere, counts=False)
    if isinstance(error, ContextTooLong | CapabilityMissing | NoModelAvailable | ConfigError | EgressDenied):
        return ELSEWHERE
    if isinstance(error, ShuttingDown) or not error.retryable:
        return NO
    return RetryClass(kind="transient", after_s=error.retry_after_s, counts=False)


def _classify_provider(error: ProviderError) -> RetryClass:
    if isinstance(error, ProviderQuotaExhausted):
        return RetryClass(kind="quota", counts=False)
    if isinstance(error, ProviderAuthFailed):
        return RetryClass(kind="no")
    if isinstance(error, ThinkingAteCap | StructuredOutputInvalid):
        return ELSEWHERE
    # what the upstream says of itself, being busy or loading, and what it says of the request is no failure of the model
    counts = not isinstance(error, ProviderLoading | ProviderRateLimited | ProviderRejected)
    if error.should_retry is False:
        return RetryClass(kind="no", after_s=error.retry_after_s, counts=counts)
    if isinstance(error, ProviderLoading):
        return RetryClass(
            kind="loading", after_s=LOADING_WAIT_S if error.retry_after_s is None else error.retry_after_s, counts=False
        )
    if isinstance(error, ProviderRateLimited):
        return RetryClass(kind="rate_limited", after_s=error.retry_after_s, counts=False)
    if isinstance(error, ProviderRejected) and not error.should_retry:
        return ELSEWHERE
    return RetryClass(kind="transient", after_s=error.retry_after_s, counts=counts)


def other_place(error: PrefrontalError, place: str) -> bool:
    """Return whether another deployment of the same model may do better than the one called `place`.

    It may after whatever is wrong with a place (its connection, capacity, key, rate); not after what is wrong with the request,
    and not after a limit of ours that holds for all places together.
    """
    if isinstance(error, LimitExceeded):
        return error.details.get("scope") == place
    return isinstance(error, ProviderError) and not isinstance(
        error, ThinkingAteCap | StructuredOutputInvalid | ProviderRejected
    )


def backoff_s(attempt: int, *, base_s: float, max_s: float, chance: float, after_s: float | None = None) -> float | None:
    """Return seconds to wait before retry number `attempt` (1 is the first); None when the server asks for too long a wait.

    Exponential with jitter on the upper half: between half and all of ``base * 2**(attempt-1)``, capped at `max_s`.
    `chance` is uniform in [0, 1). A wait the server names is honoured exactly, up to MAX_HONOURED_WAIT_S.
    Source: M. Brooker, "Exponential Backoff And Jitter", 2015 ("equal jitter").
    """
    if after_s is not None:
        return max(0.0, after_s) if after_s <= MAX_HONOURED_WAIT_S else None
    doublings = min(max(0, attempt - 1), MAX_DOUBLINGS)
    return min(max_s, base_s * 2.0**doublings) * (0.5 + 0.5 * chance)
