"""What `open` does when something goes wrong on the way in or out, and between reading the file and watching it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import prefrontal
from prefrontal.app import opening
from prefrontal.app.build import Builder
from prefrontal.app.conversations import open_conversations
from prefrontal.config.schema import Config
from prefrontal.errors import StoreError
from prefrontal.ledger.conversations import Conversations, MemoryConversations
from prefrontal.ledger.store import Ledger

OFF = {"discovery": {"enabled": False}}


def writers() -> int:
    """Return how many ledgers have a thread that writes."""
    return sum(thread.name == "prefrontal-ledger" for thread in threading.enumerate())


async def test_an_opening_that_fails_closes_what_it_had_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's writer is at work when the opening fails; it has ended when the error arrives."""
    before, during = writers(), []

    def fail(_config: Config, _ledger: Ledger, _builder: Builder) -> Conversations:
        during.append(writers())
        raise StoreError("no room")

    monkeypatch.setattr(opening, "open_conversations", fail)
    with pytest.raises(StoreError):
        async with prefrontal.open(OFF, env={"PREFRONTAL_HOME": str(tmp_path)}):
            pass
    assert (during, writers()) == ([before + 1], before)


class Stuck(MemoryConversations):
    """A store that cannot be closed."""

    async def aclose(self) -> None:
        raise RuntimeError("cannot close")


async def test_a_part_that_cannot_be_closed_does_not_keep_the_ledger_from_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of that part comes out, and the ledger's writer has ended all the same."""
    monkeypatch.setattr(opening, "open_conversations", lambda _config, _ledger, _builder: Stuck())
    before = writers()
    with pytest.raises(RuntimeError, match="cannot close"):
        async with prefrontal.open(OFF, env={"PREFRONTAL_HOME": str(tmp_path)}):
            assert writers() == before + 1
    assert writers() == before


async def test_a_save_while_everything_is_built_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file changes after it was read and before it is watched; the change holds without another save."""
    file = tmp_path / "prefrontal.yaml"
    file.write_text("version: 1\ndiscovery: {enabled: false}\nlimits: {concurrency: 11}\n")

    def save(config: Config, ledger: Ledger, builder: Builder) -> Conversations:
        file.write_text("version: 1\ndiscovery: {enabled: false}\nlimits: {concurrency: 222}\n")
        return open_conversations(config, ledger, builder)

    monkeypatch.setattr(opening, "open_conversations", save)
    async with prefrontal.open(file, env={"PREFRONTAL_HOME": str(tmp_path)}, reload=True) as pf:
        assert pf.config.limits.concurrency == 11
        async with asyncio.timeout(3):
            while pf.config.limits.concurrency == 11:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.02)
        assert pf.config.limits.concurrency == 222
