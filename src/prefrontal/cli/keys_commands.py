"""The commands under `prefrontal keys`, and `prefrontal spend`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen

keys_app = typer.Typer(
    name="keys", help="Virtual keys: who may ask for what, and for how much.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="NAME|ID", help="The key, as `prefrontal keys list` shows it.")]
AdminUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Do it through the gateway there, as $PREFRONTAL_URL does, with the admin key in $PREFRONTAL_API_KEY; "
        "else in the database of this machine.",
    ),
]


Tools = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this reflex exists for it; may be given again.")]
Engrams = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="It may search this engram, * all; left out: none; may be given again.")
]

Models = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this model exists for it; may be given again.")]
Window = Annotated[
    options.BudgetWindow, typer.Option(metavar="minute|hour|day|week|month|total", help="The budget's window, UTC.")
]
Degrades = Annotated[bool, typer.Option("--degrade", help="When it is used up, take cheaper models instead of refusing.")]
NoContent = Annotated[
    bool, typer.Option("--no-content", help="Keep its prompts and answers out of the records, whatever is configured.")
]
DataClass = Annotated[
    str | None, typer.Option(metavar="NAME", help="What kind of data its requests are: a class of egress.by_data_class.")
]
UsesCache = Annotated[
    bool | None,
    typer.Option("--cache/--no-cache", help="Its requests use the response cache, or never do; left out: as they ask."),
]


@keys_app.command()
@edge
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    team: Annotated[str | None, typer.Option(metavar="NAME", help="Whose it is.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="WORD", help="To add up by; may be given again.")] = None,
    model: Models = None,
    tool: Tools = None,
    engram: Engrams = None,
    channel: Annotated[str | None, typer.Option(metavar="NAME", help="Taken when a request asks for none.")] = None,
    expires: Annotated[str | None, typer.Option(metavar="DATE", help="Refused from then on, such as 2027-01-31.")] = None,
    budget_usd: Annotated[float | None, typer.Option(metavar="USD", min=0, help="Most to spend in each window.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(metavar="N", min=1, help="Most tokens in each window.")] = None,
    window: Window = options.BudgetWindow.month,
    degrade: Degrades = False,
    rpm: Annotated[int | None, typer.Option(metavar="N", min=1, help="Requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(metavar="N", min=1, help="Tokens a minute.")] = None,
    concurrency: Annotated[int | None, typer.Option(metavar="N", min=1, help="Requests at once.")] = None,
    no_content: NoContent = False,
    data_class: DataClass = None,
    priority: Annotated[
        options.Priority, typer.Option(metavar="low|normal|high", help="The most its requests may matter when room is short.")
    ] = options.Priority.normal,
    cache: UsesCache = None,
    url: AdminUrl = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Make a key and show it, this once."""
    from prefrontal.cli.keys import create_key, moment_of

    draft: dict[str, Any] = {
        "name": name,
        "team": team,
        "tags": tag or [],
        "models": model,
        "tools": tool,
        "engrams": engram or [],
        "channel": channel,
        "store_content": not no_content,
        "cache": cache,
        "data_class": data_class,
        "priority": priority.value,
        "expires_s": moment_of(expires, "--expires"),
    }
    if budget_usd is not None or budget_tokens is not None:
        exhausted = "degrade" if degrade else "deny"
        draft["budgets"] = [{"window": window.value, "usd": budget_usd, "tokens": budget_tokens, "on_exhaustion": exhausted}]
    if rpm is not None or tpm is not None or concurrency is not None:
        draft["rates"] = [{"window": "minute", "requests": rpm, "tokens": tpm, "concurrency": concurrency}]
    asyncio.run(create_key(draft, place(config), Screen(), system_clock(), url=url, as_json=as_json))


@keys_app.command("list")
@edge
def list_(url: AdminUrl = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """List the keys, without their secrets."""
    from prefrontal.cli.keys import list_keys

    asyncio.run(list_keys(place(config), Screen(), system_clock(), url=url, as_json=as_json))


@keys_app.command()
@edge
def show(name: Name, url: AdminUrl = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """Show everything about one key but its secret."""
    from prefrontal.cli.keys import show_key

    asyncio.run(show_key(name, place(config), Screen(), system_clock(), url=url, as_json=as_json))


@keys_app.command()
@edge
def revoke(name: Name, url: AdminUrl = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """Refuse a key from now on. It stays in the books."""
    from prefrontal.cli.keys import revoke_key

    asyncio.run(revoke_key(name, place(config), Screen(), system_clock(), url=url, as_json=as_json))


@edge
def spend(
    by: Annotated[
        str, typer.Option(metavar="GROUPS", help="What to add up by, with commas: key, team, tag, model, day, month.")
    ] = "model",
    since: Annotated[str | None, typer.Option(metavar="DATE", help="From then on, UTC, such as 2027-01-31.")] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Before then.")] = None,
    url: AdminUrl = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Say what was spent. Needs no server."""
    from prefrontal.cli.keys import show_spend

    asyncio.run(show_spend(by, since, until, place(config), Screen(), system_clock(), url=url, as_json=as_json))
