"""A real engine on a GGUF file for the length of a test (extra ``local``)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prefrontal.clock import Chance, SystemClock
from prefrontal.execute.engine.spec import spec_for
from prefrontal.execute.engine.supervisor import EngineSupervisor


@asynccontextmanager
async def running_engine(path: str | Path) -> AsyncIterator[str]:
    """Serve the file with its default settings (`spec_for`) and give the base URL, ``http://127.0.0.1:PORT``.

    The engine is a child process and gone when the block is left.

    Raises:
        ConfigError: the file is not a GGUF model.
        ProviderUnreachable: the engine could not start; the message says why.
    """
    spec = spec_for(path)
    supervisor = EngineSupervisor([spec], clock=SystemClock(), chance=Chance())
    try:
        yield await supervisor.ensure(spec.model_id)
    finally:
        await supervisor.close()
