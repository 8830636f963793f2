"""Taking files in, and bringing an engram up to date with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from prefrontal.clock import Clock
from prefrontal.errors import NotFound, StoreError
from prefrontal.knowledge.encode import Encoder
from prefrontal.knowledge.ingest.corpus import Fields, documents
from prefrontal.knowledge.ingest.inside import lost, members
from prefrontal.knowledge.ingest.prepare import Raw, prepare, read
from prefrontal.knowledge.ingest.since import changed_since
from prefrontal.knowledge.ingest.walk import MAX_FILE_BYTES, Found, Skipped, Source, picked, walk
from prefrontal.knowledge.paths import containers
from prefrontal.knowledge.shape import Constants, Shape
from prefrontal.knowledge.store.engram import Engram
from prefrontal.knowledge.store.rows import Prepared, Stat
from prefrontal.knowledge.store.writer import Writer

T = TypeVar("T")

BATCH_BYTES = 1_000_000
BATCH_FILES = 400
"""What is prepared in one go: enough to spread the fixed costs, little enough to stay in memory (assumed)."""

COMMIT_BATCHES = 40
"""Batches of a first ingest that one version holds: what a killed process loses at most is seconds of work (assumed)."""

RECENT_NS = 2_000_000_000
"""A file changed this shortly before it was read may change again within the resolution of its stamp: it is hashed next time."""


UNSURE = -1
"""Kept instead of an inode to have a file hashed the next time: no file has this one."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did. `version` is the engram's version after it; `skipped` names every file not taken in, with the reason."""

    version: int
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    chunks: int = 0
    size_bytes: int = 0
    skipped: tuple[Skipped, ...] = ()


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is: files seen, files and bytes taken in, passages made."""

    seen: int
    taken: int
    size_bytes: int
    chunks: int


Watcher = Callable[[Progress], None]


class _Run:
    """Counts, and hands work from the reader to the writer."""

    def __init__(self, writer: Writer, *, watch: Watcher | None, batches_a_commit: int | None) -> None:
        self.writer = writer
        self._watch = watch
        self._each = batches_a_commit
        self._batches = 0
        self.seen = self.added = self.changed = self.removed = self.unchanged = self.chunks = self.size = 0
        self.skipped: list[Skipped] = []

    def take(self, batch: Iterable[Prepared | Skipped]) -> None:
        """Write what was prepared. A changed file takes along what lay inside it and does no more."""
        batch = list(batch)
        given = {one.path for one in batch if isinstance(one, Prepared)}
        for one in batch:
            if isinstance(one, Skipped):
                self.skip(one)
                continue
            known = self.writer.find(one.path) is not None
            if not self.writer.put(one):
                self.unchanged += 1
                continue
            self.added += not known
            self.changed += known
            for path in members(self.writer, one.path) if known and not one.chunks else ():
                self.removed += path not in given and self.writer.remove(path)
            self.chunks += len(one.chunks)
            self.size += one.stat.size
        self._batches += 1
        if self._each and self._batches % self._each == 0:
            self.writer.commit()
        if self._watch:
            self._watch(Progress(seen=self.seen, taken=self.added + self.changed, size_bytes=self.size, chunks=self.chunks))

    def skip(self, one: Skipped) -> None:
        """Note a file that cannot be taken in."""
        self.skipped.append(one)

    def report(self) -> Report:
        """Commit and tell what was done."""
        return Report(
            version=self.writer.commit(),
            added=self.added,
            changed=self.changed,
            removed=self.removed,
            unchanged=self.unchanged,
            chunks=self.chunks,
            size_bytes=self.size,
            skipped=tuple(self.skipped),
        )


def ingest(
    engram: Path,
    sources: Iterable[Source],
    *,
    clock: Clock,
    workers: int = 0,
    watch: Watcher | None = None,
) -> Report:
    """Take files into an engram and remember where they came from, so that `update` finds them again.

    Files that are there unchanged are passed over, so a run that was stopped is taken up again by the same call. It commits
    as it goes; a file that cannot be read is reported and skipped. `workers`: processes that read, cut and encode (0: this
    one). Raises Conflict when the engram is being written, NotFound without a source, StoreError when it cannot be written.
    """
    sources = [msgspec.structs.replace(source, root=str(Path(source.root).absolute())) for source in sources]
    with Writer(engram, clock=clock, kind="ingest") as writer:
        known = {(s.root, s.prefix): s for s in recorded(writer)}
        known.update({(s.root, s.prefix): s for s in sources})
        _record(writer, [known[key] for key in sorted(known)])
        run = _Run(writer, watch=watch, batches_a_commit=COMMIT_BATCHES)
        for source in sources:
            _sync(run, source, clock=clock, workers=workers, full=False)
        return run.report()


def update(
    engram: Path,
    *,
    clock: Clock,
    full: bool = False,
    workers: int = 0,
    watch: Watcher | None = None,
    since: str | None = None,
) -> Report:
    """Make an engram what its sources are now, as one version: changed files again, new ones too, lost ones gone.

    Size, time stamp and inode tell what to read; with `full` every file is read and hashed. since: a revision of the Git
    repository that the sources lie in; then only what Git says has changed is looked at, and no folder is walked. A source that
    cannot be found raises NotFound, and nothing is removed: a disk that is not there is not an empty one.
    """
    with Writer(engram, clock=clock, kind="update") as writer:
        run = _Run(writer, watch=watch, batches_a_commit=None)
        for source in recorded(writer):
            if not Path(source.root).exists():
                raise NotFound(f"The source {source.root} of {engram.name} is not there; nothing was changed.")
            only = None if since is None or not Path(source.root).is_dir() else changed_since(Path(source.root), since)
            _sync(run, source, clock=clock, workers=workers, full=full, remove=True, only=only)
        return run.report()


def ingest_corpus(
    engram: Path,
    stream: BinaryIO,
    *,
    clock: Clock,
    fields: Fields | None = None,
    name: str = "stdin",
    watch: Watcher | None = None,
) -> Report:
    """Take in a corpus of JSON lines; a document of a known id replaces the older one."""
    with Writer(engram, clock=clock, kind="ingest") as writer:
        run = _Run(writer, watch=watch, batches_a_commit=COMMIT_BATCHES)
        encoder = Encoder(writer.meta.shape, writer.meta.constants)
        for batch in _batches(
            documents(stream, fields or Fields(), name=name), lambda d: 0 if isinstance(d, Skipped) else len(d.data)
        ):
            run.seen += len(batch)
            raws = [one for one in batch if isinstance(one, Raw)]
            run.skipped.extend(one for one in batch if isinstance(one, Skipped))
            run.take(prepare(raws, encoder))
        return run.report()


def ingest_bytes(engram: Path, path: str, data: bytes, *, clock: Clock, title: str = "", tags: tuple[str, ...] = ()) -> Report:
    """Take in one document from memory (standard input) under `path`."""
    return ingest_documents(engram, {path: data}, clock=clock, title=title, tags=tags)


def ingest_documents(
    engram: Path,
    documents: Mapping[str, bytes],
    *,
    clock: Clock,
    title: str = "",
    tags: tuple[str, ...] = (),
    watch: Watcher | None = None,
) -> Report:
    """Take in documents from memory (uploads) under their paths, as one version."""
    with Writer(engram, clock=clock, kind="ingest") as writer:
        run = _Run(writer, watch=watch, batches_a_commit=None)
        encoder = Encoder(writer.meta.shape, writer.meta.constants)
        for path, data in documents.items():
            run.seen += 1
            if len(data) > MAX_FILE_BYTES:
                run.skip(Skipped(path=path, reason="too_large", detail=f"{len(data)} bytes; the limit is {MAX_FILE_BYTES}"))
            else:
                run.take(prepare([Raw(path=path, data=data, stat=Stat(size=len(data)), title=title, tags=tags)], encoder))
        return run.report()


def remove(engram: Path, path: str, *, clock: Clock) -> int:
    """Take a file out, with what was read out of it, and return the new version. Raises NotFound, Conflict, StoreError.

    A file that a source still has comes back with the next update.
    """
    with Writer(engram, clock=clock, kind="update") as writer:
        inside = members(writer, path)
        if not writer.remove(path):
            raise NotFound(f"There is no file '{path}' in {engram.name}.", param="path")
        for member in inside:
            writer.remove(member)
        return writer.commit()


def sources_of(engram: Path) -> list[Source]:
    """Return the sources an engram remembers, reading only. Raises NotFound, StoreError."""
    with Engram(engram) as open_engram:
        row = open_engram.connection.execute("SELECT value FROM meta WHERE key = 'sources'").fetchone()
    return _sources(row, engram)


def recorded(writer: Writer) -> list[Source]:
    """Return the sources an engram remembers."""
    return _sources(writer.execute("SELECT value FROM meta WHERE key = 'sources'").fetchone(), writer.path)


def _sources(row: tuple[str] | None, path: Path) -> list[Source]:
    try:
        return msgspec.json.decode(row[0], type=list[Source]) if row else []
    except msgspec.MsgspecError as error:
        raise StoreError(f"The engram {path} is damaged: its list of sources cannot be read: {error}.") from error


def _record(writer: Writer, sources: list[Source]) -> None:
    writer.execute("INSERT OR REPLACE INTO meta VALUES ('sources', ?)", (msgspec.json.encode(sources).decode(),))


def _sync(
    run: _Run,
    source: Source,
    *,
    clock: Clock,
    workers: int,
    full: bool,
    remove: bool = False,
    only: frozenset[str] | None = None,
) -> None:
    live = run.writer.stamps(source.root)
    present: set[str] = set()
    if only is not None:
        named = {f"{source.prefix}/{path}" if source.prefix else path for path in only}
        live = {path: stamp for path, stamp in live.items() if named.intersection((path, *containers(path)))}

    def wanted() -> Iterator[Found]:
        for found in walk(source) if only is None else picked(source, only):
            run.seen += 1
            if isinstance(found, Skipped):
                run.skip(found)
                continue
            present.add(found.path)
            if not full and live.get(found.path) == (found.size, found.mtime_ns, found.inode):
                run.unchanged += 1
            else:
                yield found

    before = len(run.skipped)
    settings = Settings(
        source=source, shape=run.writer.meta.shape, constants=run.writer.meta.constants, now_ns=int(clock.now() * 1e9)
    )
    for batch in _prepared(settings, _batches(wanted(), lambda found: found.size), workers):
        run.take(batch)
    if remove:
        for path in lost(live, present, run.skipped[before:]):
            run.removed += run.writer.remove(path)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a process needs to know to prepare files."""

    source: Source
    shape: Shape
    constants: Constants
    now_ns: int


