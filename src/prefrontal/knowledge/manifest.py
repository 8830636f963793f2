"""The citation trail as data: what an engram holds, where each passage stands, and which bytes it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from prefrontal.knowledge.store.engram import Engram


class ManifestChunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A passage: half-open byte range, lines from 1 with the last one included, SHA-256 of its bytes."""

    bytes: tuple[int, int]
    lines: tuple[int, int]
    sha256: str
    symbol: str = ""
    heading: str = ""


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file with its passages. `version`: the engram version since which it is as it is."""

    path: str
    size_bytes: int
    sha256: str
    version: int
    type: str
    encoding: str
    title: str
    tags: tuple[str, ...]
    chunks: tuple[ManifestChunk, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole engram at one version."""

    engram: str
    format: int
    version: int
    created_s: float
    dim: int
    nonzeros: int
    mode: str
    seed: int
    files: tuple[ManifestFile, ...]


def manifest(engram: Engram, *, version: int | None = None) -> Manifest:
    """Return the manifest of a version (by default the one seen)."""
    meta, shape = engram.meta, engram.meta.shape
    return Manifest(
        engram=meta.uid,
        format=meta.format,
        version=engram.version if version is None else version,
        created_s=meta.created_s,
        dim=shape.dim,
        nonzeros=shape.nonzeros,
        mode=shape.mode,
        seed=shape.seed,
        files=tuple(_files(engram, version)),
    )


def manifest_json(engram: Engram, *, version: int | None = None) -> bytes:
    """Return the manifest as JSON; names that are no Unicode are written with their stray bytes escaped."""
    return msgspec.json.encode(_printable(msgspec.to_builtins(manifest(engram, version=version))))


def _files(engram: Engram, version: int | None) -> Iterator[ManifestFile]:
    for file in engram.files(version=version):
        yield ManifestFile(
            path=file.path,
            size_bytes=file.stat.size,
            sha256=file.sha256.hex(),
            version=file.born,
            type=file.type,
            encoding=file.encoding,
            title=file.title,
            tags=file.tags,
            chunks=tuple(
                ManifestChunk(
                    bytes=(chunk.byte_start, chunk.byte_end),
                    lines=(chunk.line_start, chunk.line_end),
                    sha256=chunk.sha256.hex(),
                    symbol=chunk.symbol,
                    heading=chunk.heading,
                )
                for chunk in engram.chunks(file.id)
            ),
        )


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _printable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(inner) for inner in value]
    return value
