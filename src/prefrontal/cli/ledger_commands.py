"""The commands under `prefrontal ledger`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen

ledger_app = typer.Typer(
    name="ledger", help="The database of records, keys and money.", no_args_is_help=True, rich_markup_mode=None
)


@ledger_app.command()
@edge
def status(config: options.Config = None, as_json: options.Json = False) -> None:
    """Say where the database is, and which format its tables have and this program works with."""
    from prefrontal.cli.ledger import show_status

    asyncio.run(show_status(place(config), Screen(), system_clock(), as_json=as_json))


@ledger_app.command()
@edge
def migrate(
    to: Annotated[
        int | None,
        typer.Option(metavar="FORMAT", min=0, help="Format to bring the tables to; left out: this program's; 0: no tables."),
    ] = None,
    down: Annotated[bool, typer.Option("--down", help="Go back to an older format; what only newer ones hold is lost.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Bring the tables to a format, up or down, in one transaction; `serve` goes up by itself. Needs the extra `postgres`."""
    from prefrontal.cli.ledger import move

    asyncio.run(move(to, place(config), Screen(), system_clock(), down=down, as_json=as_json))
