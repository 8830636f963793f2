"""Engrams that follow their folders, and how engrams lie to each other and to a question."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place
from prefrontal.cli.shelf import located
from prefrontal.cli.words import duration
from prefrontal.clock import Clock
from prefrontal.errors import Conflict, InvalidRequest, NotFound

if TYPE_CHECKING:
    from prefrontal.knowledge.ingest.run import Report

SETTLE_MS = 100
"""How long changes are gathered before they are taken in (assumed: an editor saves in less)."""

TRY_EVERY_MS = 1_000
"""How soon what could not be taken in is tried again (assumed)."""

LOOK_EVERY_S = 60.0
"""How often it is looked without any event: network file systems tell of none (assumed)."""


async def watch(name: str, place: Place, screen: Screen, clock: Clock, *, as_json: bool) -> None:
    """Bring an engram up to date now and at each change of its folders, until the task is cancelled.

    Raises InvalidRequest when it has no folders, NotFound, StoreError. While another process writes, or a folder is away, it
    waits.
    """
    from watchfiles import awatch

    path = located(name, place)
    roots = await asyncio.to_thread(_roots, path)
    if not roots:
        raise InvalidRequest(f"The engram {path.stem} has no folder to follow.", hint="`prefrontal knowledge ingest` notes one.")
    waiting = not await _once(path, screen, clock, as_json=as_json)
    screen.note(f"following {', '.join(map(str, roots))}")
    followed = [root for root in roots if root.exists()]
    if len(followed) < len(roots):
        screen.note("A folder that is not there is not followed; start again when it is.")
    due = clock.monotonic()  # what changed while the watching began is seen by the first look
    async for changes in awatch(*followed, step=SETTLE_MS, rust_timeout=TRY_EVERY_MS, yield_on_timeout=True):
        if changes or waiting or clock.monotonic() >= due:
            waiting = not await _once(path, screen, clock, as_json=as_json)
            due = clock.monotonic() + LOOK_EVERY_S


def apart(name: str, other: str, place: Place, screen: Screen, *, as_json: bool) -> None:
    """Show the distance of two engrams."""
    first, second = located(name, place), located(other, place)
    from prefrontal.knowledge.history import apart as measured
    from prefrontal.knowledge.store.engram import Engram

    with Engram(first) as one, Engram(second) as two:
        distance = measured(one, two)
    if as_json:
        screen.json({"engram": first.stem, "other": second.stem, "distance": distance})
    else:
        screen.line(f"{distance:.4f}")


def places(name: str, question: str, place: Place, screen: Screen, *, k: int, as_json: bool) -> None:
    """Show the best folders and files for a question."""
    path = located(name, place)
    from prefrontal.knowledge.present import printable
    from prefrontal.knowledge.search.searcher import Searcher
    from prefrontal.knowledge.search.tree import places as found

    with Searcher(path) as searcher:
        best = found(searcher, question, k=k)
    if as_json:
        screen.json([msgspec.to_builtins(one) | {"path": printable(one.path)} for one in best])
        return
    if not best:
        screen.note("Nothing was found: no passage has a word of the question.")
    for one in best:
        screen.line(f"{one.score:8.3f}  {printable(one.path)}{'/' if one.folder else ''}  ({one.chunks} passages)")


def _roots(path: Path) -> list[Path]:
    from prefrontal.knowledge.ingest.run import sources_of

    return [Path(source.root) for source in sources_of(path)]


async def _once(path: Path, screen: Screen, clock: Clock, *, as_json: bool) -> bool:
    """Bring the engram up to date once; False when that has to be tried again."""
    from prefrontal.knowledge.ingest.run import update

    began = clock.monotonic()
    try:
        report = await asyncio.to_thread(update, path, clock=clock)
    except (Conflict, NotFound) as error:
        screen.note(f"not now: {error.text}")
        return False
    _tell(report, clock.monotonic() - began, screen, as_json=as_json)
    return True


def _tell(report: Report, elapsed_s: float, screen: Screen, *, as_json: bool) -> None:
    counts = {name: getattr(report, name) for name in ("added", "changed", "removed")}
    if not any(counts.values()):
        return
    if as_json:
        screen.json_line({"version": report.version, **counts, "elapsed_s": round(elapsed_s, 4)})
        return
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    screen.line(f"version {report.version}: {told} in {duration(1000 * elapsed_s)}")
