"""Tiny models shared by the engine tests, and a supervisor that is always closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from prefrontal.clock import Chance, SystemClock
from prefrontal.execute.engine.local import EngineSettings
from prefrontal.execute.engine.policy import RestartPolicy
from prefrontal.execute.engine.process import Spawn, spawn_child
from prefrontal.execute.engine.spec import EngineSpec
from prefrontal.execute.engine.supervisor import EngineSupervisor, machine_settings
from prefrontal.testing.gguf import build_random, build_rules

QUICK = EngineSettings(
    restart=RestartPolicy(base_delay_s=0.02, max_quick_crashes=3, failed_rest_s=0.3), start_timeout_s=20, stop_grace_s=2
)

Supervise = Callable[..., EngineSupervisor]


@pytest.fixture(scope="session")
def rules_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers "C" to "login" and "A" otherwise."""
    return build_rules(tmp_path_factory.mktemp("engine") / "rules.gguf", {"login": "C"}, default="A")


@pytest.fixture(scope="session")
def random_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_random(tmp_path_factory.mktemp("engine") / "random.gguf")


@pytest.fixture
async def supervise() -> AsyncIterator[Supervise]:
    """Give a function that makes a supervisor with short delays; at the end no child may be left."""
    made: list[EngineSupervisor] = []

    def make(
        *specs: EngineSpec, spawn: Spawn = spawn_child, settings: EngineSettings = QUICK, clock: SystemClock | None = None
    ) -> EngineSupervisor:
        supervisor = EngineSupervisor(
            specs, clock=clock or SystemClock(), chance=Chance(1), settings=machine_settings(settings), spawn=spawn
        )
        made.append(supervisor)
        return supervisor

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield make
    for supervisor in made:
        await supervisor.close()
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert not left, f"processes left behind: {left}"
