"""A segment: up to 65,536 passages inverted, as one file of plain arrays that is memory-mapped and never changed.

Postings lie by dimension: the passages that have it (16-bit row numbers, so three bytes a posting) with their weight, the
saturated and length-normalised value. Term statistics lie by passage, with a dictionary of how many passages have a term.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from prefrontal.errors import StoreError
from prefrontal.knowledge.encode import saturated
from prefrontal.knowledge.shape import Constants, Kind, Mode

ROWS = 65_536
"""Most passages of a segment: row numbers fit 16 bits, and a segment's scores the second-level cache."""

MAGIC = b"PFKSEG01"
KINDS: tuple[Kind, ...] = ("prose", "code", "table", "data", "file")
SCALE = 127.0
"""Weight of a value that saturates."""

Arrays = dict[str, Any]


class Place(msgspec.Struct, frozen=True):
    """Where an array lies in a segment's file."""

    kind: str
    count: int
    at: int


class Segment:
    """A segment opened: its arrays are attributes, read-only views of the file."""

    chunk: Any
    file: Any
    length: Any
    dims: Any
    starts: Any
    rows: Any
    weights: Any
    term_starts: Any
    terms: Any
    counts: Any
    flags: Any
    words: Any
    frequencies: Any

    def __init__(self, buffer: bytes | mmap.mmap, name: str) -> None:
        self.name = name
        self._buffer = buffer
        for field, place in _header(buffer, name).items():
            setattr(self, field, np.frombuffer(buffer, place.kind, place.count, place.at))
        self.size = int(self.chunk.size)

    def postings(self, dims: Any) -> list[tuple[int, int]]:
        """Return where the postings of each dimension begin and end."""
        at = np.searchsorted(self.dims, dims)
        inside = np.minimum(at, self.dims.size - 1)
        found = (self.dims[inside] == dims) if self.dims.size else np.zeros(len(dims), bool)
        first = self.starts[inside]
        last = np.where(found, self.starts[inside + 1], first)
        return list(zip(first.tolist(), last.tolist(), strict=True))

    def frequency(self, terms: Any) -> Any:
        """Return in how many passages each term occurs, those that are gone included."""
        if not self.words.size:
            return np.zeros(len(terms), np.int64)
        at = np.minimum(np.searchsorted(self.words, terms), self.words.size - 1)
        return np.where(self.words[at] == terms, self.frequencies[at], 0).astype(np.int64)

    def statistics(self, rows: Any) -> tuple[Any, Any]:
        """Return the positions of the term statistics of some rows, and which of `rows` each belongs to."""
        first, last = self.term_starts[rows].astype(np.int64), self.term_starts[rows + 1].astype(np.int64)
        return gathered(first, last)


def gathered(first: Any, last: Any) -> tuple[Any, Any]:
    """Return all positions of the ranges, and the number of the range each lies in."""
    sizes = last - first
    whose = np.repeat(np.arange(sizes.size), sizes)
    before = np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.arange(int(sizes.sum())) - before + np.repeat(first, sizes), whose


def invert(passages: Arrays, *, constants: Constants, mode: Mode) -> Arrays:
    """Return a segment's arrays from passages in rising order of their numbers.

    `passages` holds chunk, file, length, kind (by passage), sizes and term_sizes, and all values one after another.
    """
    lengths = np.minimum(passages["length"], 65_535)
    row = np.repeat(np.arange(lengths.size), passages["sizes"])
    values = passages["values"].astype(np.float64)
    if mode != "ternary":
        usual = np.array([constants.length(kind) for kind in KINDS])[passages["kind"]]
        values = np.rint(SCALE * np.sign(values) * saturated(np.abs(values), lengths[row], usual[row], constants))
    return _arrays(passages, lengths, row, passages["indices"], values.astype(np.int8))


