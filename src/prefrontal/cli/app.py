"""The commands and their options. Only typer is loaded here; each command imports what it does when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from prefrontal.cli import options
from prefrontal.cli.cache_commands import cache_app
from prefrontal.cli.config_commands import config_app
from prefrontal.cli.decisions_cache import decisions_cache_app
from prefrontal.cli.decisions_commands import decisions_app
from prefrontal.cli.edge import edge
from prefrontal.cli.keys_commands import keys_app, spend
from prefrontal.cli.knowledge_ask_commands import knowledge_app
from prefrontal.cli.ledger_commands import ledger_app
from prefrontal.cli.lens_commands import lens_app
from prefrontal.cli.models_commands import models_app
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.prices_commands import prices_app
from prefrontal.cli.privacy_commands import erase, export
from prefrontal.cli.screen import Screen
from prefrontal.cli.simulate_commands import simulate

app = typer.Typer(
    name="prefrontal",
    help="A self-hosted executive for language models: one endpoint, every model, `model: auto`.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help loads in half the time and reads the same on a pipe
    pretty_exceptions_enable=False,  # its stack traces show local variables, keys among them
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.add_typer(models_app)
app.add_typer(knowledge_app)
app.add_typer(config_app)
app.add_typer(keys_app)
app.add_typer(ledger_app)
app.add_typer(cache_app)
app.add_typer(prices_app)
decisions_app.add_typer(decisions_cache_app)
app.add_typer(decisions_app)
app.add_typer(lens_app)


def _version(wanted: bool) -> None:
    if wanted:
        from prefrontal import __version__

        typer.echo(f"prefrontal {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Declare the options of `prefrontal` itself; the callback of each does the work."""


@app.command()
@edge
def serve(
    config: options.Config = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on; anything but loopback needs an API key.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="Port; the next free one is taken when it is in use. 0: any free one."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=64, help="Processes that serve together on the one port and database.")
    ] = None,
    log_level: Annotated[
        options.LogLevel | None, typer.Option(metavar="debug|info|warning|error", help="Least severe lines to write to stderr.")
    ] = None,
    log_format: Annotated[
        options.LogFormat | None, typer.Option(metavar="text|json", help="Lines for people or for machines.")
    ] = None,
) -> None:
    """Run the gateway. SIGTERM or Ctrl-C stops it once running requests are done. The first line on stdout is its address."""
    from prefrontal.cli.serve import serve as run

    flags: dict[str, Any] = {
        "server.host": host,
        "server.port": port,
        "server.workers": workers,
        "logging.level": log_level,
        "logging.format": log_format,
    }
    run(place(config), flags, Screen())


@app.command()
@edge
def ask(
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="The question; what is piped in is added below it. - reads only the pipe.")
    ],
    model: options.Model = "auto",
    effort: options.Effort = None,
    channel: options.Channel = None,
    session: Annotated[str | None, typer.Option(metavar="NAME", help="Keeps a conversation on one model.")] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="Instructions that come before the question.")] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="An image to ask about; may be given again."),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(metavar="N", min=1, help="Longest answer, tokens.")] = None,
    stream: Annotated[
        bool | None,
        typer.Option("--stream/--no-stream", help="Show the answer as it arrives (usual), or at its end (usual for --json)."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Only the text of the answer: no thinking, no line about it.")] = False,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Ask one question. Runs in this process unless a gateway is named; the answer goes to stdout, remarks to stderr."""
    import asyncio

    from prefrontal.cli.ask import Question, with_piped
    from prefrontal.cli.ask import ask as run

    question = Question(
        prompt=with_piped(prompt, sys.stdin),
        model=model,
        effort=effort,
        channel=channel,
        session=session,
        system=system,
        images=tuple(image or ()),
        max_tokens=max_tokens,
    )
    whole = (stream is None and as_json) or stream is False
    asyncio.run(run(question, place(config), Screen(), system_clock(), url=url, stream=not whole, as_json=as_json, raw=raw))


@app.command()
@edge
def chat(
    model: options.Model = "auto",
    effort: options.Effort = None,
    channel: options.Channel = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="Instructions for the whole conversation.")] = None,
    url: options.Url = None,
    config: options.Config = None,
) -> None:
    """Have a conversation. /help lists the commands inside. On a pipe each line is one message."""
    from prefrontal.cli.ask import Question
    from prefrontal.cli.chat import chat as run

    question = Question(prompt="", model=model, effort=effort, channel=channel, system=system)
    run(question, place(config), Screen(), system_clock(), url=url, stdin=sys.stdin)


@app.command()
@edge
def explain(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The prompt to explain; what is piped in is added below it.")],
    model: options.Model = "auto",
    effort: options.Effort = None,
    channel: options.Channel = None,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Say what would be done with a prompt, and why. No model is called."""
    import asyncio

    from prefrontal.cli.ask import Question, with_piped
    from prefrontal.cli.explain import explain as run

    question = Question(prompt=with_piped(prompt, sys.stdin), model=model, effort=effort, channel=channel)
    asyncio.run(run(question, place(config), Screen(), system_clock(), url=url, as_json=as_json))


@app.command()
@edge
def traces(
    trace_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Show this one in full.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How many to list.")] = 20,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only those this model answered.")] = None,
    status: Annotated[options.Status | None, typer.Option(metavar="ok|error|cancelled", help="Only those that ended so.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on and show new ones as they are written.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """List past requests and their cost, or show one in full. Newest first; needs no server."""
    import asyncio

    from prefrontal.cli import traces as room
    from prefrontal.ledger.store import RecordFilter

    at, screen, clock = place(config), Screen(), system_clock()
    if trace_id is not None:
        asyncio.run(room.show_trace(trace_id, at, screen, clock, as_json=as_json))
        return
    wanted = RecordFilter(limit=limit, model=model, status=status and status.value)
    run = room.follow if follow else room.list_traces
    asyncio.run(run(wanted, at, screen, clock, as_json=as_json))


@app.command()
@edge
def doctor(config: options.Config = None, as_json: options.Json = False) -> int:
    """Find what is missing, and the command that mends it. Exit status 3: no model could answer."""
    import asyncio

    from prefrontal.cli.doctor import doctor as run

    return asyncio.run(run(place(config), Screen(), system_clock(), as_json=as_json))


app.command()(simulate)
app.command()(spend)
app.command()(erase)
app.command()(export)
