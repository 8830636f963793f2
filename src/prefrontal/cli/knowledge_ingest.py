"""Taking files into engrams, with what is going on."""

from __future__ import annotations

import contextlib
import gzip
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import msgspec

from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place
from prefrontal.cli.shelf import located
from prefrontal.cli.words import duration, size
from prefrontal.clock import Clock
from prefrontal.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from prefrontal.knowledge.ingest.run import Progress, Report

SHOWN_SKIPPED = 20
"""Skipped files that are named; --json has all."""

PARALLEL_BYTES = 20_000_000
"""From so many bytes on, other processes help (assumed: starting one costs what encoding a megabyte does)."""

MOST_WORKERS = 8
REFRESH_S = 0.2
QUIET = frozenset({"binary"})
"""Reasons that are counted and not listed file by file: nobody expects a picture to be read."""


class Taking(msgspec.Struct, frozen=True, kw_only=True):
    """What to take in. `fields`: of a corpus, id, title, text and path."""

    engram: str
    folders: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()
    fields: tuple[str, str, str, str | None] = ("_id", "title", "text", None)
    prefix: str = ""
    tags: tuple[str, ...] = ()
    dim: int = 65_536
    nonzeros: int = 200
    ternary: bool = False
    gitignore: bool = True
    keep_binary: bool = False
    workers: int | None = None


def ingest(taking: Taking, place: Place, screen: Screen, clock: Clock, *, as_json: bool) -> None:
    """Take in folders, a piped document and corpora, making the engram when there is none."""
    path = located(taking.engram, place, must_exist=False)
    if not taking.folders and not taking.corpora:
        raise InvalidRequest("Nothing was named to take in.", hint="Name a folder or file, -, or --jsonl FILE.")
    from prefrontal.knowledge.ingest.run import ingest as run
    from prefrontal.knowledge.ingest.walk import Source
    from prefrontal.knowledge.shape import Shape
    from prefrontal.knowledge.store.engram import create

    for name in (*taking.folders, *taking.corpora):
        if name != "-" and not Path(name).exists():
            raise NotFound(f"There is no file or folder {name}.")
    if not path.exists():
        create(path, clock=clock, shape=_shape(taking, Shape))
    sources = [
        Source(
            root=name,
            prefix=taking.prefix,
            include=taking.include,
            exclude=taking.exclude,
            gitignore=taking.gitignore,
            keep_binary=taking.keep_binary,
            tags=taking.tags,
        )
        for name in taking.folders
        if name != "-"
    ]
    reports: list[Report] = []
    with _Meter(screen, clock) as meter:
        if sources:
            workers = _workers(sources) if taking.workers is None else taking.workers
            meter.total = _count(sources) if screen.err_tty else 0
            reports.append(run(path, sources, clock=clock, workers=workers, watch=meter.show))
        if "-" in taking.folders:
            reports.append(_piped(path, taking, clock))
        reports += [_corpus(path, name, taking, clock, meter.show) for name in taking.corpora]
    _tell(path, reports, meter.elapsed_s, screen, as_json=as_json)


def update(
    name: str,
    place: Place,
    screen: Screen,
    clock: Clock,
    *,
    full: bool,
    workers: int | None,
    since: str | None = None,
    as_json: bool,
) -> None:
    """Bring an engram up to date with its folders."""
    path = located(name, place)
    from prefrontal.knowledge.ingest.run import update as run

    with _Meter(screen, clock) as meter:
        report = run(path, clock=clock, full=full, workers=workers or 0, watch=meter.show, since=since)
    _tell(path, [report], meter.elapsed_s, screen, as_json=as_json)


def _shape(taking: Taking, make: Callable[..., Any]) -> Any:
    return make(dim=taking.dim, nonzeros=taking.nonzeros, mode="ternary" if taking.ternary else "int8")


def _workers(sources: list[Any]) -> int:
    """Return how many processes are worth starting."""
    from prefrontal.knowledge.ingest.walk import Found, walk

    cores = min(MOST_WORKERS, os.cpu_count() or 1)
    total = 0
    for source in sources:
        for found in walk(source):
            total += found.size if isinstance(found, Found) else 0
            if total >= PARALLEL_BYTES:
                return cores if cores > 1 else 0
    return 0


