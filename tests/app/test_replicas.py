"""Two gateways on one Redis act as one: limits, resting models and conversations; and what they do while it is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.library import Prefrontal
from prefrontal.config.redact import redact, secrets_of
from prefrontal.errors import ConfigError, LimitExceeded, PrefrontalError, StoreError
from prefrontal.serve.metrics import Metrics
from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault
from prefrontal.testing.redis_server import RedisServer
from prefrontal.testing.upstream import MockUpstream


@asynccontextmanager
async def gateways(url: str, count: int, tmp_path: Path, **settings: Any) -> AsyncIterator[tuple[MockUpstream, list[Prefrontal]]]:
    """As many gateways with one model each at the same upstream, each with its own database."""
    redis = {"url": url, "timeout_s": 2.0, "replicas": count, **settings.pop("redis", {})}
    limits = {"retries": {"attempts": 1}, **settings.pop("limits", {})}
    async with MockUpstream(lambda _: Answer(text="fine")) as upstream, AsyncExitStack() as stack:
        models = {"m": {"profile": "openai-compatible", "endpoint": upstream.base_url}}
        config = {"models": models, "redis": redis, "limits": limits, "discovery": {"enabled": False}, **settings}
        opened = []
        for number in range(count):
            own = {**config, "records": {"path": str(tmp_path / f"{number}.db")}}
            opened.append(await stack.enter_async_context(prefrontal.open(own)))
        yield upstream, opened


async def outcome(pf: Prefrontal) -> str:
    """Ask, and return ``ok`` or the error's code."""
    try:
        await pf.chat("Hello", model="m")
    except PrefrontalError as error:
        return error.code
    return "ok"


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true within five seconds")


def rate(**fields: Any) -> dict[str, Any]:
    return {"rates": [{"name": "shared", "scope": "global", "window": "hour", **fields}]}


async def test_a_limit_is_one_limit_for_all_gateways(redis_url: str, tmp_path: Path) -> None:
    """Ten requests an hour are ten, whichever gateway they come to; the refusal says when to come back."""
    async with gateways(redis_url, 2, tmp_path, limits=rate(requests=10)) as (upstream, both):
        found = await asyncio.gather(*[outcome(both[number % 2]) for number in range(24)])
        assert found.count("ok") == 10
        assert found.count("rate_limit_exceeded") == 14
        assert len(upstream.requests) == 10
        with pytest.raises(LimitExceeded) as caught:
            await both[0].chat("Hello", model="m")
        assert caught.value.details["rate"] == "shared"
        assert caught.value.retry_after_s is not None
        assert 3500 < caught.value.retry_after_s <= 3661


async def test_places_and_tokens_are_shared_and_given_back(redis_url: str, tmp_path: Path) -> None:
    """A request under way at one gateway takes the place of another's; tokens count by what was used, not by the estimate."""
    bounds = rate(concurrency=1, tokens=20_000)
    async with gateways(redis_url, 2, tmp_path, limits=bounds) as (upstream, (one, two)):
        upstream.fail(Fault(kind="slow_headers", delay_s=0.3))
        slow = asyncio.create_task(outcome(one))
        await until(lambda: bool(upstream.requests))
        assert await outcome(two) == "rate_limit_exceeded"
        assert await slow == "ok"
        for _ in range(8):  # each is estimated at thousands of tokens and uses some ten
            await asyncio.sleep(0.02)
            assert await outcome(two) == "ok"


async def test_a_model_that_fails_at_one_gateway_rests_at_the_other(redis_url: str, tmp_path: Path) -> None:
    """The second gateway does not have to find out by itself; one request tries it later, and then both use it."""
    limits = {"breaker": {"failures": 2, "open_s": 1.2}}
    async with gateways(redis_url, 2, tmp_path, limits=limits) as (upstream, (one, two)):
        assert await outcome(two) == "ok"
        upstream.fail(*[Fault(kind="status", status=500) for _ in range(2)])
        assert [await outcome(one) for _ in range(2)] == ["upstream_error"] * 2
        asked = len(upstream.requests)
        await asyncio.sleep(1.0)
        assert await outcome(two) == "upstream_overloaded"
        assert len(upstream.requests) == asked

        async def answered() -> bool:
            return "ok" in [await outcome(pf) for pf in (two, one)]

        for _ in range(100):
            if await answered():
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        assert [await outcome(pf) for pf in (one, two)] == ["ok", "ok"]


