"""Foreign and faulty parts at the edges: none takes a paid answer away, and none turns a reload into an outage."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.library import Prefrontal
from prefrontal.clock import SystemClock
from prefrontal.errors import ProviderMisbehaved
from prefrontal.testing.faults import Fault
from prefrontal.testing.scripted import ScriptedTransport, scripted_config


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[tuple[Prefrontal, ScriptedTransport]]:
    """A Prefrontal with two scripted models."""
    clock = SystemClock()
    transport = ScriptedTransport({"": "fine"}, clock=clock)
    limits = {"limits": {"retries": {"attempts": 1}}}
    async with prefrontal.open(scripted_config(["a", "b"], **limits, **settings), transport=transport, clock=clock) as pf:
        yield pf, transport


async def test_an_observer_that_raises_takes_no_answer_away(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is given, the other observers see the record, and the log says what happened."""
    seen: list[str] = []

    def tripping(_record: Any) -> None:
        raise RuntimeError("no")

    async with opened() as (pf, _):
        pf.observers[:0] = [tripping]
        pf.observers.append(lambda record: seen.append(record.id))
        with caplog.at_level(logging.ERROR):
            reply = await pf.chat("hi", model="a")
        assert reply.text == "fine"
        pieces = [piece async for piece in pf.stream("hi", model="a")]
        assert pieces[-1].kind == "end"
    assert seen[0] == reply.record.id
    assert len(seen) == 2
    assert "an observer of records failed" in caplog.text


class Tripping:
    """A provider of another package that fails where it is told to."""

    def __init__(self, inner: Any, where: str) -> None:
        self._inner = inner
        self._where = where

    def __getattr__(self, name: str) -> Any:
        if name != self._where:
            return getattr(self._inner, name)

        def trip(*_args: Any, **_kwargs: Any) -> Any:
            raise KeyError("oops")

        return trip


async def _streamed(pf: Prefrontal) -> None:
    async for _ in pf.stream("hi", model="a"):
        pass


@pytest.mark.parametrize("where", ["render_chat", "parse_chat", "parse_error", "stream_parser"])
async def test_a_plug_in_that_trips_is_that_models_failure(where: str) -> None:
    """It is an error of the model, worded and without a stack trace for the caller, and another model may answer."""
    async with opened() as (pf, transport):
        attempter = pf.machine.parts.executor._attempter
        provider = attempter.providers.for_profile(attempter.profiles["openai-compatible"])
        attempter.providers = attempter.providers.plus({provider.wire: Tripping(provider, where)})  # type: ignore[dict-item]
        if where == "parse_error":
            transport.fail(*[Fault(kind="status", status=500)] * 4)
        with pytest.raises(ProviderMisbehaved) as failed:
            await (_streamed(pf) if where == "stream_parser" else pf.chat("hi", model="a"))
        assert "KeyError" in failed.value.message
        assert "oops" not in failed.value.message
        assert pf.runtime.find("a").slots.held == 0  # type: ignore[union-attr]


async def test_a_bug_while_a_reload_builds_keeps_the_last_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it raises is a failed reload, said in the status; requests go on; the next reload may succeed."""
    file = tmp_path / "prefrontal.yaml"
    file.write_text("version: 1\nmodels: {}\ndiscovery: {enabled: false}\n")
    async with prefrontal.open(file, env={"PREFRONTAL_HOME": str(tmp_path)}) as pf:
        good = pf.holder.current
        file.write_text("version: 1\nmodels: {}\ndiscovery: {enabled: false}\nlimits: {concurrency: 7}\n")

        def broken(_config: Any) -> Any:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr(pf.holder, "_build", broken)
            status = await pf.holder.reload_now()
        assert (status.ok, status.failures) == (False, 1)
        assert "RuntimeError" in status.last_error[0].message
        assert pf.holder.current is good
        status = await pf.holder.reload_now()
        assert (status.ok, pf.config.limits.concurrency) == (True, 7)
