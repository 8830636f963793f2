"""The commands `prefrontal erase` and `prefrontal export`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.keys_commands import AdminUrl
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen

Key = Annotated[str | None, typer.Option("--key", metavar="NAME", help="Of a key: its name or id.")]
User = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Of a person, as clients name them, or a pseudonym.")]
Request = Annotated[str | None, typer.Option("--request", metavar="TRACE", help="Of one request: its trace.")]


@edge
def erase(
    key: Key = None,
    user: User = None,
    request: Request = None,
    url: AdminUrl = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Delete records, stored responses and cached answers of a key, a person or a request. Charges stay, without words."""
    from prefrontal.cli.privacy import erase as run

    whose = {"key": key, "user": user, "request": request}
    asyncio.run(run(whose, place(config), Screen(), system_clock(), url=url, as_json=as_json))


@edge
def export(
    key: Key = None,
    user: User = None,
    request: Request = None,
    url: AdminUrl = None,
    config: options.Config = None,
    as_json: options.Json = True,
) -> None:
    """Write everything that is kept of a key, a person or a request, as JSON lines in any case."""
    del as_json  # scripts may say it
    from prefrontal.cli.privacy import export as run

    asyncio.run(run({"key": key, "user": user, "request": request}, place(config), system_clock(), url=url))
