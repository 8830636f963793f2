"""Resting upstreams are asked whether they are there: what is down stays away, what comes back is tried at once, at no cost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefrontal.config.schema_service import Breaker as Settings
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import EgressDenied, ProviderUnreachable
from prefrontal.execute import breaker
from prefrontal.execute.breaker import Breaker
from prefrontal.execute.probing import Probing
from prefrontal.execute.runtime import Runtime
from prefrontal.execute.shared_breakers import Change, change_of
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.registry import builtin_providers
from prefrontal.testing.clock import FakeClock

OPEN = Breaker(opened_at=0.0, pause_s=60.0)


class Upstream:
    """A transport that answers as a test says, and remembers what was asked."""

    def __init__(self) -> None:
        self.says: Any = 200
        self.asked: list[WireRequest] = []

    async def send(self, wire: WireRequest, *_: Any, **__: Any) -> WireResponse:
        self.asked.append(wire)
        if isinstance(self.says, Exception):
            raise self.says
        return WireResponse(status=self.says, headers={}, body=b"{}")


class Bench:
    """Probing over one model."""

    def __init__(self, **fields: Any) -> None:
        self.card = ModelCard(
            **{"id": "m", "wire_name": "w", "profile": "openai", "base_url": "https://up.example/v1", "key": "k", **fields}
        )
        self.clock = FakeClock()
        self.runtime = Runtime(default_limit=1, default_queue=1)
        self.upstream = Upstream()
        self.state = self.runtime.state(self.card)
        self.settings = Settings(probe_s=5.0, probe_timeout_s=2.0)
        self.probing = Probing(
            transport=self.upstream,  # type: ignore[arg-type]  # only `send` is used
            providers=builtin_providers(),
            profiles=load_profiles(),
            runtime=self.runtime,
            clock=self.clock,
            cards=lambda: [self.card],
            settings=lambda: self.settings,
        )

    def back_s(self) -> float:
        return breaker.reopens_in_s(self.state.breaker, self.clock.monotonic())


async def test_only_what_rests_is_asked_and_only_for_its_list_of_models() -> None:
    """A healthy model costs its upstream nothing; a resting one a GET that nobody charges for."""
    bench = Bench()
    await bench.probing.look()
    assert bench.upstream.asked == []
    bench.state.breaker = OPEN
    await bench.probing.look()
    (asked,) = bench.upstream.asked
    assert (asked.method, asked.url) == ("GET", "https://up.example/v1/models")


@pytest.mark.parametrize("down", [503, 500, ProviderUnreachable("refused")])
async def test_what_is_down_stays_away_and_is_tried_as_soon_as_it_is_back(down: Any) -> None:
    """The pause goes on while the upstream does not answer, and ends with its first answer."""
    bench = Bench()
    bench.state.breaker = OPEN
    bench.upstream.says = down
    await bench.clock.advance(58.0)
    await bench.probing.look()
    assert bench.back_s() == 12.0
    bench.upstream.says = 401  # it does not like the key, and it is there
    await bench.probing.look()
    assert bench.back_s() == 0.0
    assert breaker.admits(bench.state.breaker, bench.clock.monotonic())
    assert bench.state.breaker.pause_s == 60.0


async def test_a_pause_is_not_shortened_where_the_upstream_was_there_all_along() -> None:
    """What failed was not its being there, so the list of models says nothing."""
    bench = Bench()
    bench.state.breaker = OPEN
    for _ in range(3):
        await bench.probing.look()
    assert bench.state.breaker is OPEN


async def test_a_trial_that_is_out_and_news_meanwhile_are_not_disturbed() -> None:
    """A request that tries the model says more than its list of models."""
    bench = Bench()
    bench.state.breaker = trying = breaker.started(OPEN)
    await bench.probing.look()
    assert bench.upstream.asked == []
    assert bench.state.breaker is trying


async def test_a_rule_of_ours_is_no_sign_of_the_upstreams_state() -> None:
    """A host that may not be contacted is neither down nor up; nor is one that has no list of models."""
    bench = Bench()
    bench.state.breaker = OPEN
    bench.upstream.says = EgressDenied("no")
    await bench.probing.look()
    assert bench.state.breaker is OPEN
    file = Bench(base_url=None, local_path="/file.gguf")
    file.state.breaker = OPEN
    await file.probing.look()
    assert file.upstream.asked == []


async def test_the_loop_asks_at_its_pace_and_not_where_it_is_switched_off() -> None:
    """`probe_s` is the pace; `probe: false` asks nobody, also after a reload."""
    bench = Bench()
    bench.state.breaker = OPEN
    loop = asyncio.create_task(bench.probing.keep())
    for _ in range(2):
        await bench.clock.sleepers(1)
        await bench.clock.advance(5.0)
    assert len(bench.upstream.asked) == 2
    bench.settings = Settings(probe=False, probe_s=5.0)
    await bench.clock.sleepers(1)
    await bench.clock.advance(5.0)
    assert len(bench.upstream.asked) == 2
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


def test_what_a_probe_finds_is_told_to_other_gateways() -> None:
    """A longer rest is told as one; a rest that ends early lets one of all gateways try."""
    now = 30.0
    longer = breaker.held(Breaker(opened_at=0.0, pause_s=31.0), now, 12.0)
    assert change_of(Breaker(opened_at=0.0, pause_s=31.0), longer, now) == Change(to="open", rest_s=12.0, pause_s=31.0)
    early = breaker.ready(OPEN, now)
    assert change_of(OPEN, early, now) == Change(to="ready", rest_s=0.0, pause_s=60.0)
    assert breaker.held(breaker.CLOSED, now, 12.0) is breaker.CLOSED
    assert breaker.ready(breaker.CLOSED, now) is breaker.CLOSED
    assert breaker.held(OPEN, now, 12.0) is OPEN
