"""A clock that stands still, a small corpus of its own, and engrams made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.knowledge.ingest.run import ingest
from prefrontal.knowledge.ingest.walk import Source
from prefrontal.knowledge.shape import Shape
from prefrontal.knowledge.store.engram import create
from prefrontal.testing.clock import FakeClock

CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(tmp_path: Path, clock: FakeClock) -> Callable[..., Path]:
    """Return a function that makes an engram of a folder, or an empty one."""

    def made(folder: Path | None = None, *, name: str = "it", shape: Shape | None = None) -> Path:
        path = tmp_path / "engrams" / f"{name}.engram"
        create(path, clock=clock, shape=shape)
        if folder is not None:
            ingest(path, [Source(root=str(folder))], clock=clock)
        return path

    return made
