"""`prefrontal models list | ps | load | unload`."""

from __future__ import annotations

from typing import Any

from prefrontal.cli.locate import gateway, url_of
from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, opened
from prefrontal.cli.words import duration, price, size, tokens
from prefrontal.clock import Clock

SHOWN_CAPABILITIES = ("thinking", "tools", "vision", "audio", "files", "structured_output", "embedding")


async def list_models(place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool) -> None:
    """Show the models that could be named now: those of a running gateway when a URL is given, else of this machine."""
    if url_of(url, place):
        async with gateway(url, place, clock) as remote:
            listed = await remote.get("/v1/models")
    else:
        import msgspec

        from prefrontal.serve.listing import list_models as listing

        async with opened(place, records=False) as pf:
            listed = msgspec.to_builtins(listing(pf))
    if as_json:
        screen.json(listed)
        return
    rows = [row for row in listed["data"] if row.get("owned_by") != "prefrontal"]
    screen.table(
        ("model", "provider", "context", "can", "$/M in", "$/M out", "roles", "from"),
        [_row(row) for row in rows],
        right=("context", "$/M in", "$/M out"),
    )
    if not rows:
        screen.note("No model yet. `prefrontal doctor` says how to get one; `auto` answers sums, units and dates without.")
    names = [row["id"] for row in listed["data"] if row.get("owned_by") == "prefrontal"]
    screen.note(f"Also: {', '.join(names)}.")


async def show_engines(place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool) -> None:
    """Show the local engines of the running gateway."""
    async with gateway(url, place, clock) as remote:
        found = await remote.get("/v1/engines")
    if as_json:
        screen.json(found)
        return
    rows = found["data"]
    if not rows:
        screen.note("The gateway has no local models. `prefrontal models pull` fetches one.")
        return
    screen.table(
        ("model", "state", "pid", "port", "memory", "loaded in", "restarts", "running", "last error"),
        [_engine_row(row) for row in rows],
        right=("pid", "port", "memory", "loaded in", "restarts", "running"),
    )


async def change_engine(
    name: str, action: str, place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool
) -> None:
    """Load or unload a local model of the running gateway and wait until that is done."""
    async with gateway(url, place, clock) as remote:
        found = await remote.engine(name, action)
    if as_json:
        screen.json(found)
    else:
        screen.line(f"{found['model']} is {found['state']}")


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    costs = model.get("price") or {}
    return (
        model["id"],
        str(model.get("provider") or model.get("owned_by") or ""),
        tokens(model.get("context_window")),
        _abilities(model.get("capabilities") or {}),
        price(costs.get("input_usd")),
        price(costs.get("output_usd")),
        ", ".join(model.get("roles") or ()) or "-",
        _origin(model),
    )


def _abilities(capabilities: dict[str, Any]) -> str:
    known = [name for name in SHOWN_CAPABILITIES if (capabilities.get(name) or {}).get("value")]
    own = [name for name in capabilities if name not in (*SHOWN_CAPABILITIES, "chat") and capabilities[name].get("value") is True]
    if capabilities.get("chat", {}).get("value") is False:
        known.insert(0, "no chat")
    return ", ".join(name.replace("_", " ") for name in (*known, *own)) or "chat"


def _origin(model: dict[str, Any]) -> str:
    if model.get("origin") != "discovered":
        return "configuration"
    return "this machine" if model.get("self_hosted") else "environment key"


def _engine_row(engine: dict[str, Any]) -> tuple[str, ...]:
    loaded_s = engine.get("load_time_s")
    return (
        engine.get("model") or "-",
        engine["state"],
        str(engine.get("pid") or "-"),
        str(engine.get("port") or "-"),
        size(engine["rss_bytes"]) if engine.get("rss_bytes") else "-",
        duration(loaded_s * 1000) if loaded_s else "-",
        str(engine.get("restarts", 0)),
        str(engine.get("in_flight", 0)),
        (engine.get("last_error") or "-") if engine["state"] != "ready" else "-",  # it has recovered; `restarts` tells
    )
