"""Recorded traffic under another policy: what it would have cost, and how often it would have been decided alike."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from prefrontal.app.simulation import VIRTUAL, open_desk, under_policy
from prefrontal.clock import Clock
from prefrontal.ledger.runs import MAX_RUN
from prefrontal.simulate.again import decide_again, simulate_again
from prefrontal.simulate.desk import Engine, RecordedDesk, Recording
from prefrontal.simulate.load import load_scenario
from prefrontal.simulate.outcome import Outcome, Plan, Progress
from prefrontal.simulate.traffic import is_traffic, read_traffic

BASE = "engineering"
"""The shipped scenario whose engines and policies other traffic is put to unless a file says otherwise."""


async def replay(
    recording: Path,
    clock: Clock,
    *,
    policy: str | None = None,
    engine: Engine = "profile",
    out: Path | None = None,
    config: Path | dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> tuple[Outcome, Outcome]:
    """Put the traffic of a recording to another policy; return the recording's own report, and that of the policy.

    The world goes its recorded way, so that both decide exactly the same; `report["agreement"]` of the second says how often they
    decided alike. recording: of a simulation, exported records, or lines of JSON (see `simulate.traffic.Line`).

    Raises:
        ConfigError: the policy cannot be used. NotFound, InvalidRequest: the recording cannot.
    """
    other = is_traffic(recording)
    known = None if other else Recording(recording)
    base = load_scenario(BASE) if known is None else known.head.scenario
    traffic = read_traffic(recording, base) if known is None else None
    scenario, name, settings = under_policy(base, policy, engine)
    if traffic is not None:
        scenario = msgspec.structs.replace(scenario, name=recording.stem, start=traffic.world.scenario.start)
    plan = Plan(
        scenario=scenario,
        seed=base.seed if known is None else known.head.seed,
        policy=name,
        engine=engine,
        virtual=engine in VIRTUAL,
        folder=out,
    )
    run = f"replay {recording.stem} {name} {clock.now()}"[-MAX_RUN:]
    with TemporaryDirectory(prefix="prefrontal-simulation-") as home:
        async with open_desk(plan, run=run, settings=settings, config=config, home=Path(home)) as desk:
            if traffic is not None:
                return await decide_again(plan, traffic, desk, clock, progress=progress)
            assert known is not None
            return await simulate_again(plan, RecordedDesk(known), desk, clock, progress=progress)
