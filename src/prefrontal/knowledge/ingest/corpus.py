"""A corpus in JSON lines as it comes: one document a line, under its id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from prefrontal.knowledge.ingest.prepare import Raw
from prefrontal.knowledge.ingest.walk import MAX_FILE_BYTES, Skipped
from prefrontal.knowledge.store.rows import Stat


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """Names of the fields of a corpus. `path` names the file a document was taken from, where there is such a field."""

    id: str = "_id"
    title: str = "title"
    text: str = "text"
    path: str | None = None


def documents(stream: BinaryIO, fields: Fields, *, name: str = "stdin", tags: tuple[str, ...] = ()) -> Iterator[Raw | Skipped]:
    """Yield the documents of a stream of JSON lines; a line that is none is reported under its number."""
    decoder = msgspec.json.Decoder(dict[str, object])
    number = 0
    while line := stream.readline(MAX_FILE_BYTES + 1):
        number += 1
        where = f"{name}:{number}"
        if len(line) > MAX_FILE_BYTES:
            yield Skipped(path=where, reason="too_large", detail=f"a line of more than {MAX_FILE_BYTES} bytes")
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_FILE_BYTES)
            continue
        if not line.strip():
            continue
        try:
            record = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            yield Skipped(path=where, reason="invalid", detail=str(error))
            continue
        yield _document(record, fields, where, tags)


def _document(record: dict[str, object], fields: Fields, where: str, tags: tuple[str, ...]) -> Raw | Skipped:
    key, text = record.get(fields.id), record.get(fields.text)
    if not isinstance(key, str | int) or isinstance(key, bool) or str(key) == "":
        return Skipped(path=where, reason="invalid", detail=f"no id in field {fields.id!r}")
    if not isinstance(text, str):
        return Skipped(path=where, reason="invalid", detail=f"no text in field {fields.text!r}")
    title = record.get(fields.title)
    path = record.get(fields.path) if fields.path else None
    data = text.encode("utf-8", "replace")
    return Raw(
        path=str(key),
        data=data,
        stat=Stat(size=len(data)),
        source=path if isinstance(path, str) else "",
        title=title if isinstance(title, str) else "",
        tags=tags,
        named=False,
    )
