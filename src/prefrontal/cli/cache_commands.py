"""The commands under `prefrontal cache`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen

cache_app = typer.Typer(
    name="cache", help="The response cache of a running gateway.", no_args_is_help=True, rich_markup_mode=None
)

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="The gateway there, as $PREFRONTAL_URL does; else the one on this machine. It takes an admin key."
    ),
]


@cache_app.command()
@edge
def stats(url: Url = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """Say how many answers are kept, how often they were given again, and what that saved."""
    from prefrontal.cli.cache import show_cache

    asyncio.run(show_cache(place(config), Screen(), system_clock(), url=url, as_json=as_json))


@cache_app.command()
@edge
def clear(
    entry: Annotated[
        str | None, typer.Argument(metavar="ID", help="One answer, as x-prefrontal-cache-id named it; left out: all.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="NAME|ID", help="Only those of this key.")] = None,
    team: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this team.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this model.")] = None,
    url: Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Delete kept answers: one, those of a key, a team or a model, or all."""
    from prefrontal.cli.cache import clear_cache

    filters = {"key": key, "team": team, "model": model}
    asyncio.run(clear_cache(entry, filters, place(config), Screen(), system_clock(), url=url, as_json=as_json))
