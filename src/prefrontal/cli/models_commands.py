"""The commands under `prefrontal models`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen

models_app = typer.Typer(name="models", help="See, fetch, load and unload models.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name, as `prefrontal models list` shows it.")]


@models_app.command("list")
@edge
def list_(url: options.Url = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """List the models that can be named: provider, context, abilities, price in USD per million tokens, roles, origin."""
    from prefrontal.cli.models import list_models

    asyncio.run(list_models(place(config), Screen(), system_clock(), url=url, as_json=as_json))


@models_app.command()
@edge
def ps(url: options.Url = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """Show the local engines of the running gateway: state, memory, requests."""
    from prefrontal.cli.models import show_engines

    asyncio.run(show_engines(place(config), Screen(), system_clock(), url=url, as_json=as_json))


@models_app.command()
@edge
def pull(
    model: Annotated[
        str,
        typer.Argument(
            metavar="REPO[:FILE|:QUANT]", help="Repository on the Hugging Face hub; its Q4_K_M file unless you say which."
        ),
    ],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Fetch a GGUF file into the models folder; a broken-off download goes on where it ended."""
    from prefrontal.cli.hub import HuggingFaceHub
    from prefrontal.cli.pull import parse_wanted
    from prefrontal.cli.pull import pull as run
    from prefrontal.cli.session import loaded
    from prefrontal.config.load import models_dir

    parse_wanted(model)  # a name that is none is said before anything is loaded
    at = place(config)
    settings = loaded(at).config
    hub = HuggingFaceHub(egress=settings.egress, quiet=as_json)
    run(model, models_dir(settings, at.env), hub, Screen(), as_json=as_json)


@models_app.command()
@edge
def load(name: Name, url: options.Url = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """Start a local model's engine in the running gateway and wait until it is ready."""
    from prefrontal.cli.models import change_engine

    asyncio.run(change_engine(name, "load", place(config), Screen(), system_clock(), url=url, as_json=as_json))


@models_app.command()
@edge
def unload(name: Name, url: options.Url = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """Stop a local model's engine in the running gateway and free its memory."""
    from prefrontal.cli.models import change_engine

    asyncio.run(change_engine(name, "unload", place(config), Screen(), system_clock(), url=url, as_json=as_json))
