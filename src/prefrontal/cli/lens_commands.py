"""The commands under `prefrontal lens`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.options import place
from prefrontal.cli.screen import Screen

lens_app = typer.Typer(
    name="lens",
    help="Small models that read a request before a large one answers it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="task, risk or domains.")]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who reads: a model or role/NAME; left out: as the configuration says.")
]


@lens_app.command()
@edge
def read(
    name: Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The request to look at.")],
    model: Model = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Say what a lens sees in a text."""
    from prefrontal.cli.lens import read_one

    asyncio.run(read_one(name, text, place(config), Screen(), model=model, as_json=as_json))


@lens_app.command()
@edge
def evaluate(
    name: Name,
    model: Model = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="Ranked prompts of your own; left out: those that come along."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N prompts.")] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Measure how well a lens ranks prompts that were ranked by hand, beside the formula behind it."""
    from prefrontal.cli.lens import evaluate_lens, prompts_of

    prompts = prompts_of(name, data, limit)
    asyncio.run(evaluate_lens(name, place(config), Screen(), model=model, prompts=prompts, as_json=as_json))
