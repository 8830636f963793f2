"""The commands under `prefrontal knowledge` that ask a model, follow folders, or compare engrams."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.knowledge_commands import K, Name, Scope, knowledge_app
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen

__all__ = ["knowledge_app"]


@knowledge_app.command()
@edge
def ask(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The engram, as `prefrontal knowledge list` shows it.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to answer.")],
    also: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another engram to answer from; may be given again.")
    ] = None,
    model: options.Model = "auto",
    scope: Scope = "",
    glob: Annotated[list[str] | None, typer.Option("--glob", "-g", metavar="GLOB", help="Only from files that match.")] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Ask the model also when no passage is found.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> int:
    """Answer a question from an engram, with numbered sources. Exit status 1: nothing was found, and no model was asked."""
    from prefrontal.cli import knowledge_ask as room

    wish = room.Wish(
        names=(name, *(also or ())), question=question, model=model, scope=scope, globs=tuple(glob or ()), anyway=anyway
    )
    return asyncio.run(room.ask(wish, place(config), Screen(), as_json=as_json))


@knowledge_app.command("eval")
@edge
def eval_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The engram, as `prefrontal knowledge list` shows it.")],
    questions: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON lines with _id, question, answers and passage_id; may be packed by gzip.")
    ],
    model: options.Model = "auto",
    arm: Annotated[
        list[str] | None,
        typer.Option(metavar="ARM", help="closed, context, distractor or unanswerable; may be given again; left out: all."),
    ] = None,
    most: Annotated[int | None, typer.Option("--most", metavar="N", min=1, help="Only the first N questions.")] = None,
    parallel: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="Requests at once.")] = 4,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the bootstrap.")] = 7,
    check: Annotated[
        bool, typer.Option("--check", help="Say that this run tries the harness, and its scores mean nothing.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write every answer here, as JSON lines.")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Measure what passages gain: the same questions closed book, with context, with wrong passages, and without an answer."""
    from prefrontal.cli import knowledge_ask as room

    test = room.Test(
        engram=name,
        file=questions,
        model=model,
        arms=tuple(arm or ()),
        most=most,
        parallel=parallel,
        seed=seed,
        check=check,
        out=out,
    )
    asyncio.run(room.evaluate(test, place(config), Screen(), as_json=as_json))


@knowledge_app.command()
@edge
def watch(name: Name, config: options.Config = None, as_json: options.Json = False) -> None:
    """Keep an engram up to date with its folders for as long as this runs; one line for each new version."""
    from prefrontal.cli import knowledge_watch as room

    asyncio.run(room.watch(name, place(config), Screen(), system_clock(), as_json=as_json))


@knowledge_app.command()
@edge
def apart(
    name: Name,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Another engram, or the path of its file.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Show how far apart the texts of two engrams are: 0 for the same, towards 1 for nothing in common."""
    from prefrontal.cli.knowledge_watch import apart as run

    run(name, other, place(config), Screen(), as_json=as_json)


@knowledge_app.command()
@edge
def places(
    name: Name,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to look for.")],
    k: K = 10,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Show the folders and files that hold most of what a question asks for."""
    from prefrontal.cli.knowledge_watch import places as run

    run(name, question, place(config), Screen(), k=k, as_json=as_json)
