"""Cached answers of several gateways in one Redis."""

from __future__ import annotations

from prefrontal.clock import SystemClock
from prefrontal.execute.cache.shared import SharedAnswers
from prefrontal.ledger.redis_blobs import RedisBlobs
from prefrontal.ledger.redis_link import RedisLink, RedisSettings
from prefrontal.plan.cache_key import model_part, tenant_part


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
