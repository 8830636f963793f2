"""The commands under `prefrontal decisions cache`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.cache_commands import Url
from prefrontal.cli.edge import edge
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen

decisions_cache_app = typer.Typer(
    name="cache", help="The cache of decisions of a running gateway.", no_args_is_help=True, rich_markup_mode=None
)


@decisions_cache_app.command("stats")
@edge
def stats(url: Url = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """Say how many decisions are kept, how often they were given again, and what that saved."""
    from prefrontal.cli.cache import show_decisions

    asyncio.run(show_decisions(place(config), Screen(), system_clock(), url=url, as_json=as_json))


@decisions_cache_app.command("clear")
@edge
def clear(
    key: Annotated[str | None, typer.Option(metavar="NAME|ID", help="Only those of this key.")] = None,
    team: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this team.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of this model.")] = None,
    url: Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Delete kept decisions: those of a key, a team or a model, or all."""
    from prefrontal.cli.cache import clear_cache

    filters = {"key": key, "team": team, "model": model}
    at, screen, clock = place(config), Screen(), system_clock()
    asyncio.run(clear_cache(None, filters, at, screen, clock, url=url, as_json=as_json, of="decisions/cache"))
