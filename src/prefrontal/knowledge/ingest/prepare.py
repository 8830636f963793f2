"""Bytes to a row ready to be written. Each result depends on its own file only, so it can be made in any process."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import stat
import textwrap
from collections.abc import Sequence

from prefrontal.knowledge.chunk.cut import Chunk, cut
from prefrontal.knowledge.chunk.languages import PYTHON, TEXT, FileType, file_type
from prefrontal.knowledge.encode import Encoder, Passage
from prefrontal.knowledge.ingest.decode import decode
from prefrontal.knowledge.ingest.expand import expand
from prefrontal.knowledge.ingest.raw import Raw as Raw
from prefrontal.knowledge.ingest.walk import Found, Skipped
from prefrontal.knowledge.read.readers import Readers, installed_readers
from prefrontal.knowledge.store.rows import Prepared, Stat, pack_parts

LIKE_PYTHON = re.compile(r"^\s*(?:async\s+def|def|class)\s+\w+.*:\s*(?:#.*)?$", re.MULTILINE)


def read(found: Found, *, max_bytes: int, tags: tuple[str, ...] = (), origin: str = "") -> Raw | Skipped:
    """Read a file without following links. The stamps are those of what was read, not of what was seen before."""
    try:
        file = os.open(found.disk, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(file, "rb") as stream:
            about = os.fstat(file)
            if not stat.S_ISREG(about.st_mode):
                return Skipped(path=found.path, reason="special", detail="not a plain file")
            data = stream.read(max_bytes + 1)
    except OSError as error:
        return Skipped(path=found.path, reason="unreadable", detail=error.strerror or str(error))
    if len(data) > max_bytes:
        return Skipped(path=found.path, reason="too_large", detail=f"more than {max_bytes} bytes")
    stamp = Stat(size=len(data), mtime_ns=about.st_mtime_ns, inode=about.st_ino)
    return Raw(path=found.path, data=data, stat=stamp, tags=tags, origin=origin)


def prepare(
    raws: Sequence[Raw], encoder: Encoder, *, keep_binary: bool = False, readers: Readers | None = None
) -> list[Prepared | Skipped]:
    """Cut and encode files, in one go because that is faster; what was left out comes first, the rest in the order of `raws`.

    A file that a reader takes is followed by its text and by the files inside it.
    """
    readers = readers or installed_readers()
    expanded = [one for raw in raws for one in expand(raw, readers, keep_binary=keep_binary)]
    skipped: list[Prepared | Skipped] = [one for one in expanded if isinstance(one, Skipped)]
    return skipped + _encoded([one for one in expanded if isinstance(one, Raw)], encoder, keep_binary=keep_binary)


def _encoded(raws: Sequence[Raw], encoder: Encoder, *, keep_binary: bool) -> list[Prepared | Skipped]:
    plans = [_plan(raw, keep_binary=keep_binary) for raw in raws]
    passages = [passage for plan in plans if not isinstance(plan, Skipped) for passage in plan[3]]
    encoded = iter(encoder.many(passages))
    results: list[Prepared | Skipped] = []
    for raw, plan in zip(raws, plans, strict=True):
        if isinstance(plan, Skipped):
            results.append(plan)
            continue
        kind, encoding, chunks, mine = plan
        results.append(
            Prepared(
                path=raw.path,
                source=raw.source,
                origin=raw.origin,
                stat=raw.stat,
                sha256=hashlib.sha256(raw.data).digest(),
                type=kind.name,
                encoding=encoding,
                kind=kind.kind,
                title=raw.title,
                tags=raw.tags,
                parts=pack_parts(raw.data),
                chunks=tuple(chunks),
                encoded=tuple(next(encoded) for _ in mine),
                digests=tuple(hashlib.sha256(raw.data[c.byte_start : c.byte_end]).digest() for c in chunks),
            )
        )
    return results


Plan = tuple[FileType, str, list[Chunk], list[Passage]]


def _plan(raw: Raw, *, keep_binary: bool) -> Plan | Skipped:
    if raw.kept:
        return FileType(name=raw.kept, kind="data", cutter="structure"), "", [], []
    decoded = decode(raw.data)
    if decoded is None:
        if keep_binary:
            return FileType(name="binary", kind="data", cutter="structure"), "", [], []
        return Skipped(path=raw.path, reason="binary", detail="not text")
    text, encoding = decoded
    kind = raw.type or file_type(raw.source or raw.path)
    if kind is TEXT and not os.path.splitext(raw.source or raw.path)[1] and _like_python(text):
        kind = PYTHON
    chunks = cut(text, kind, encoding)
    return kind, encoding, chunks, [_passage(raw, kind, chunk, n) for n, chunk in enumerate(chunks)]


def _passage(raw: Raw, kind: FileType, chunk: Chunk, ordinal: int) -> Passage:
    """Say what of a chunk counts. A document's title is content once; a table's header is content of every passage."""
    again = chunk.heading if kind.kind == "table" else ""
    return Passage(
        text=chunk.text,
        heading=raw.title if ordinal == 0 else again,
        title=f"{raw.title} {chunk.heading}".strip() if ordinal or chunk.heading else "",
        symbol=chunk.symbol,
        path=os.path.splitext(raw.source or (raw.path if raw.named else ""))[0],
        language=kind.language,
        kind=kind.kind,
    )


def _like_python(text: str) -> bool:
    if not LIKE_PYTHON.search(text[:10_000]):
        return False
    try:
        ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
