"""Checks of the shared Redis: that its address is one, and that what speaks to it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from urllib.parse import urlsplit

from prefrontal.config.schema import Config
from prefrontal.contracts.reach import host_of, is_loopback

EXTRA_HINT = "python -m pip install 'prefrontal[redis]'"


def installed() -> bool:
    """Return whether the library of the extra `redis` is there."""
    return find_spec("redis") is not None


def check_redis(config: Config, note: Callable[..., None], *, present: Callable[[], bool] = installed) -> None:
    """Call `note` for what is wrong with `redis`. No message holds the address: a password is in it."""
    settings = config.redis
    if settings.url is None:
        return
    path = ("redis", "url")
    problem = _problem_of(settings.url)
    if problem is not None:
        note(path, "url", problem, "write it as redis://:${PASSWORD}@HOST:6379/0, rediss:// for TLS")
        return
    if not present():
        note(path, "extra", "Redis needs the extra `redis`, which is not installed", EXTRA_HINT)
    if settings.url.startswith("redis://") and "@" in settings.url and not is_loopback(host_of(settings.url)):
        text = "sends its password over the network as it is"
        note(path, "plain", text, "use rediss:// where others can listen", fatal=False)


def _problem_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "this is no address: its host or port cannot be read"
    if parts.scheme not in ("redis", "rediss", "unix"):
        return "only addresses that begin with redis://, rediss:// or unix:// are known"
    if parts.scheme == "unix":
        return None if parts.path else "the address names no socket"
    if not parts.hostname or port == 0:
        return "the address names no host and port"
    database = parts.path.strip("/")
    return None if not database or database.isdigit() else "what follows the host is the number of a database"
