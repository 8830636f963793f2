"""Results as they are shown: where each stands in the file that people know, and bytes that can be checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from prefrontal.knowledge.read.origin import Origins
from prefrontal.knowledge.read.readers import installed_readers
from prefrontal.knowledge.search.searcher import Hit
from prefrontal.knowledge.store.engram import Engram


def shown(hits: Sequence[Hit], engram: Engram, name: str) -> list[dict[str, Any]]:
    """Return hits as objects for JSON.

    `path` and `lines` (or `page`) are those of the file as it came; they are None where such a file has none. `citation` names
    the bytes that were found: of `file`, which is `PATH!/text` when the text was read out of `path`.
    """
    origins = Origins(engram, installed_readers())
    return [_shown(hit, origins, name) for hit in hits]


def printable(text: str) -> str:
    """Return text that can be written as UTF-8: stray bytes of a name are shown escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _shown(hit: Hit, origins: Origins, name: str) -> dict[str, Any]:
    origin = origins.of(hit.path, hit.sha256, hit.heading, (hit.line_start, hit.line_end))
    lines: list[int | None] | None = None
    if origin is None:
        lines = [hit.line_start, hit.line_end]
    elif origin.line_start is not None:
        lines = [origin.line_start, origin.line_end]
    return {
        "score": hit.score,
        "path": printable(origin.path if origin else hit.source or hit.path),
        "lines": lines,
        "page": origin.page if origin else None,
        "title": hit.title,
        "heading": hit.heading,
        "symbol": hit.symbol,
        "type": hit.type,
        "text": hit.text,
        "matches": [{"term": m.term, "count": m.count, "fields": m.fields, "part": m.part} for m in hit.matches],
        "citation": {
            "engram": name,
            "file": printable(hit.path),
            "bytes": [hit.byte_start, hit.byte_end],
            "lines": [hit.line_start, hit.line_end],
            "version": hit.version,
            "sha256": hit.sha256,
        },
        "passage": hit.chunk,
    } | ({} if hit.blend is None else {"blend": msgspec.to_builtins(hit.blend)})