def _arrays(passages: Arrays, lengths: Any, row: Any, dim: Any, weight: Any) -> Arrays:
    order = np.argsort(dim, kind="stable")
    dims, starts = np.unique(dim[order], return_index=True)
    words, frequencies = np.unique(passages["terms"], return_counts=True)
    return {
        "chunk": passages["chunk"].astype("<i8"),
        "file": passages["file"].astype("<i8"),
        "length": lengths.astype("<u2"),
        "dims": dims.astype("<u4"),
        "starts": np.append(starts, dim.size).astype("<u4"),
        "rows": row[order].astype("<u2"),
        "weights": weight[order].astype("i1"),
        "term_starts": np.concatenate(([0], np.cumsum(passages["term_sizes"]))).astype("<u4"),
        "terms": passages["terms"].astype("<u4"),
        "counts": passages["counts"].astype("u1"),
        "flags": passages["flags"].astype("u1"),
        "words": words.astype("<u4"),
        "frequencies": frequencies.astype("<u4"),
    }


def merge(segments: list[Segment], alive: list[Any]) -> Arrays:
    """Return the arrays of the living passages of several segments, in rising order of their numbers."""
    keep = [np.flatnonzero(mask) for mask in alive]
    passages: dict[str, list[Any]] = {name: [] for name in ("chunk", "file", "length", "term_sizes", "terms", "counts", "flags")}
    row_parts, dim_parts, weight_parts = [], [], []
    offset = 0
    for segment, rows, mask in zip(segments, keep, alive, strict=True):
        new = np.cumsum(mask) - 1 + offset
        living = mask[segment.rows]
        row_parts.append(new[segment.rows[living]])
        dim_parts.append(np.repeat(segment.dims, np.diff(segment.starts.astype(np.int64)))[living])
        weight_parts.append(segment.weights[living])
        at, _ = segment.statistics(rows)
        sizes = np.diff(segment.term_starts.astype(np.int64))[rows]
        found = (
            segment.chunk[rows],
            segment.file[rows],
            segment.length[rows],
            sizes,
            segment.terms[at],
            segment.counts[at],
            segment.flags[at],
        )
        for name, part in zip(passages, found, strict=True):
            passages[name].append(part)
        offset += rows.size
    whole = {name: np.concatenate(parts) for name, parts in passages.items()}
    dim, row = np.concatenate(dim_parts), np.concatenate(row_parts)
    order = np.lexsort((row, dim))
    return _arrays(whole, whole["length"], row[order], dim[order], np.concatenate(weight_parts)[order])


def pack(arrays: Arrays) -> bytes:
    """Return a segment's file: magic, length of the header, header, arrays on boundaries of 64 bytes."""
    places: dict[str, Place] = {}
    header = b""
    base = 4096
    while True:
        at = base
        for name, array in arrays.items():
            places[name] = Place(array.dtype.str, array.size, at)
            at += -(-array.nbytes // 64) * 64
        header = msgspec.json.encode({"size": at, "arrays": places})
        if len(header) + 16 <= base:
            break
        base *= 2
    out = bytearray(at)
    out[:16] = MAGIC + len(header).to_bytes(8, "little")
    out[16 : 16 + len(header)] = header
    for name, array in arrays.items():
        out[places[name].at : places[name].at + array.nbytes] = array.tobytes()
    return bytes(out)


def open_segment(path: Path) -> Segment:
    """Map a segment's file. Raises StoreError when it is none, or is cut short."""
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise StoreError(f"The index file {path.name} is empty.")
            return Segment(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), path.name)
    except (OSError, ValueError) as error:
        raise StoreError(f"The index file {path.name} cannot be read: {error}.") from error


class _Header(msgspec.Struct, frozen=True):
    size: int
    arrays: dict[str, Place]


KNOWN = (
    "chunk",
    "file",
    "length",
    "dims",
    "starts",
    "rows",
    "weights",
    "term_starts",
    "terms",
    "counts",
    "flags",
    "words",
    "frequencies",
)


def _header(buffer: bytes | mmap.mmap, name: str) -> dict[str, Place]:
    if buffer[:8] != MAGIC:
        raise StoreError(f"The index file {name} is not one of ours.")
    size = int.from_bytes(buffer[8:16], "little")
    try:
        header = msgspec.json.decode(buffer[16 : 16 + min(size, 65_536)], type=_Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"The index file {name} is damaged: {error}.") from error
    if header.size != len(buffer) or tuple(header.arrays) != KNOWN:
        raise StoreError(f"The index file {name} is damaged or cut short.")
    return header.arrays