async def test_while_redis_is_away_each_gateway_keeps_to_its_share(own_redis: RedisServer, tmp_path: Path) -> None:
    """Requests go on under half of the limit each; when Redis is back what they let through is counted once."""
    async with gateways(own_redis.url, 2, tmp_path, limits=rate(requests=12)) as (_, both):
        assert [await outcome(both[0]) for _ in range(2)] == ["ok"] * 2
        own_redis.stop()
        found = [[await outcome(pf) for _ in range(8)] for pf in both]
        assert [one.count("ok") for one in found] == [4, 6]
        shown = Metrics(both[0]).render().decode()
        assert "prefrontal_redis_up 0.0" in shown
        assert "prefrontal_redis_outages_total 1.0" in shown
        own_redis.start()
        await until(lambda: all(pf.replicas is not None and pf.replicas.link.up for pf in both))
        await asyncio.sleep(0.05)
        assert "prefrontal_redis_up 1.0" in Metrics(both[0]).render().decode()
        left = [await outcome(both[number % 2]) for number in range(6)]
        # the server forgot the first two, and what was under way when it went is counted nowhere: at most one for each gateway
        assert 2 <= left.count("ok") <= 4


@pytest.mark.parametrize(("policy", "found"), [("open", "ok"), ("closed", "store_error")])
async def test_the_policy_decides_what_an_outage_means(
    own_redis: RedisServer, tmp_path: Path, policy: str, found: str
) -> None:
    """`open` lets everything through, `closed` answers 503 before anything is called."""
    own_redis.stop()
    settings = {"on_outage": {"requests": policy}}
    async with gateways(own_redis.url, 1, tmp_path, redis=settings, limits=rate(requests=1)) as (upstream, (pf,)):
        assert [await outcome(pf) for _ in range(3)] == [found] * 3
        assert len(upstream.requests) == (3 if policy == "open" else 0)
    assert StoreError.status == 503


async def test_without_a_limit_an_outage_is_not_noticed(own_redis: RedisServer, tmp_path: Path) -> None:
    """Requests that no limit applies to never ask Redis."""
    async with gateways(own_redis.url, 1, tmp_path) as (_, (pf,)):
        own_redis.freeze()
        assert [await outcome(pf) for _ in range(3)] == ["ok"] * 3


async def test_the_password_of_redis_is_shown_nowhere(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes from the environment; `config show`, the log and stored text are without it."""
    monkeypatch.setenv("REDIS_PASSWORD", "correct-horse-battery")
    address = redis_url.replace("redis://", "redis://:${REDIS_PASSWORD}@")
    with caplog.at_level(logging.DEBUG):
        async with gateways(address, 1, tmp_path) as (_, (pf,)):
            assert "correct-horse-battery" in (pf.config.redis.url or "")
            assert "correct-horse-battery" in secrets_of(pf.config)
            assert "correct-horse" not in repr(redact(pf.config))
    assert "correct-horse" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "http://127.0.0.1"}, "redis://"),
        ({"url": "redis://"}, "host"),
        ({"url": "redis://127.0.0.1/name"}, "number"),
        ({"url": "redis://127.0.0.1", "on_outage": {"request": "open"}}, "request"),
        ({"url": "redis://127.0.0.1", "on_outage": {"requests": "maybe"}}, "requests"),
        ({"uri": "redis://127.0.0.1"}, "uri"),
        ({"prefix": "{a}"}, "prefix"),
        ({"replicas": 0}, "replicas"),
    ],
)
async def test_a_wrong_setting_is_named(settings: dict[str, Any], words: str) -> None:
    """Unknown keys, policies, addresses and numbers are errors that name the setting."""
    with pytest.raises(ConfigError, match=words):
        async with prefrontal.open({"redis": settings}):
            raise AssertionError("it opened")
