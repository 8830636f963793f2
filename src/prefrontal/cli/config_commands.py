"""The commands under `prefrontal config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.options import place
from prefrontal.cli.screen import Screen

config_app = typer.Typer(
    name="config", help="Check, show and import configurations.", no_args_is_help=True, rich_markup_mode=None
)


@config_app.command()
@edge
def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The file; left out: the one that `serve` would read.")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> int:
    """Report every mistake with its file, line and remedy. Exit status 2 when there is one."""
    from prefrontal.cli.config import check as run

    return run(place(file or config), Screen(), as_json=as_json)


@config_app.command()
@edge
def show(config: options.Config = None, as_json: options.Json = False) -> None:
    """Print the settings in use as YAML, secrets masked: defaults, file and environment together."""
    from prefrontal.cli.config import show as run

    run(place(config), Screen(), as_json=as_json)


@config_app.command()
@edge
def schema(as_json: options.Json = False) -> None:
    """Print the JSON Schema of the configuration file, for editors; with or without --json."""
    from prefrontal.cli.config import schema as run

    run(Screen())


@config_app.command("import-litellm")
@edge
def import_litellm(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="LiteLLM's config.yaml.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here instead of to stdout; never over an existing file.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Translate a LiteLLM proxy configuration; what did not come along is said."""
    from prefrontal.cli.config import import_litellm as run

    run(file, out, place(None), Screen(), as_json=as_json)
