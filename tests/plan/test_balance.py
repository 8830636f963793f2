"""Which deployment is asked, how long one rests, and when a second attempt is made: pure policies."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from prefrontal.contracts.resilience import Hedge, lower
from prefrontal.errors import (
    ProviderAuthFailed,
    ProviderOverloaded,
    ProviderQuotaExhausted,
    ProviderRateLimited,
)
from prefrontal.plan.balance import Place, choose, observed
from prefrontal.plan.hedging import LEAST_SAMPLES, MOST_CREDIT, Credit, hedge_after_s
from prefrontal.plan.parking import LONGEST_S, QUOTA_S, RATE_S, paced_by, parked_by


def place(name: str, **fields: object) -> Place:
    return Place(name=name, **{"limit": 10, **fields})


def test_the_place_with_the_least_work_for_its_weight_is_asked() -> None:
    """Four in progress at weight 4 are less than two at weight 1."""
    places = [place("a", in_flight=2), place("b", in_flight=4, weight=4.0)]
    assert choose(places, "least_outstanding").name == "b"
    assert choose([*places, place("c")], "least_outstanding").name == "c"


def test_an_idle_fleet_is_asked_in_turn_by_weight() -> None:
    """Requests one after another spread as the weights say, although nothing is ever in progress."""
    served: Counter[str] = Counter()
    for _ in range(80):
        places = [place("a", served=served["a"]), place("b", served=served["b"], weight=3.0)]
        served[choose(places, "least_outstanding").name or ""] += 1
    assert served == {"a": 20, "b": 60}


def test_latency_weighs_work_by_how_long_it_takes() -> None:
    """One slow request is worse than three fast ones; a place that was never asked counts as an average one."""
    fast, slow = place("fast", in_flight=3, latency_ms=50.0), place("slow", in_flight=0, latency_ms=900.0)
    assert choose([slow, fast], "latency").name == "fast"
    assert choose([slow, msgspec.structs.replace(fast, in_flight=20, full=False)], "latency").name == "slow"
    assert choose([msgspec.structs.replace(slow, served=5), place("new")], "latency").name == "new"


def test_weighted_looks_at_shares_alone() -> None:
    """Work in progress does not matter to it."""
    places = [place("a", served=5, in_flight=9), place("b", served=11, weight=2.0)]
    assert choose(places, "weighted").name == "a"


def test_the_place_that_has_the_conversation_cached_comes_first_as_long_as_it_has_room() -> None:
    """A cached beginning beats a shorter queue, but not a full house."""
    busy = place("a", in_flight=9)
    assert choose([busy, place("b")], "least_outstanding", prefer="a").name == "a"
    assert choose([msgspec.structs.replace(busy, in_flight=10), place("b")], "least_outstanding", prefer="a").name == "b"


def test_what_rests_was_tried_or_is_full_is_passed_over_with_the_reason() -> None:
    """Every place that was not chosen says why."""
    places = [place("a", resting="its key is refused"), place("b"), place("c", full=True), place("d")]
    choice = choose(places, "least_outstanding", tried=frozenset({"b"}))
    assert choice.name == "d"
    assert dict(choice.others) == {
        "a": "its key is refused",
        "b": "it has failed this request",
        "c": "its queue is full",
    }


def test_with_nobody_left_the_first_return_is_told() -> None:
    """Of several that rest, the one that is back first counts."""
    choice = choose([place("a", resting="x", back_s=9.0), place("b", resting="y", back_s=3.0)], "weighted")
    assert (choice.name, choice.back_s) == (None, 3.0)


def test_latency_rises_at_once_and_sinks_slowly() -> None:
    """A peak counts in full; fast answers right after it change it by a fifth each, long after it by almost all."""
    peak = observed(observed(None, 100.0, 0.0), 1000.0, 1.0)
    assert peak.ms == 1000.0
    assert observed(peak, 100.0, 1.0).ms == pytest.approx(820.0)
    assert observed(peak, 100.0, 61.0).ms < 110.0


def test_each_refusal_rests_what_it_is_about() -> None:
    """Keys rest for quota and credentials, deployments for rates and for one forbidden model, nothing for being overloaded."""
    assert parked_by(ProviderAuthFailed("no", upstream_status=401), 5.0).until is None  # type: ignore[union-attr]
    assert parked_by(ProviderAuthFailed("no", upstream_status=403), 5.0).whole_key is False  # type: ignore[union-attr]
    quota, rate = parked_by(ProviderQuotaExhausted("no"), 5.0), parked_by(ProviderRateLimited("no", retry_after_s=7.0), 5.0)
    assert quota is not None
    assert (quota.until, quota.whole_key) == (5.0 + QUOTA_S, True)
    assert rate is not None
    assert (rate.until, rate.whole_key, rate.holds(11.9), rate.holds(12.0)) == (12.0, False, True, False)
    assert parked_by(ProviderRateLimited("no"), 0.0).until == RATE_S  # type: ignore[union-attr]
    assert parked_by(ProviderRateLimited("no", retry_after_s=1e9), 0.0).until == LONGEST_S  # type: ignore[union-attr]
    assert parked_by(ProviderOverloaded("no"), 0.0) is None


def test_headers_that_say_nothing_is_left_rest_a_deployment_before_it_refuses() -> None:
    """Both families of names are read; what is left counts, the limit does not."""
    openai = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}
    assert paced_by(openai, "x-ratelimit", 1.0).until == 361.0  # type: ignore[union-attr]
    assert paced_by({"x-ratelimit-remaining-requests": "1", "x-ratelimit-remaining-tokens": "9"}, "x-ratelimit", 1.0) is None
    assert paced_by({"anthropic-ratelimit-tokens-remaining": "0"}, "anthropic-ratelimit", 1.0).until == 1.0 + RATE_S  # type: ignore[union-attr]


def test_a_second_attempt_waits_for_the_slowest_twentieth() -> None:
    """Without enough measured times there is none, unless the time is fixed."""
    times = [float(ms) for ms in range(1, 101)]
    assert hedge_after_s(Hedge(), times) == 0.096
    assert hedge_after_s(Hedge(quantile=0.5), times) == 0.051
    assert hedge_after_s(Hedge(), times[: LEAST_SAMPLES - 1]) is None
    assert hedge_after_s(Hedge(after_ms=250.0), ()) == 0.25


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_second_attempts_stay_within_their_share(share: float) -> None:
    """Over any number of requests, also when every one of them is slow."""
    credit, hedged = Credit(), 0
    for number in range(1, 401):
        credit = credit.earned(share)
        if credit.enough:
            credit, hedged = credit.spent(), hedged + 1
        assert hedged <= share * number + 1e-6
    assert hedged == pytest.approx(400 * share, abs=1)


def test_credit_of_quiet_times_is_bounded() -> None:
    """A day without slow answers does not allow a burst of second attempts."""
    credit = Credit()
    for _ in range(10_000):
        credit = credit.earned(0.05)
    assert credit.amount == MOST_CREDIT


def test_the_lower_priority_of_two_holds() -> None:
    """A key's priority is the most its holder may ask for."""
    assert (lower("high", "normal"), lower("low", "high"), lower("normal", "normal")) == ("normal", "low", "normal")
