"""What a request's attempts add up to, and what is remembered of a model."""

from __future__ import annotations

import msgspec
import pytest

from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import ProviderRateLimited
from prefrontal.execute.journal import Journal
from prefrontal.execute.runtime import Runtime
from prefrontal.testing.clock import FakeClock

CARD = ModelCard(id="m", wire_name="m", profile="openai", base_url="http://m.test/v1")
REPORTED = Usage(uncached_input_tokens=10, output_tokens=5, source="reported")
GUESSED = Usage(uncached_input_tokens=3, output_tokens=2, source="estimated")


async def test_tokens_and_money_of_all_attempts_add_up() -> None:
    """Failed attempts that used tokens count; those that used none neither count nor weaken the source."""
    journal = Journal(FakeClock())
    assert (journal.usage(), journal.cost_usd()) == (UNKNOWN_USAGE, 0.0)
    journal.begin(CARD).outcome = "error"
    good = journal.begin(CARD)
    good.outcome, good.usage, good.cost_usd = "ok", REPORTED, 0.25
    assert (journal.usage(), journal.cost_usd()) == (REPORTED, 0.25)
    wasted = journal.begin(CARD)
    wasted.outcome, wasted.usage, wasted.cost_usd = "error", GUESSED, 0.5
    assert journal.cost_usd() == 0.75
    assert (journal.usage().input_tokens, journal.usage().source) == (13, "estimated")
    wasted.cost_usd = None
    assert journal.cost_usd() is None


async def test_an_attempt_is_frozen_with_its_error() -> None:
    """Times are milliseconds from arrival; the upstream's status, id and words are kept."""
    clock = FakeClock()
    journal = Journal(clock)
    await clock.advance(0.25)
    entry = journal.begin(CARD)
    await clock.advance(1.0)
    entry.error = ProviderRateLimited("slow down", upstream_status=429, upstream_request_id="r1")
    entry.outcome, entry.ended_ms = "error", journal.elapsed_ms()
    found = journal.attempts()[0]
    assert (found.started_ms, found.ended_ms, found.outcome) == (250.0, 1250.0, "error")
    assert (found.error_code, found.upstream_status, found.upstream_request_id) == ("upstream_rate_limited", 429, "r1")
    assert found.provider == "openai"


def test_a_model_is_known_by_its_own_bounds_or_the_common_ones() -> None:
    """A reload changes the bounds of running models and forgets those that are gone."""
    runtime = Runtime(default_limit=4, default_queue=2)
    own = msgspec.structs.replace(CARD, id="own", max_concurrency=9, max_queue=0)
    assert (runtime.state(CARD).slots.limit, runtime.state(CARD).slots.queue) == (4, 2)
    assert (runtime.state(own).slots.limit, runtime.state(own).slots.queue) == (9, 0)
    busy = runtime.state(msgspec.structs.replace(CARD, id="busy"))
    busy.slots.try_take()
    runtime.configure({"m": CARD}, default_limit=7, default_queue=3)
    assert (runtime.state(CARD).slots.limit, runtime.state(CARD).slots.queue) == (7, 3)
    assert runtime.find("own") is None
    assert runtime.find("busy") is busy


def test_what_policies_may_know_of_a_model() -> None:
    """In flight, waiting, full, and means that follow what was observed."""
    runtime = Runtime(default_limit=1, default_queue=0)
    assert runtime.snapshot(CARD, 0.0, ready=False).ready is False
    state = runtime.state(CARD)
    assert runtime.snapshot(CARD, 0.0).full is False
    state.slots.try_take()
    state.observe(first_token_ms=100.0, duration_ms=1100.0, output_tokens=50)
    seen = runtime.snapshot(CARD, 0.0)
    assert (seen.in_flight, seen.full, seen.occupancy) == (1, True, 1.0)
    assert (seen.first_token_ms, seen.tokens_per_s) == (100.0, 50.0)
    assert seen.queue_wait_ms == pytest.approx(1100.0)
    state.observe(first_token_ms=None, duration_ms=600.0, output_tokens=0)
    assert runtime.snapshot(CARD, 0.0).first_token_ms == pytest.approx(200.0)
