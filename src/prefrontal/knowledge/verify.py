"""Checking an engram against itself: hashes, tiling, vectors and sums."""

from __future__ import annotations

import hashlib
import sqlite3

import msgspec

from prefrontal.errors import StoreError
from prefrontal.knowledge.algebra import SparseVector, bundle, vector
from prefrontal.knowledge.store.engram import Engram
from prefrontal.knowledge.store.nodes import total_of
from prefrontal.knowledge.store.rows import FileRow, parents


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong: where, and what."""

    where: str
    problem: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """How much was checked, and what was found; an engram without findings is sound."""

    files: int
    chunks: int
    size_bytes: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify(engram: Engram) -> Verified:
    """Check every file version's bytes against its hash, its passages, and that the sums are those of the living vectors."""
    findings = [Finding(where="database", problem=text) for text in _database(engram)]
    dim = engram.meta.shape.dim
    sums: dict[str, SparseVector] = {}
    files = chunks = size = 0
    for file in engram.every_file():
        files += 1
        chunks += file.chunks
        size += file.stat.size
        wrong = _file(engram, file)
        findings.extend(Finding(where=file.path, problem=text) for text in wrong)
        if file.died is None and file.chunks and not wrong:
            total = total_of(dim, engram.encoded(file.id))
            for folder in parents(file.path):
                sums[folder] = bundle(sums.get(folder, vector(dim, [], [])), total)
    findings.extend(_sums(engram, sums))
    return Verified(files=files, chunks=chunks, size_bytes=size, findings=tuple(findings))


def _database(engram: Engram) -> list[str]:
    try:
        rows = engram.connection.execute("PRAGMA quick_check(20)").fetchall()
    except sqlite3.Error as error:
        return [str(error)]
    return [text for (text,) in rows if text != "ok"]


def _file(engram: Engram, file: FileRow) -> list[str]:
    try:
        data = engram.content(file)
        chunks = engram.chunks(file.id)
        encoded = engram.encoded(file.id)
    except (StoreError, ValueError) as error:
        return [str(error)]
    found = []
    if len(data) != file.stat.size or hashlib.sha256(data).digest() != file.sha256:
        found.append("the bytes do not have the file's hash")
    if len(chunks) != file.chunks or len(encoded) != file.chunks:
        found.append("passages or vectors are missing")
    ends = [0, *(chunk.byte_end for chunk in chunks)]
    if chunks and ([chunk.byte_start for chunk in chunks] != ends[:-1] or ends[-1] != len(data)):
        found.append("the passages do not tile the file")
    found += [
        f"passage {chunk.ordinal} does not have its hash"
        for chunk in chunks
        if hashlib.sha256(data[chunk.byte_start : chunk.byte_end]).digest() != chunk.sha256
    ]
    shape = engram.meta.shape
    for ordinal, one in enumerate(encoded):
        indices = one.indices.astype("int64")
        sizes = one.indices.size == one.values.size <= shape.nonzeros and one.terms.size == one.counts.size == one.flags.size
        if not sizes or (indices.size and (int(indices[-1]) >= shape.dim or bool((indices[1:] <= indices[:-1]).any()))):
            found.append(f"the vector of passage {ordinal} is malformed")
    return found


def _sums(engram: Engram, sums: dict[str, SparseVector]) -> list[Finding]:
    try:
        nodes = {node.path: node for node in engram.nodes()}
    except (StoreError, ValueError) as error:
        return [Finding(where="sums", problem=str(error))]
    found = [Finding(where=path or ".", problem="a sum of nothing is kept") for path in nodes.keys() - sums.keys()]
    wrong = [path for path, total in sums.items() if path not in nodes or nodes[path].total != total]
    found += [Finding(where=path or ".", problem="the sum is not that of the passages below") for path in wrong]
    return sorted(found, key=lambda one: one.where)
