"""Versions: what changed between two, and clearing up what only old ones need."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from prefrontal.clock import Clock
from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.algebra import bundle, similarity, vector
from prefrontal.knowledge.store.engram import Engram
from prefrontal.knowledge.store.nodes import total_of
from prefrontal.knowledge.store.rows import FileRow
from prefrontal.knowledge.store.writer import Writer

Change = Literal["added", "changed", "removed", "renamed"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not the same in two versions. `before` is its old path when it was renamed."""

    path: str
    change: Change
    size_before: int
    size_after: int
    before: str = ""


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """What clearing up removed; `floor` is the oldest version that can still be read."""

    floor: int
    files: int
    blobs: int
    size_bytes: int


def diff(engram: Engram, first: int, second: int) -> list[Difference]:
    """Return the files that differ between two versions, by path. A file that only moved is one renaming.

    Raises InvalidRequest for a version that does not exist or was cleared up.
    """
    before, after = ({file.path: file for file in engram.files(version=_checked(engram, number))} for number in (first, second))
    gone = {path: file for path, file in before.items() if path not in after}
    moved: dict[bytes, list[str]] = {}
    for path in sorted(gone, reverse=True):
        moved.setdefault(gone[path].sha256, []).append(path)
    found: list[Difference] = []
    for path in sorted(after):
        now, then = after[path], before.get(path)
        if then is None:
            source = moved[now.sha256].pop() if moved.get(now.sha256) else ""
            old = gone.pop(source, None)
            found.append(_difference(path, "renamed" if old else "added", old, now, source))
        elif then.sha256 != now.sha256:
            found.append(_difference(path, "changed", then, now))
    found.extend(_difference(path, "removed", file, None) for path, file in gone.items())
    return sorted(found, key=lambda one: one.path)


def distance(engram: Engram, first: int, second: int) -> float:
    """Return 1 less the cosine of two versions' sums of vectors: 0 for the same text, towards 1 for nothing in common."""
    roots = []
    for number in (first, second):
        files = engram.files(version=_checked(engram, number))
        dim = engram.meta.shape.dim
        parts = [total_of(dim, engram.encoded(file.id)) for file in files]
        roots.append(bundle(vector(dim, [], []), *parts))
    return 1.0 - similarity(*roots) if roots[0] != roots[1] else 0.0


def apart(one: Engram, other: Engram) -> float:
    """Return the distance of two engrams by their sums of vectors. Raises InvalidRequest when their shapes differ."""
    if one.meta.shape != other.meta.shape:
        raise InvalidRequest(f"{one.path.name} and {other.path.name} have vectors of different shapes.")
    first, second = one.node(), other.node()
    if first is None or second is None:
        return 0.0 if first is second else 1.0
    return 1.0 - similarity(first.total, second.total)


def clear(path: Path, *, clock: Clock, keep: int = 1) -> Cleared:
    """Remove what the last `keep` versions do not need. Readers that are open keep what they see.

    Raises InvalidRequest for `keep` below 1, Conflict while the engram is being written.
    """
    if keep < 1:
        raise InvalidRequest("At least one version must be kept.", param="keep")
    with Writer(path, clock=clock, kind="gc") as writer:
        run = writer.execute
        numbers = [number for (number,) in run("SELECT number FROM version ORDER BY number DESC LIMIT ?", (keep,))]
        floor = numbers[-1] if numbers else 0
        dead = "SELECT id FROM file WHERE died IS NOT NULL AND died <= ?"
        run(f"DELETE FROM vec WHERE chunk IN (SELECT id FROM chunk WHERE file IN ({dead}))", (floor,))  # noqa: S608 - ours
        run(f"DELETE FROM chunk WHERE file IN ({dead})", (floor,))  # noqa: S608 - ours
        run(f"DELETE FROM part WHERE file IN ({dead})", (floor,))  # noqa: S608 - ours
        files = run("DELETE FROM file WHERE died IS NOT NULL AND died <= ?", (floor,)).rowcount
        unused = "id NOT IN (SELECT blob FROM part)"
        (size,) = run(f"SELECT coalesce(sum(length(data)), 0) FROM blob WHERE {unused}").fetchone()  # noqa: S608 - ours
        blobs = run(f"DELETE FROM blob WHERE {unused}").rowcount  # noqa: S608 - ours
        run("DELETE FROM version WHERE number < ?", (floor,))
        run("INSERT OR REPLACE INTO meta VALUES ('floor', ?)", (str(floor),))
        writer.commit()
        writer.shrink()
    return Cleared(floor=floor, files=files, blobs=blobs, size_bytes=size)


def _difference(path: str, change: Change, old: FileRow | None, new: FileRow | None, before: str = "") -> Difference:
    return Difference(
        path=path,
        change=change,
        size_before=old.stat.size if old else 0,
        size_after=new.stat.size if new else 0,
        before=before,
    )


def _checked(engram: Engram, number: int) -> int:
    if number == 0 and engram.floor() == 0:
        return 0
    if not max(1, engram.floor()) <= number <= engram.version:
        raise InvalidRequest(
            f"{engram.path.name} has versions {max(1, engram.floor())} to {engram.version}, not {number}.", param="version"
        )
    return number
