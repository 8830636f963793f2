"""Cached answers of several gateways in one Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import prefrontal
from prefrontal.clock import SystemClock
from prefrontal.execute.cache.shared import SharedAnswers
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.ledger.redis_blobs import RedisBlobs
from prefrontal.ledger.redis_link import RedisLink, RedisSettings
from prefrontal.plan.cache_key import model_part, tenant_part
from prefrontal.testing.upstream import MockUpstream


async def test_gateways_find_what_another_kept_and_delete_by_tenant_and_model(redis_url: str) -> None:
    """Two links, one store; clearing takes exactly what has the parts, of many, and other rooms of the server stay."""
    clock = SystemClock()
    links = [RedisLink(RedisSettings(url=redis_url, timeout_s=2.0), clock=clock) for _ in range(2)]
    for link in links:
        await link.start()
    try:
        one, two = [SharedAnswers(RedisBlobs(link)) for link in links]
        other = RedisBlobs(links[0], room="elsewhere")
        names = [
            tenant_part(tenant) + model_part(model) + f"{number:040x}"
            for tenant in ("a", "b")
            for model in ("x", "y")
            for number in range(300)
        ]
        for name in names:
            await one.put(name, name.encode(), 60.0)
            await other.set(name, b"stays", 60.0)
        assert await two.get(names[7]) == names[7].encode()
        assert await two.delete(names[7]) is True
        assert await one.get(names[7]) is None
        assert await two.clear(tenant_part("a"), model_part("x")) == 299
        assert await one.clear(None, model_part("x")) == 300
        assert await one.get(names[-1]) is not None
        assert await two.clear(None, None) == 600
        assert await other.get(names[-1]) == b"stays"
        assert (await one.size()).entries is None
    finally:
        for link in links:
            await link.aclose()


async def test_what_one_gateway_kept_another_gives(redis_url: str, tmp_path: Path) -> None:
    """Two whole gateways with one Redis: one call, a hit at the other, and deleting at one holds for both."""
    async with MockUpstream() as up:
        tree: dict[str, Any] = {
            "models": {"m": {"profile": "openai-compatible", "endpoint": up.base_url, "key": "k"}},
            "discovery": {"enabled": False},
            "redis": {"url": redis_url, "prefix": "shared-cache-test", "timeout_s": 2.0},
        }
        env = {"PREFRONTAL_HOME": str(tmp_path)}
        ask: dict[str, Any] = {"model": "m", "x_prefrontal": {"cache": "use"}}
        async with (
            prefrontal.open(tree, env=env, ledger=MemoryLedger()) as one,
            prefrontal.open(tree, env=env, ledger=MemoryLedger()) as two,
        ):
            first, again = await one.chat("shared words", **ask), await two.chat("shared words", **ask)
            assert first.record.cache is not None
            assert again.record.cache is not None
            assert (first.record.cache.status, again.record.cache.status) == ("stored", "hit")
            assert again.text == first.text
            cache = two.machine.parts.cache
            assert cache is not None
            assert (await cache.state()).store == "redis"
            assert await cache.clear(model="m") == 1
            after = await one.chat("shared words", **ask)
            assert after.record.cache is not None
            assert after.record.cache.status == "stored"
            assert len([request for request in up.requests if request.path.endswith("completions")]) == 2