def _prepared(settings: Settings, batches: Iterator[list[Found]], workers: int) -> Iterator[list[Prepared | Skipped]]:
    """Yield the prepared batches in their order, made here or in other processes, with a bounded number under way."""
    if workers <= 0:
        encoder = Encoder(settings.shape, settings.constants)
        for batch in batches:
            yield _prepare(settings, batch, encoder)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_prepare_elsewhere, settings, batch) for batch in islice(batches, 3 * workers)]
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(pool.submit(_prepare_elsewhere, settings, batch) for batch in islice(batches, 1))


def _prepare(settings: Settings, batch: list[Found], encoder: Encoder) -> list[Prepared | Skipped]:
    source = settings.source
    read_now = [read(found, max_bytes=source.max_file_bytes, tags=source.tags, origin=source.root) for found in batch]
    raws = [_stamped(one, settings.now_ns) for one in read_now if isinstance(one, Raw)]
    skipped: list[Prepared | Skipped] = [one for one in read_now if isinstance(one, Skipped)]
    return skipped + prepare(raws, encoder, keep_binary=source.keep_binary)


@lru_cache(maxsize=1)  # a process of a pool serves one ingest and lives as long as it: its tokenizer's memory is worth keeping
def _encoder(shape: Shape, constants: Constants) -> Encoder:
    return Encoder(shape, constants)


def _prepare_elsewhere(settings: Settings, batch: list[Found]) -> list[Prepared | Skipped]:
    return _prepare(settings, batch, _encoder(settings.shape, settings.constants))


def _stamped(raw: Raw, now_ns: int) -> Raw:
    """Take the stamp from a file that changed just now, so that it is hashed the next time."""
    if now_ns - raw.stat.mtime_ns > RECENT_NS:
        return raw
    return msgspec.structs.replace(raw, stat=msgspec.structs.replace(raw.stat, inode=UNSURE))


def _batches(items: Iterator[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if total >= BATCH_BYTES or len(batch) >= BATCH_FILES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
