"""`prefrontal decisions cache` against a gateway that is not there, and what it says of one that is."""

from __future__ import annotations

from typing import Any

import pytest

from prefrontal.cli import cache
from prefrontal.cli.screen import Screen
from prefrontal.testing.clock import FakeClock

STATE = {
    "object": "decisions.cache",
    "mode": "declared",
    "store": "sqlite",
    "entries": 1200,
    "max_entries": 50000,
    "ttl_s": 86400.0,
    "hit": 60,
    "similar": 20,
    "shared": 10,
    "miss": 10,
    "stored": 10,
    "evicted": 0,
    "saved_usd": 1.5,
    "failed": 1,
    "last_error": "disk full",
}


class Remote:
    """A gateway that answers one GET and one DELETE."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __aenter__(self) -> Remote:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        return STATE

    async def delete(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        return {"deleted": 3}


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Remote:
    found = Remote()
    monkeypatch.setattr(cache, "gateway", lambda *_: found)
    return found


async def test_the_cache_of_decisions_is_told_in_words(remote: Remote, capsys: pytest.CaptureFixture[str]) -> None:
    """Shares, where it lies, and trouble."""
    await cache.show_decisions(None, Screen(), FakeClock(), url=None, as_json=False)  # type: ignore[arg-type]  # not looked at
    said = " ".join(capsys.readouterr().out.split())
    assert remote.asked == ["/v1/admin/decisions/cache"]
    assert "90 of 100 questions (90%)" in said
    assert "60 of equal states, 20 of similar ones, 10 from one in progress" in said
    assert "1 times; last: disk full" in said


async def test_clearing_goes_to_its_own_route(remote: Remote, capsys: pytest.CaptureFixture[str]) -> None:
    """With the filters that were given."""
    filters = {"key": None, "team": None, "model": "small"}
    await cache.clear_cache(
        None, filters, None, Screen(), FakeClock(), url=None, as_json=True, of="decisions/cache"  # type: ignore[arg-type]  # same
    )
    assert remote.asked == ["/v1/admin/decisions/cache?model=small"]
    assert '"deleted": 3' in capsys.readouterr().out
