"""The index of an engram: its segments, which of their passages are gone, and keeping them in step with the file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from prefrontal.errors import StoreError
from prefrontal.knowledge.index.rows import files_after, files_gone_since, gone_since, passages_after
from prefrontal.knowledge.index.segment import ROWS, Arrays, Segment, invert, merge, open_segment, pack
from prefrontal.knowledge.store.engram import Engram

LAYOUT = 1
DEAD_SHARE = 0.25
"""Share of gone passages from which a segment is written anew (specified)."""

WRITE_BYTES = 1 << 16
"""Written at once. The system keeps a file in memory in pieces as large as they were written, and a process that touches a
piece has all of it mapped (measured on Linux 6.18: 91 MB instead of 214 at the first answer from 100,000 passages)."""

GROWTH = 2
"""A segment joins the one before it unless that has this many times its passages; so each passage is copied a few times only."""


AT_ONCE = 8_192
"""Passages up to which segments are joined while the one who asks waits; more are joined in the background (assumed: 0.2 s)."""


class Level(NamedTuple):
    """What an index is over: where it lies below the index folder, and how its rows are read."""

    folder: str
    rows: Callable[[Engram, int, int], Iterator[Arrays]]
    gone: Callable[[Engram, int], list[int]]


PASSAGES = Level(".", passages_after, gone_since)
FILES = Level("files", files_after, files_gone_since)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A segment in the list. `dead` are the rows that are gone."""

    name: str
    dead: list[int] = []


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the index holds: the engram, its version, and the number of the last passage taken in."""

    layout: int
    uid: str
    version: int
    last: int
    next_name: int
    segments: list[Entry]


class Index:
    """The index as it was at one version of the engram, readable for as long as this object lives."""

    def __init__(self, segments: list[Segment], dead: list[Any], version: int) -> None:
        self.segments = segments
        self.version = version
        self.alive = [_mask(segment.size, rows) for segment, rows in zip(segments, dead, strict=True)]
        self.dead = dead
        self._dead_terms = [_terms_of(segment, rows) for segment, rows in zip(segments, dead, strict=True)]
        self.count = sum(int(mask.sum()) for mask in self.alive)
        total = sum(int(s.length[mask].sum(dtype=np.int64)) for s, mask in zip(segments, self.alive, strict=True))
        self.words = total
        self.mean_length = total / self.count if self.count else 1.0

    @cached_property
    def mean_document(self) -> float:
        """Mean number of words of a file."""
        files = sum(int(np.unique(s.file[mask]).size) for s, mask in zip(self.segments, self.alive, strict=True))
        return self.words / files if files else 1.0

    def frequencies(self, terms: Any) -> Any:
        """Return in how many living passages each term occurs."""
        total = np.zeros(len(terms), np.int64)
        for segment, gone in zip(self.segments, self._dead_terms, strict=True):
            total += segment.frequency(terms)
            if gone.size:
                total -= np.searchsorted(gone, terms, "right") - np.searchsorted(gone, terms, "left")
        return total


def open_index(engram: Engram, level: Level = PASSAGES) -> Index:
    """Return the index of the version the engram's reader sees, bringing it up to date or making it anew where needed.

    Where the folder cannot be written the index is made in memory. A newer index moves the reader on to the newest version.
    """
    folder = engram.path.with_suffix(".index") / level.folder
    for _ in range(3):
        state = _load(folder, engram)
        if state is not None and state.version > engram.version:
            engram.refresh()
        if state is not None and state.version == engram.version:
            with contextlib.suppress(StoreError):
                return _opened(folder, state)
            state = None
        try:
            with _locked(folder):
                engram.refresh()
                _advance(folder, engram, level, _load(folder, engram) if state is not None else _usable(folder, engram))
        except OSError:
            return _in_memory(engram, level)
    raise StoreError(f"The index of {engram.path.name} changes faster than it can be read.", hint="Try again.")


def _usable(folder: Path, engram: Engram) -> State | None:
    state = _load(folder, engram)
    if state is None:
        return None
    try:
        _opened(folder, state)
    except StoreError:
        return None
    return state


def _advance(folder: Path, engram: Engram, level: Level, state: State | None) -> None:
    """Append what is new, mark what is gone, join small segments, and put the new list in place of the old one."""
    if state is None:
        state = State(layout=LAYOUT, uid=engram.meta.uid, version=0, last=0, next_name=_free(folder), segments=[])
    elif state.version == engram.version:
        return
    segments = [open_segment(folder / entry.name) for entry in state.segments]
    dead = [set(entry.dead) for entry in state.segments]
    for chunk in level.gone(engram, state.version):
        _bury(segments, dead, chunk)
    last, number = state.last, state.next_name
    for arrays, last in _inverted(engram, level, state.last):  # noqa: B007 - the last one is what is noted
        segments.append(_write(folder, number, arrays))
        dead.append(set())
        number += 1
    number, later = _compact(folder, segments, dead, number, most=AT_ONCE)
    fresh = State(
        layout=LAYOUT, uid=engram.meta.uid, version=engram.version, last=last, next_name=number, segments=_listed(segments, dead)
    )
    _publish(folder, fresh)
    if later:
        threading.Thread(target=_tidy, args=(folder, fresh), name="prefrontal-index").start()


def _tidy(folder: Path, known: State) -> None:
    """Join and clean the segments of a list, unless it has changed meanwhile. Whoever reads them keeps what is mapped."""
    with contextlib.suppress(OSError, StoreError, msgspec.MsgspecError), _locked(folder):
        if msgspec.json.decode((folder / "index.json").read_bytes(), type=State) != known:
            return
        segments = [open_segment(folder / entry.name) for entry in known.segments]
        dead = [set(entry.dead) for entry in known.segments]
        number, _ = _compact(folder, segments, dead, known.next_name, most=ROWS)
        _publish(folder, msgspec.structs.replace(known, next_name=number, segments=_listed(segments, dead)))


def _listed(segments: list[Segment], dead: list[set[int]]) -> list[Entry]:
    return [Entry(name=segment.name, dead=sorted(rows)) for segment, rows in zip(segments, dead, strict=True)]


def _publish(folder: Path, fresh: State) -> None:
    """Put a list in place of the old one, and remove the segments it does not name."""
    temporary = folder / "index.json.new"
    temporary.write_bytes(msgspec.json.encode(fresh))
    os.replace(temporary, folder / "index.json")
    keep = {entry.name for entry in fresh.segments}
    for path in folder.glob("*.seg"):
        if path.name not in keep:
            path.unlink(missing_ok=True)


def _compact(folder: Path, segments: list[Segment], dead: list[set[int]], number: int, *, most: int) -> tuple[int, bool]:
    """Join and clean segments of at most `most` passages together, in place; the order of the passages is kept.

    Returns the next free number, and whether larger ones are due.
    """
    at, later = len(segments) - 1, False
    while at >= 0:
        living = [segment.size - len(rows) for segment, rows in zip(segments, dead, strict=True)]
        span = 1
        if at and living[at - 1] < GROWTH * living[at] and living[at - 1] + living[at] <= ROWS:
            span = 2
        if span == 1 and len(dead[at]) <= DEAD_SHARE * segments[at].size:
            at -= 1
            continue
        part = slice(at - span + 1, at + 1)
        if sum(living[part]) > most:
            at, later = at - 1, True
            continue
        masks = [_mask(s.size, np.array(sorted(d), np.int64)) for s, d in zip(segments[part], dead[part], strict=True)]
        if any(mask.any() for mask in masks):
            segments[part], dead[part] = [_write(folder, number, merge(segments[part], masks))], [set()]
            number += 1
        else:
            segments[part], dead[part] = [], []
        at = min(at, len(segments)) - 1 if span == 1 else at - 1
    return number, later


def _bury(segments: list[Segment], dead: list[set[int]], chunk: int) -> None:
    for segment, rows in zip(segments, dead, strict=True):
        row = int(np.searchsorted(segment.chunk, chunk))
        if row < segment.size and int(segment.chunk[row]) == chunk:
            rows.add(row)
            return


def _inverted(engram: Engram, level: Level, last: int) -> Iterator[tuple[Arrays, int]]:
    meta = engram.meta
    for passages in level.rows(engram, last, ROWS):
        yield invert(passages, constants=meta.constants, mode=meta.shape.mode), int(passages["chunk"][-1])


def _in_memory(engram: Engram, level: Level) -> Index:
    engram.refresh()
    segments = [Segment(pack(arrays), f"memory-{n}") for n, (arrays, _) in enumerate(_inverted(engram, level, 0))]
    return Index(segments, [np.zeros(0, np.int64) for _ in segments], engram.version)


def _load(folder: Path, engram: Engram) -> State | None:
    """Return the list of segments, or None when there is none that fits this engram."""
    try:
        state = msgspec.json.decode((folder / "index.json").read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    fits = state.layout == LAYOUT and state.uid == engram.meta.uid and state.version >= engram.floor()
    named = all("/" not in entry.name and entry.name.endswith(".seg") for entry in state.segments)
    return state if fits and named else None


def _opened(folder: Path, state: State) -> Index:
    segments = [open_segment(folder / entry.name) for entry in state.segments]
    dead = [np.array(entry.dead, np.int64) for entry in state.segments]
    for segment, rows in zip(segments, dead, strict=True):
        if rows.size and (rows.min() < 0 or rows.max() >= segment.size):
            raise StoreError(f"The index file {segment.name} does not fit its list.")
    return Index(segments, dead, state.version)


def _write(folder: Path, number: int, arrays: Arrays) -> Segment:
    path = folder / f"{number:08}.seg"
    data = memoryview(pack(arrays))
    with path.open("wb", buffering=0) as stream:
        for at in range(0, len(data), WRITE_BYTES):
            stream.write(data[at : at + WRITE_BYTES])
    return open_segment(path)


def _free(folder: Path) -> int:
    """Return a number above those of all segments there, which another reader may still be using."""
    return 1 + max((int(path.stem) for path in folder.glob("*.seg") if path.stem.isdigit()), default=0)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _mask(size: int, dead: Any) -> Any:
    mask = np.ones(size, bool)
    mask[dead] = False
    return mask


def _terms_of(segment: Segment, rows: Any) -> Any:
    if not rows.size:
        return np.zeros(0, np.uint32)
    at, _ = segment.statistics(rows)
    return np.sort(segment.terms[at])
