"""Rows of an engram as structs, and the two packings: paths that are no Unicode, and blobs that may be compressed."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec

from prefrontal.errors import StoreError
from prefrontal.knowledge.chunk.cut import Chunk
from prefrontal.knowledge.encode import Encoded

PART_BYTES = 65_536
"""A file's bytes are stored in parts of this size, so that a passage is read without unpacking the whole file (assumed)."""

LEVEL = 3
"""Compression level of zlib (measured on Python source: 6 takes 1.9 times as long and saves 9 %)."""

PLAIN, ZLIB = 0, 1


class Stat(msgspec.Struct, frozen=True, kw_only=True):
    """What tells without reading whether a file may have changed."""

    size: int
    mtime_ns: int = 0
    inode: int = 0


class FileRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a file.

    `born` and `died` are engram versions, `died` is None while it lives; `source` is the path that a corpus gives a document
    beside its id, or empty; `origin` the root of the source that keeps it up to date, or empty.
    """

    id: int
    path: str
    source: str
    origin: str
    born: int
    died: int | None
    stat: Stat
    sha256: bytes
    type: str
    encoding: str
    title: str
    tags: tuple[str, ...]
    chunks: int

    def decode(self, data: bytes) -> str:
        """Return bytes of the file as text, what cannot be read replaced."""
        try:
            return data.decode(self.encoding or "utf-8", "replace")
        except (LookupError, ValueError):
            return data.decode("utf-8", "replace")


class ChunkRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where a passage stands."""

    id: int
    file: int
    ordinal: int
    byte_start: int
    byte_end: int
    line_start: int
    line_end: int
    symbol: str
    heading: str
    kind: str
    sha256: bytes


class Part(msgspec.Struct, frozen=True):
    """A stored piece of a file: hash and size of its plain bytes, codec, and what is stored."""

    sha256: bytes
    size: int
    codec: int
    data: bytes


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A file read, cut and encoded, ready to be written.

    `chunks`, `encoded` and `digests` (SHA-256 of a passage's bytes) go
    together; they are empty for binaries that are only kept.
    """

    path: str
    source: str = ""
    origin: str = ""
    stat: Stat
    sha256: bytes
    type: str
    encoding: str
    kind: str
    title: str = ""
    tags: tuple[str, ...] = ()
    parts: tuple[Part, ...]
    chunks: tuple[Chunk, ...]
    encoded: tuple[Encoded, ...]
    digests: tuple[bytes, ...]


def pack_parts(data: bytes) -> tuple[Part, ...]:
    """Divide a file's bytes into parts, each compressed when that makes it smaller."""
    return tuple(_part(data[at : at + PART_BYTES]) for at in range(0, len(data), PART_BYTES))


def _part(plain: bytes) -> Part:
    packed = zlib.compress(plain, LEVEL)
    codec, data = (ZLIB, packed) if len(packed) < len(plain) else (PLAIN, plain)
    return Part(hashlib.sha256(plain).digest(), len(plain), codec, data)


def unpack(sha256: bytes, size: int, codec: int, data: bytes) -> bytes:
    """Return the plain bytes. Raises StoreError when they are not what the hash says, without unpacking more than `size`."""
    expect("stored part", bytes, sha256, data)
    whole("stored part", size, codec)
    if codec == PLAIN:
        plain = data
    elif codec == ZLIB and 0 <= size <= PART_BYTES:
        unpacker = zlib.decompressobj()
        try:
            plain = unpacker.decompress(data, size + 1)
        except zlib.error as error:
            raise StoreError(f"Stored bytes {sha256.hex()[:16]} are damaged: {error}.") from error
    else:
        raise StoreError(f"Stored bytes {sha256.hex()[:16]} have an unknown packing.")
    if len(plain) != size or hashlib.sha256(plain).digest() != sha256:
        raise StoreError(f"Stored bytes {sha256.hex()[:16]} are damaged: their hash does not match.")
    return plain


def path_out(path: str) -> str | bytes:
    """Return what is stored for a path: text, or the raw bytes of a name that is no Unicode."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def path_in(stored: Any) -> str:
    """Return the path of what is stored."""
    return os.fsdecode(stored) if isinstance(stored, bytes) else str(stored)


def parents(path: str) -> Iterator[str]:
    """Yield the directories above a path, the innermost first; the last is the empty path, the whole engram."""
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        if path:
            yield path
    yield ""


FILE_COLUMNS = "id, path, source, origin, born, died, size, mtime_ns, inode, sha256, type, encoding, title, tags, chunks"
CHUNK_COLUMNS = "id, file, ordinal, byte_start, byte_end, line_start, line_end, symbol, heading, kind, sha256"


def file_row(row: tuple[Any, ...]) -> FileRow:
    """Build a row of `FILE_COLUMNS`. Raises StoreError when a column does not hold what it should."""
    number, path, source, origin, born, died, size, mtime_ns, inode, sha256, kind, encoding, title, tags, chunks = row
    whole("file", number, born, 0 if died is None else died, size, chunks)
    expect("file", int, mtime_ns, inode)
    expect("file", str, source, origin, kind, encoding, title, tags)
    expect("file", bytes, sha256)
    expect("file", (str, bytes), path)
    return FileRow(
        id=number,
        path=path_in(path),
        source=source,
        origin=origin,
        born=born,
        died=died,
        stat=Stat(size=size, mtime_ns=mtime_ns, inode=inode),
        sha256=sha256,
        type=kind,
        encoding=encoding,
        title=title,
        tags=tuple(tags.split("\n")) if tags else (),
        chunks=chunks,
    )


def chunk_row(row: tuple[Any, ...]) -> ChunkRow:
    """Build a row of `CHUNK_COLUMNS`. Raises StoreError when a column does not hold what it should."""
    whole("passage", *row[:7])
    expect("passage", str, *row[7:10])
    expect("passage", bytes, row[10])
    if row[3] > row[4]:
        raise StoreError("The engram is damaged: a passage ends before it starts.")
    return ChunkRow(**dict(zip(ChunkRow.__struct_fields__, row, strict=True)))


def expect(what: str, kind: type | tuple[type, ...], *values: Any) -> None:
    """Raise StoreError unless all values are of a kind: a database takes anything anywhere, so an engram from elsewhere may."""
    for value in values:
        if not isinstance(value, kind):
            raise StoreError(f"The engram is damaged: a {what} has a column of the wrong kind.")


def whole(what: str, *values: Any) -> None:
    """Raise StoreError unless all values are integers from 0 to 2^53."""
    expect(what, int, *values)
    if min(values) < 0 or max(values) > 1 << 53:
        raise StoreError(f"The engram is damaged: a {what} has an impossible figure.")
