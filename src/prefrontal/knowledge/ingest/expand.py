"""Files that hold text or files inside: what they become in an engram.

The file itself is kept as it is, so that it can be given back, and is not searched. Its text is a file `PATH!/text`, and a file
inside is `PATH!/NAME`; both live and die with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from prefrontal.knowledge.chunk.languages import FileType
from prefrontal.knowledge.ingest.raw import Raw
from prefrontal.knowledge.ingest.walk import Skipped
from prefrontal.knowledge.paths import INSIDE, TEXT_MEMBER
from prefrontal.knowledge.read.archive import MOST_BYTES
from prefrontal.knowledge.read.readers import Readers, read
from prefrontal.knowledge.read.reading import Reader, Reading, Unreadable
from prefrontal.knowledge.store.rows import Stat

DEEPEST = 3
"""Files inside files inside files are looked into, and no deeper (assumed)."""


def expand(raw: Raw, readers: Readers, *, keep_binary: bool) -> list[Raw | Skipped]:
    """Return a file itself when no reader takes it, else what it becomes. What cannot be read is reported and left out."""
    reader = readers.reader(raw.path) if raw.named else None
    if reader is None:
        return [raw]
    return list(_bounded(_opened(raw, reader, readers, keep_binary=keep_binary, depth=1), raw))


def _opened(raw: Raw, reader: Reader, readers: Readers, *, keep_binary: bool, depth: int) -> Iterator[Raw | Skipped]:
    kept = _with(raw, kept=reader.name)
    try:
        reading = read(reader, raw.data)
    except Unreadable as error:
        if keep_binary:
            yield kept
        yield Skipped(path=raw.path, reason=error.reason, detail=error.detail)
        return
    yield kept
    if reading.text.strip():
        yield _text(raw, reader, reading)
    for member in reading.members:
        path = raw.path + INSIDE + member.name
        if member.reason:
            yield Skipped(path=path, reason=member.reason, detail=member.detail)
            continue
        inner = _with(raw, path=path, data=member.data, stat=Stat(size=len(member.data), mtime_ns=raw.stat.mtime_ns))
        further = readers.reader(path)
        if further is None:
            yield inner
        elif depth < DEEPEST:
            yield from _opened(inner, further, readers, keep_binary=keep_binary, depth=depth + 1)
        else:
            yield Skipped(path=path, reason="too_deep", detail=f"more than {DEEPEST} files around it")


def _bounded(found: Iterator[Raw | Skipped], outer: Raw) -> list[Raw | Skipped]:
    """Return what was found, or the file refused when all that lies inside it is too much together."""
    taken: list[Raw | Skipped] = []
    total = 0
    for one in found:
        total += len(one.data) if isinstance(one, Raw) and one.path != outer.path else 0
        if total > MOST_BYTES:
            return [Skipped(path=outer.path, reason="bomb", detail=f"it would unpack to more than {MOST_BYTES} bytes")]
        taken.append(one)
    return taken


def _text(raw: Raw, reader: Reader, reading: Reading) -> Raw:
    data = reading.text.encode("utf-8", "replace")
    return _with(
        raw,
        path=raw.path + TEXT_MEMBER,
        data=data,
        stat=Stat(size=len(data), mtime_ns=raw.stat.mtime_ns),
        source=raw.path,
        title=raw.title or reading.title,
        type=FileType(name=reader.name, kind="prose", cutter="prose"),
    )


def _with(raw: Raw, **changes: Any) -> Raw:
    return msgspec.structs.replace(raw, **changes)
