"""What each failure means, and how long is waited."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal import errors
from prefrontal.errors import PrefrontalError, ProviderError, every_error
from prefrontal.execute.retry import LOADING_WAIT_S, MAX_HONOURED_WAIT_S, RetryClass, backoff_s, classify


def make(kind: type[PrefrontalError], **fields: Any) -> PrefrontalError:
    """An error of this class, also of those that are made from other things than a message."""
    base: Any = ProviderError if issubclass(kind, ProviderError) else PrefrontalError
    made = kind.__new__(kind)
    base.__init__(made, "something happened", **fields)
    return made


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_meaning(kind: type[PrefrontalError]) -> None:
    """The tree is covered, and no meaning contradicts itself."""
    found = classify(make(kind))
    assert isinstance(found, RetryClass)
    assert found.kind in ("no", "transient", "rate_limited", "loading", "quota")
    assert found.retry is (found.kind in ("transient", "rate_limited", "loading"))
    assert issubclass(kind, ProviderError) or not found.counts, "only an upstream's failure may open its breaker"
    assert kind.retryable or not found.retry, "an error that says trying again is no use is not tried again"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (errors.ProviderCut, ("transient", True, True)),
        (errors.ProviderTimeout, ("transient", True, True)),
        (errors.ProviderUnreachable, ("transient", True, True)),
        (errors.ProviderOverloaded, ("transient", True, True)),
        (errors.ProviderMisbehaved, ("transient", True, True)),
        (errors.ProviderRateLimited, ("rate_limited", True, False)),
        (errors.ProviderLoading, ("loading", True, False)),
        (errors.ProviderQuotaExhausted, ("quota", True, False)),
        (errors.ProviderAuthFailed, ("no", True, True)),
        (errors.ProviderRejected, ("no", True, False)),
        (errors.ThinkingAteCap, ("no", True, False)),
        (errors.StructuredOutputInvalid, ("no", True, False)),
        (errors.LimitExceeded, ("rate_limited", True, False)),
        (errors.ContextTooLong, ("no", True, False)),
        (errors.CapabilityMissing, ("no", True, False)),
        (errors.NoModelAvailable, ("no", True, False)),
        (errors.EgressDenied, ("no", True, False)),
        (errors.ConfigError, ("no", True, False)),
        (errors.InvalidRequest, ("no", False, False)),
        (errors.UnknownModel, ("no", False, False)),
        (errors.ShuttingDown, ("no", False, False)),
        (errors.NotAllowed, ("no", False, False)),
        (errors.InvariantBroken, ("no", False, False)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_failure_means(kind: type[PrefrontalError], expected: tuple[str, bool, bool]) -> None:
    """Kind, whether another model may be tried, whether the breaker counts it."""
    found = classify(make(kind))
    assert (found.kind, found.fallback, found.counts) == expected


PROVIDERS = [kind for kind in every_error() if issubclass(kind, ProviderError)]


@pytest.mark.parametrize("kind", PROVIDERS, ids=lambda kind: kind.__name__)
def test_the_upstreams_word_on_retrying_counts(kind: type[ProviderError]) -> None:
    """`x-should-retry: false` ends it everywhere; `true` opens it, but not for an empty account or a refused key."""
    assert not classify(make(kind, should_retry=False)).retry
    hopeless = (errors.ProviderQuotaExhausted, errors.ProviderAuthFailed, errors.ThinkingAteCap, errors.StructuredOutputInvalid)
    assert classify(make(kind, should_retry=True)).retry is not issubclass(kind, hopeless)


@pytest.mark.parametrize(
    "kind", [errors.ProviderRateLimited, errors.ProviderOverloaded, errors.ProviderLoading, errors.LimitExceeded]
)
def test_a_wait_the_server_names_is_passed_on(kind: type[PrefrontalError]) -> None:
    """Also one of 0 s; an engine that loads and names none is asked again after a second."""
    for wait_s in (0.0, 7.5):
        assert classify(make(kind, retry_after_s=wait_s)).after_s == wait_s
    assert classify(errors.ProviderLoading("loading")).after_s == LOADING_WAIT_S


@given(st.integers(-5, 10**6), st.floats(0, 100), st.floats(0, 1000), st.floats(0, 1, exclude_max=True))
def test_the_pause_grows_and_is_bounded(attempt: int, base_s: float, max_s: float, chance: float) -> None:
    """Between half and all of a doubling base, never above the cap, for any number of attempts."""
    wait_s = backoff_s(attempt, base_s=base_s, max_s=max_s, chance=chance)
    assert wait_s is not None
    full_s = min(max_s, base_s * 2.0 ** min(max(0, attempt - 1), 32))
    assert full_s * 0.5 - 1e-9 <= wait_s <= max_s + 1e-9
    assert wait_s <= full_s


def test_pauses_double_and_spread() -> None:
    """1, 2, 4 s with full chance; half of it with none."""
    waits = [backoff_s(n, base_s=1.0, max_s=100.0, chance=math.nextafter(1, 0)) for n in (1, 2, 3)]
    assert waits == pytest.approx([1.0, 2.0, 4.0])
    assert backoff_s(3, base_s=1.0, max_s=100.0, chance=0.0) == 2.0


def test_a_named_wait_is_kept_exactly_or_not_at_all() -> None:
    """Up to two minutes; a wait into the past is none."""
    fields: dict[str, float] = {"base_s": 1.0, "max_s": 8.0, "chance": 0.3}
    assert backoff_s(1, after_s=17.25, **fields) == 17.25
    assert backoff_s(1, after_s=MAX_HONOURED_WAIT_S, **fields) == MAX_HONOURED_WAIT_S
    assert backoff_s(1, after_s=MAX_HONOURED_WAIT_S + 1, **fields) is None
    assert backoff_s(1, after_s=float("nan"), **fields) is None
    assert backoff_s(1, after_s=-3.0, **fields) == 0.0