def _count(sources: list[Any]) -> int:
    from prefrontal.knowledge.ingest.walk import walk

    return sum(1 for source in sources for _ in walk(source))


def _piped(path: Path, taking: Taking, clock: Clock) -> Report:
    from prefrontal.knowledge.ingest.run import ingest_bytes

    return ingest_bytes(path, taking.prefix or "stdin.txt", sys.stdin.buffer.read(), clock=clock, tags=taking.tags)


def _corpus(path: Path, name: str, taking: Taking, clock: Clock, watch: Callable[[Progress], None]) -> Report:
    from prefrontal.knowledge.ingest.corpus import Fields
    from prefrontal.knowledge.ingest.run import ingest_corpus

    key, title, text, where = taking.fields
    fields = Fields(id=key, title=title, text=text, path=where)
    with _stream(name) as stream:
        return ingest_corpus(path, stream, clock=clock, fields=fields, name=name, watch=watch)


@contextlib.contextmanager
def _stream(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    with open(name, "rb") as stream:
        if not name.endswith(".gz"):
            yield stream
            return
        try:
            with gzip.open(stream) as unpacked:
                yield cast("BinaryIO", unpacked)
        except (gzip.BadGzipFile, EOFError) as error:
            raise InvalidRequest(f"{name} is no gzip file, or is cut short: {error}.") from error


class _Meter:
    """Shows how far a run is, on a terminal only, a few times a second."""

    def __init__(self, screen: Screen, clock: Clock) -> None:
        self._screen = screen
        self._clock = clock
        self._shown_at: float | None = None
        self._began = clock.monotonic()
        self.elapsed_s = 0.0
        self.total = 0  # files that will come, where that is known

    def __enter__(self) -> _Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self.elapsed_s = self._clock.monotonic() - self._began
        if self._shown_at is not None:
            self._screen.err.write("\r\x1b[K")
            self._screen.err.flush()

    def show(self, progress: Progress) -> None:
        """Write the line anew, when it is time."""
        now = self._clock.monotonic()
        if not self._screen.err_tty or (self._shown_at is not None and now - self._shown_at < REFRESH_S):
            return
        self._shown_at = now
        rate = progress.chunks / max(now - self._began, 1e-3)
        left = ""
        if self.total > progress.seen > 0:
            left = f", about {duration(1000 * (now - self._began) * (self.total - progress.seen) / progress.seen)} left"
        text = (
            f"{progress.taken:,} files, {progress.chunks:,} passages, {size(progress.size_bytes)}, {rate:,.0f} passages/s{left}"
        )
        self._screen.err.write(f"\r\x1b[K{text}")
        self._screen.err.flush()


def _tell(path: Path, reports: list[Report], elapsed_s: float, screen: Screen, *, as_json: bool) -> None:
    from prefrontal.knowledge.present import printable

    names = ("added", "changed", "removed", "unchanged", "chunks", "size_bytes")
    sums = {name: sum(getattr(report, name) for report in reports) for name in names}
    skipped = [one for report in reports for one in report.skipped]
    if as_json:
        listed = [{"path": printable(one.path), "reason": one.reason, "detail": one.detail} for one in skipped]
        screen.json({"engram": str(path), "version": reports[-1].version, **sums, "elapsed_s": elapsed_s, "skipped": listed})
        return
    rate = f", {sums['chunks'] / elapsed_s:,.0f} passages/s" if sums["chunks"] and elapsed_s > 0 else ""
    screen.line(
        f"{path.stem}: version {reports[-1].version}, {sums['added']} files added, {sums['changed']} changed, "
        f"{sums['removed']} removed, {sums['unchanged']} unchanged"
    )
    screen.line(f"{sums['chunks']:,} passages of {size(sums['size_bytes'])} in {duration(elapsed_s * 1000)}{rate}")
    counts = Counter(one.reason for one in skipped)
    if counts:
        screen.note(f"left out: {', '.join(f'{count} {reason}' for reason, count in sorted(counts.items()))}")
    told = [one for one in skipped if one.reason not in QUIET]
    screen.note(*[f"  {printable(one.path)}: {one.detail or one.reason}" for one in told[:SHOWN_SKIPPED]])
    if len(told) > SHOWN_SKIPPED:
        screen.note(f"  and {len(told) - SHOWN_SKIPPED} more; --json lists all")
