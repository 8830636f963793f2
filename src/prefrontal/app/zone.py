"""The time zone of this machine, by its IANA name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

LINK = Path("/etc/localtime")
"""Where Linux and macOS point to the zone's file."""


def machine_zone(env: Mapping[str, str], link: Path = LINK) -> str:
    """Return the zone that `TZ` names, else the one that `link` leads to, else UTC. Reads nothing but the link."""
    named = env.get("TZ", "").removeprefix(":")
    try:
        found = str(link.resolve()).rpartition("/zoneinfo/")[2] if link.is_symlink() else ""
    except OSError:
        found = ""
    return next((name for name in (named, found) if name and _known(name)), "UTC")


def _known(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # KeyError: there is none of that name
        return False
    return True
