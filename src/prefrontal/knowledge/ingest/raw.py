"""A file's bytes on their way into an engram."""

from __future__ import annotations

import msgspec

from prefrontal.knowledge.chunk.languages import FileType
from prefrontal.knowledge.store.rows import Stat


class Raw(msgspec.Struct, frozen=True, kw_only=True):
    """A file's bytes and what is known about them.

    `source` is the path a corpus gives beside the id, or the file that a text was read out of; `title` its title; `named` is
    False when the path is a mere number; `origin` is the root of the source that keeps the file up to date, empty for documents
    that came once. `type` overrides what the name says; `kept` names the type of a file that is kept as it is and not searched.
    """

    path: str
    data: bytes
    stat: Stat
    source: str = ""
    title: str = ""
    tags: tuple[str, ...] = ()
    named: bool = True
    origin: str = ""
    type: FileType | None = None
    kept: str = ""
