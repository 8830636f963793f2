"""Noticing that the configuration file was saved, however the editor saves it.

Folders are watched, not files: editors replace files, Kubernetes swaps links, and a file may be created after the start. Any
event only prompts a look; what counts is whether the file is another one than before. A slow look once a second stands behind
the events, so that network file systems and missed events cost a second, not the change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from prefrontal.clock import Clock

log = logging.getLogger(__name__)

POLL_S = 1.0  # specified: a good file serves within 2 s of the save
SETTLE_S = 0.1  # assumed: an editor writes a file of this size in less
EMPTY_S = 1.0  # assumed: a file that is suddenly empty is usually being rewritten

Print = tuple[tuple[int, int, int] | None, ...]
Events = Callable[[Sequence[Path], asyncio.Event], AsyncIterator[None]]


async def watch(
    files: Sequence[Path],
    reload: Callable[[], Awaitable[object]],
    *,
    clock: Clock,
    stop: asyncio.Event,
    since: Print | None = None,
    events: Events | None = None,
) -> None:
    """Call `reload` after each change of one of `files` until `stop` is set. A failing `reload` is logged and tried at the next.

    `files` need not exist. `since` is their `fingerprint` from before the configuration was loaded, so that a save between that
    and now is not missed; left out, watching begins with what is there now. `events` yields whenever it may be worth looking;
    the default uses the operating system's notifications, and looks every `POLL_S` seconds where there are none.
    """
    seen = since or fingerprint(files)

    async def look() -> None:
        nonlocal seen
        if fingerprint(files) == seen:
            return
        seen = await _settled(files, seen, clock)
        try:
            await reload()
        except Exception:  # an edge: the watcher must outlive one bad reload
            log.exception("reloading the configuration failed")

    await look()
    async for _ in (events or (lambda paths, stopped: _events(paths, stopped, clock)))(files, stop):
        if stop.is_set():
            return
        await look()


def fingerprint(files: Sequence[Path]) -> Print:
    """Return what identifies the present content of `files`: inode, size and time of change; None for one that is missing."""
    return tuple(_print(file) for file in files)


def _print(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


async def _settled(files: Sequence[Path], before: Print, clock: Clock) -> Print:
    """Wait until the files stop changing, and a little longer for one that became empty or vanished; return their fingerprint."""
    waited_s = 0.0
    last = fingerprint(files)
    while True:
        await clock.sleep(SETTLE_S)
        waited_s += SETTLE_S
        now = fingerprint(files)
        shrunk = any(
            (old is not None and old[1] > 0) and (new is None or new[1] == 0) for old, new in zip(before, now, strict=True)
        )
        if now == last and (not shrunk or waited_s >= EMPTY_S):
            return now
        last = now


async def _events(files: Sequence[Path], stop: asyncio.Event, clock: Clock) -> AsyncIterator[None]:
    """Yield on notifications and at least every `POLL_S` seconds; only polls where notifications cannot be had."""
    folders = {folder for file in files for folder in (file.parent, file.resolve().parent) if folder.is_dir()}
    if folders:
        try:
            from watchfiles import awatch

            options = {"debounce": 100, "step": 50, "rust_timeout": int(POLL_S * 1000), "yield_on_timeout": True}
            async for _ in awatch(*folders, watch_filter=None, stop_event=stop, recursive=False, **options):  # type: ignore[arg-type]
                yield
        except (OSError, RuntimeError, ImportError) as error:
            log.warning("no file notifications (%s); looking at the configuration every %g s", error, POLL_S)
    while not stop.is_set():
        yield
        try:
            async with clock.timeout(POLL_S):
                await stop.wait()
        except TimeoutError:
            pass
