"""A whole Prefrontal over a mock upstream, as the machine's tests need it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.library import Prefrontal
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.upstream import MockUpstream


class House:
    """`up` is the mock upstream, `records` what was written; `open` builds a Prefrontal that is closed at the end."""

    def __init__(self, up: MockUpstream, home: Path, stack: AsyncExitStack) -> None:
        self.up = up
        self.ledger = MemoryLedger()
        self._home = home
        self._stack = stack

    def model(self, profile: str = "openai-compatible", **fields: Any) -> dict[str, Any]:
        """Return a registry entry at the mock."""
        root = profile in ("anthropic", "gemini", "ollama")
        return {"profile": profile, "endpoint": self.up.root_url if root else self.up.base_url, "key": "k", **fields}

    async def open(self, models: dict[str, Any] | None = None, *, clock: Any = None, **tree: Any) -> Prefrontal:
        """Return a Prefrontal with these models (default: one called ``m``) and settings."""
        config = {"models": {"m": self.model()} if models is None else models, "discovery": {"enabled": False}, **tree}
        env = {"PREFRONTAL_HOME": str(self._home)}
        return await self._stack.enter_async_context(prefrontal.open(config, env=env, ledger=self.ledger, clock=clock))

    @property
    def asked(self) -> list[Recorded]:
        """The chat requests that reached the upstream; probes of engines do not count."""
        return [r for r in self.up.requests if r.method == "POST" and r.path.endswith(("completions", "messages", "embeddings"))]

    @property
    def records(self) -> list[Any]:
        """Every record, oldest first."""
        return list(self.ledger._records.values())


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A mock upstream and the means to open a Prefrontal over it."""
    # warming is for the speed of a process's first reflexes and costs each test 0.2 s
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    async with AsyncExitStack() as stack:
        up = await stack.enter_async_context(MockUpstream())
        yield House(up, tmp_path, stack)
