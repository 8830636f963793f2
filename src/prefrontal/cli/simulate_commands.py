"""The command `prefrontal simulate`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.options import system_clock
from prefrontal.cli.screen import Screen


class Engine(StrEnum):
    """Who answers."""

    profile = "profile"
    live = "live"
    recorded = "recorded"
    scripted = "scripted"


Compare = Annotated[
    tuple[Path, Path] | None, typer.Option(metavar="A.yaml B.yaml", help="Run two scenarios and put them side by side.")
]
Recording = Annotated[Path | None, typer.Option(metavar="FILE", help="What the engine recorded plays.")]


@edge
def simulate(
    scenario: Annotated[
        str | None,
        typer.Argument(
            metavar="SCENARIO", help="A scenario file, the name of a shipped one, or the word replay and a recording."
        ),
    ] = None,
    recorded: Annotated[Path | None, typer.Argument(metavar="[RECORDING]", help="After replay: the recording.")] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            metavar="profile|live|recorded|scripted",
            help="Who answers: profiles of models in virtual time, the models of the configuration, a recording, or the script.",
        ),
    ] = Engine.profile,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FILE", help="A policy of the scenario, or a file of settings; several are put side by side."),
    ] = None,
    compare: Compare = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Another seed than the scenario's.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the recording, report.json, run.json and report.html are written."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out that was cut short.")] = False,
    recording: Recording = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Run a workload of agents through the gateway's own tiers, cache, budget and rules, and say what it costs and where it jams.

    `prefrontal simulate replay RECORDING --policy FILE` puts recorded traffic to another policy.
    """
    from prefrontal.cli.simulate import Asked
    from prefrontal.cli.simulate import simulate as run

    asked = Asked(
        scenario=scenario,
        recorded=recorded,
        engine=engine.value,
        policies=tuple(policy or ()),
        compare=tuple(map(str, compare)) if compare else (),
        seed=seed,
        out=out,
        resume=resume,
        recording=recording,
        config=config,
    )
    asyncio.run(run(asked, Screen(), system_clock(), as_json=as_json))
