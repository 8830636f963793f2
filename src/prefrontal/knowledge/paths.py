"""Paths of what lies inside files: `PATH!/NAME`, and `PATH!/text` for the text that was read out of a file."""

from __future__ import annotations

from collections.abc import Container

INSIDE = "!/"
TEXT_MEMBER = "!/text"


def containers(path: str) -> list[str]:
    """Return the files that a path says it lies in, the outermost first."""
    parts = path.split(INSIDE)
    return [INSIDE.join(parts[:n]) for n in range(1, len(parts))]


def outermost(path: str, files: Container[str]) -> str:
    """Return the first of `files` that a path lies in, else the path itself: a folder's name, too, may end in `!`."""
    return next((one for one in containers(path) if one in files), path)
