"""Archives: zip and tar, compressed or not. Unpacked in memory, within bounds, and never to a place of the archive's choice."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from prefrontal.knowledge.extract import unsafe
from prefrontal.knowledge.ingest.walk import MAX_FILE_BYTES, NEVER
from prefrontal.knowledge.read.reading import Member, Reading, Unreadable

MOST_MEMBERS = 10_000
MOST_BYTES = 256 * 1024 * 1024
"""Files of an archive, and bytes they may unpack to (assumed; all of it is in memory at once)."""

MOST_RATIO = 200
RATIO_FROM = 16 * 1024 * 1024
"""From this many bytes on, an archive that unpacks to more than this many times its size is a bomb (assumed)."""

LZMA_BYTES = 128 * 1024 * 1024
IGNORED = NEVER | {"__MACOSX", ".DS_Store"}


def read_zip(data: bytes) -> Reading:
    """Return the files of a zip archive. Raises Unreadable for a bomb and for what is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_count(len(entries))
            return Reading(members=_gathered(_zipped(archive, entries), len(data)))
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise Unreadable("invalid", f"not a readable zip archive: {error}") from error


def read_tar(data: bytes) -> Reading:
    """Return the files of a tar archive, also one packed by gzip, bzip2 or xz. Raises Unreadable as `read_zip` does."""
    try:
        plain = _unpacked(data)
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            return Reading(members=_gathered(_tarred(archive), len(data)))
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise Unreadable("invalid", f"not a readable tar archive: {error}") from error


def allowed_bytes(size: int) -> int:
    """Return how many bytes a file of `size` may unpack to."""
    return min(MOST_BYTES, max(RATIO_FROM, MOST_RATIO * size))


def _unpacked(data: bytes) -> bytes:
    """Return the bytes of the tar file itself, reading no further than is allowed."""
    limit = allowed_bytes(len(data))
    if data.startswith(b"\x1f\x8b"):
        plain = gzip.GzipFile(fileobj=io.BytesIO(data)).read(limit + 1)
    elif data.startswith(b"BZh"):
        plain = bz2.BZ2File(io.BytesIO(data)).read(limit + 1)
    elif data.startswith(b"\xfd7zXZ"):
        plain = lzma.LZMADecompressor(memlimit=LZMA_BYTES).decompress(data, limit + 1)
    else:
        return data
    if len(plain) > limit:
        raise _bomb(limit)
    return plain


def _zipped(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> Iterator[Member]:
    for entry in entries:
        if entry.is_dir() or _ignored(entry.filename):
            continue
        if stat.S_ISLNK(entry.external_attr >> 16):
            yield Member(name=entry.filename, reason="link", detail="links are not followed")
        elif entry.flag_bits & 1:
            yield Member(name=entry.filename, reason="unreadable", detail="locked by a password")
        elif entry.file_size > MAX_FILE_BYTES:
            yield _too_large(entry.filename)
        else:
            with archive.open(entry) as stream:
                yield Member(name=entry.filename, data=stream.read(MAX_FILE_BYTES + 1))


def _tarred(archive: tarfile.TarFile) -> Iterator[Member]:
    for number, entry in enumerate(archive):
        _check_count(number + 1)
        if entry.isdir() or _ignored(entry.name):
            continue
        if not entry.isreg():
            yield Member(
                name=entry.name, reason="link" if entry.issym() or entry.islnk() else "special", detail="not a plain file"
            )
        elif entry.size > MAX_FILE_BYTES:
            yield _too_large(entry.name)
        else:
            stream = archive.extractfile(entry)
            yield Member(name=entry.name, data=stream.read(MAX_FILE_BYTES + 1) if stream else b"")


def _gathered(members: Iterator[Member], size: int) -> tuple[Member, ...]:
    """Return the members by their names, the last of a name; those whose names could leave a folder are left out."""
    limit, total = allowed_bytes(size), 0
    found: dict[str, Member] = {}
    for one in members:
        name = one.name.removeprefix("./")
        total += len(one.data)
        if total > limit:
            raise _bomb(limit)
        why = unsafe(name)
        if why:
            found[one.name] = Member(name=one.name, reason="unsafe", detail=why)
        elif len(one.data) > MAX_FILE_BYTES:
            found[name] = _too_large(name)
        else:
            found[name] = Member(name=name, data=one.data, reason=one.reason, detail=one.detail)
    return tuple(found[name] for name in sorted(found))


def _check_count(count: int) -> None:
    if count > MOST_MEMBERS:
        raise Unreadable("bomb", f"more than {MOST_MEMBERS} files inside")


def _ignored(name: str) -> bool:
    return any(part in IGNORED for part in name.split("/"))


def _too_large(name: str) -> Member:
    return Member(name=name, reason="too_large", detail=f"more than {MAX_FILE_BYTES} bytes")


def _bomb(limit: int) -> Unreadable:
    return Unreadable("bomb", f"it would unpack to more than {limit} bytes")
