"""A model whose file is missing waits for it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

import prefrontal
from prefrontal.execute.discovery import watch
from prefrontal.testing.gguf import build_rules


async def test_a_file_that_arrives_puts_its_model_into_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The process starts without the file, says so, and serves the model soon after the file is there."""
    monkeypatch.setattr(watch, "FOLDER_LOOK_S", 0.02)
    caplog.set_level(logging.WARNING)
    config = {"models": {"late": {"path": "late.gguf"}}}
    env = {"PREFRONTAL_HOME": str(tmp_path), "HOME": str(tmp_path)}
    async with prefrontal.open(config, env=env) as pf:
        assert pf.registry.enabled == ()
        assert "no such file" in pf.registry.notes[0].message
        served = asyncio.Event()
        pf.holder.listen(lambda _old, new, _changes: served.set() if new.registry.enabled else None)
        (tmp_path / "models").mkdir(exist_ok=True)
        build_rules(tmp_path / "models" / "late.gguf", {"login": "C"})
        async with asyncio.timeout(10):
            await served.wait()
        assert ([card.id for card in pf.registry.enabled], pf.registry.notes) == (["late"], ())
        assert [status.model_id for status in pf.engines.status()] == ["late"]
