"""`prefrontal prices list`: what each model costs, and who says so."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from prefrontal.cli import options
from prefrontal.cli.edge import edge
from prefrontal.cli.options import place, system_clock
from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place
from prefrontal.clock import Clock

prices_app = typer.Typer(name="prices", help="What models cost, and who says so.", no_args_is_help=True, rich_markup_mode=None)


@prices_app.callback()
def prices() -> None:
    """What models cost, and who says so."""


@prices_app.command("list")
@edge
def list_(
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Only this model.")] = None,
    url: options.Url = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """List prices in USD per million tokens: input, output, cached input, where they are from, and at which hours others hold."""
    asyncio.run(list_prices(model, place(config), Screen(), system_clock(), url=url, as_json=as_json))


async def list_prices(model: str | None, at: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool) -> None:
    """Show the prices of a running gateway when a URL is given, else of this machine. Raises PrefrontalError."""
    from prefrontal.cli.locate import gateway, url_of

    if url_of(url, at):
        query = "?" + urlencode({"model": model}) if model is not None else ""
        async with gateway(url, at, clock) as remote:
            found = await remote.get(f"/v1/admin/prices{query}")
    else:
        import msgspec

        from prefrontal.app.prices import price_list
        from prefrontal.cli.session import opened

        async with opened(at, records=False) as pf:
            lines = price_list(pf.registry, clock.now(), model)
        found = {"object": "list", "data": msgspec.to_builtins(lines)}
    if as_json:
        screen.json(found)
        return
    right = ("in", "out", "cached in", "cache write")
    screen.table(("model", *right, "from", "as of", "hours"), [_row(line) for line in found["data"]], right=right)
    if not found["data"]:
        screen.note("No model yet.")


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    named = line["model"] if line["deployment"] is None else f"{line['model']}#{line['deployment']}"
    amounts = [line[name] for name in ("input_usd", "output_usd", "cache_read_usd", "cache_write_usd")]
    free = line["source"] == "self_hosted"
    shown = ["free" if free else "unknown" if amount is None else f"{amount:g}" for amount in amounts]
    return (named, *shown, line["source"].replace("_", " "), line["date"] or "-", "; ".join(map(_hours, line["windows"])) or "-")


def _hours(window: dict[str, Any]) -> str:
    told = (("in", window["input_usd"]), ("out", window["output_usd"]))
    amounts = [f"{word} {amount:g}" for word, amount in told if amount is not None]
    return f"{window['start']}-{window['end']} UTC: {', '.join(amounts) or 'as always'}"
