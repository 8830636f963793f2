"""Finds the gateway that runs on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefrontal.cli.remote import Gateway
from prefrontal.cli.session import Place, loaded
from prefrontal.clock import Clock
from prefrontal.errors import ProviderUnreachable

PORTS_LOOKED_AT = 10
"""`serve` takes the next free port when its own is taken; so many are looked at here (assumed)."""

URL_VARIABLE = "PREFRONTAL_URL"


def url_of(url: str | None, place: Place) -> str | None:
    """Return the address that was named, with the option or in `$PREFRONTAL_URL`."""
    return url or place.env.get(URL_VARIABLE) or None


@asynccontextmanager
async def gateway(url: str | None, place: Place, clock: Clock) -> AsyncIterator[Gateway]:
    """Yield the gateway at `url`, at `$PREFRONTAL_URL`, or at the configured port of this machine or one of the next.

    Raises:
        ProviderUnreachable: none runs here. ConfigError: the configuration that names the port is broken.
    """
    named = url_of(url, place)
    key = place.env.get("PREFRONTAL_API_KEY", "").strip() or None
    if named:
        found = Gateway(named, clock=clock, key=key)
    else:
        found = await _on_this_machine(place, clock, key)
    try:
        yield found
    finally:
        await found.aclose()


async def running(place: Place, clock: Clock) -> str | None:
    """Return the address of the gateway at the configured port of this machine; None where none answers.

    Raises:
        ConfigError: the configuration that names the port is broken.
    """
    server = loaded(place).config.server
    if not server.port:
        return None
    found = Gateway(f"http://{_host(server.host)}:{server.port}", clock=clock)
    try:
        return found.url if await found.is_prefrontal() else None
    finally:
        await found.aclose()


def _host(bound: str) -> str:
    """Return the host under which this machine reaches what is bound to `bound`."""
    host = "127.0.0.1" if bound in ("0.0.0.0", "localhost") else bound  # noqa: S104 - compared, not bound
    return f"[{'::1' if host == '::' else host}]" if ":" in host else host


async def _on_this_machine(place: Place, clock: Clock, key: str | None) -> Gateway:
    server = loaded(place).config.server
    known = (*server.admin_keys, *((key,) if key else ()), *server.api_keys)
    host = _host(server.host)
    for port in range(server.port, min(server.port + PORTS_LOOKED_AT, 65536)) if server.port else ():
        found = Gateway(f"http://{host}:{port}", clock=clock, key=known[0] if known else None)
        if await found.is_prefrontal():
            return found
        await found.aclose()
    where = f"http://{host}:{server.port}" if server.port else "any known port"
    raise ProviderUnreachable(
        f"No gateway runs at {where}.",
        hint="Start one with `prefrontal serve`, or name another with --url or $PREFRONTAL_URL.",
    )
