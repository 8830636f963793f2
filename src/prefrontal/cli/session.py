"""Opens a Prefrontal for one command, with everything looked for once before it starts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from prefrontal.app.build import Builder
    from prefrontal.app.library import Prefrontal
    from prefrontal.config.load import Loaded


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a command runs: its environment, and the configuration file that was named, if any."""

    env: Mapping[str, str]
    config: Path | None = None


@asynccontextmanager
async def opened(place: Place, *, records: bool = True) -> AsyncIterator[Prefrontal]:
    """Yield a Prefrontal that knows every model there is now; local servers have been asked.

    records: False leaves the database alone, for commands that only look.

    Raises:
        ConfigError, StoreError: see `prefrontal.open`.
    """
    import prefrontal.app.opening as opening
    from prefrontal.ledger.memory import MemoryLedger

    ledger = None if records else MemoryLedger(keep=0)
    async with opening.open(place.config, env=place.env, ledger=ledger, wait_for_models=False) as pf:
        await pf.discovery.refresh()
        yield pf


def builder(place: Place) -> Builder:
    """Return the tables and the environment that configurations are read with. Takes about 50 ms."""
    from prefrontal.app.build import Builder
    from prefrontal.clock import Chance, SystemClock

    return Builder(env=place.env, cwd=None, clock=SystemClock(), chance=Chance())


def loaded(place: Place) -> Loaded:
    """Return the configuration of this machine. Raises ConfigError."""
    return builder(place).load(place.config, None)
