"""What lies inside a file in an engram, and when it goes."""

from __future__ import annotations

import os
from collections.abc import Collection

from prefrontal.knowledge.ingest.walk import Skipped
from prefrontal.knowledge.paths import INSIDE, containers
from prefrontal.knowledge.store.rows import path_in
from prefrontal.knowledge.store.writer import Writer

KEEPING = frozenset(("unreadable", "needs"))
"""Reasons for which what an engram has of a file stays: a folder without permission is not empty, nor is a missing library."""

LIVING = "SELECT path FROM file WHERE died IS NULL AND ((path >= ? AND path < ?) OR (path >= ? AND path < ?)) ORDER BY path"


def members(writer: Writer, path: str) -> list[str]:
    """Return the living files inside a file, those of names that are no Unicode too."""
    first, last = path + INSIDE, path + "!0"  # the character after the slash
    as_text = [end.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for end in (first, last)]
    values = (*as_text, os.fsencode(first), os.fsencode(last))
    return [path_in(found) for (found,) in writer.execute(LIVING, values)]


def lost(living: Collection[str], present: Collection[str], skipped: Collection[Skipped]) -> list[str]:
    """Return the files of a source that are gone, given those found on disk and those left out."""
    there = set(present).difference(one.path for one in skipped)
    kept = {one.path for one in skipped if one.reason in KEEPING}
    absent = [path for path in living if path not in there]  # few, so that what follows may take its time
    return sorted(path for path in absent if not there.intersection(containers(path)) and not _below(path, kept))


def _below(path: str, kept: set[str]) -> bool:
    """Return whether a path, a file it lies in, or a folder it lies in is one of `kept`."""
    if not kept:
        return False
    if "" in kept or kept.intersection((path, *containers(path))):
        return True
    parts = path.split("/")
    return any("/".join(parts[:n]) in kept for n in range(1, len(parts)))
