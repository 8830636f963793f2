"""What admins may do with engrams over HTTP: take in uploads and folders, bring up to date, remove. All of it is audited."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from prefrontal.app.knowledge_jobs import Job
from prefrontal.errors import InvalidRequest, NotAllowed, NotFound, PayloadTooLarge
from prefrontal.knowledge.installed import require, unknown_engram
from prefrontal.knowledge.paths import INSIDE
from prefrontal.ledger.vault import Audit

if TYPE_CHECKING:
    from prefrontal.app.library import Prefrontal
    from prefrontal.knowledge.ingest.run import Report, Watcher

LARGE_BYTES = 2_000_000
"""From so many bytes on a folder is read and encoded by another process, so that requests do not wait for it (assumed)."""


class FolderWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder or file to take in. `include` and `exclude` are globs; `prefix` stands before the paths in the engram."""

    path: str
    prefix: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    gitignore: bool = True
    keep_binary: bool = False


async def take_uploads(pf: Prefrontal, name: str, files: Mapping[str, bytes], actor: str, tags: tuple[str, ...] = ()) -> Job:
    """Take in files from memory under their paths. Raises InvalidRequest, PayloadTooLarge, Overloaded."""
    _named(name)
    from prefrontal.knowledge.extract import unsafe
    from prefrontal.knowledge.ingest.run import ingest_documents

    if not files:
        raise InvalidRequest("There is no file in the body.", param="body")
    for path in files:
        wrong = unsafe(path) or ("'!/' stands for what lies inside a file" if INSIDE in path else "")
        if wrong:
            raise InvalidRequest(f"A file cannot be called '{path[:100]}': {wrong}.", param="path")
    limit = pf.config.knowledge.max_upload_bytes
    total = sum(map(len, files.values()))
    if total > limit:
        hint = "knowledge.max_upload_bytes sets the limit."
        raise PayloadTooLarge(f"The files have {total} bytes; {limit} are taken.", hint=hint)

    def work(engram: Path, watch: Watcher) -> Report:
        return ingest_documents(engram, files, clock=pf.clock, tags=tags, watch=watch)

    job = pf.knowledge.jobs.start(name, "files", work)
    await _note(pf, actor, "knowledge.files", name, f"{len(files)} files, {total} bytes, {job.id}")
    return job


async def take_folder(pf: Prefrontal, name: str, wish: FolderWish, actor: str) -> Job:
    """Take in a folder below one of `knowledge.roots`. Raises NotAllowed outside of them, NotFound, Overloaded."""
    _named(name)
    from prefrontal.knowledge.ingest.run import ingest
    from prefrontal.knowledge.ingest.walk import Source

    root = await asyncio.to_thread(allowed_path, wish.path, pf.config.knowledge.roots)
    fields = {field: getattr(wish, field) for field in FolderWish.__struct_fields__ if field != "path"}
    source = Source(root=str(root), **fields)

    def work(engram: Path, watch: Watcher) -> Report:
        return ingest(engram, [source], clock=pf.clock, workers=_workers(source), watch=watch)

    job = pf.knowledge.jobs.start(name, "ingest", work)
    await _note(pf, actor, "knowledge.ingest", name, f"{root}, {job.id}")
    return job


async def refresh(pf: Prefrontal, name: str, actor: str) -> Job:
    """Bring an engram up to date with its folders, all of which must lie below the roots. Raises NotFound, Overloaded."""
    _path(pf, name)
    from prefrontal.knowledge.ingest.run import sources_of, update

    roots = pf.config.knowledge.roots

    def work(engram: Path, watch: Watcher) -> Report:
        for source in sources_of(engram):
            allowed_path(source.root, roots)
        return update(engram, clock=pf.clock, watch=watch)

    job = pf.knowledge.jobs.start(name, "update", work)
    await _note(pf, actor, "knowledge.update", name, job.id)
    return job


async def remove_file(pf: Prefrontal, name: str, file: str, actor: str) -> int:
    """Take a file out of an engram and return the new version. Raises NotFound, Conflict while the engram is being written."""
    path = _path(pf, name)
    from prefrontal.knowledge.ingest.run import remove

    version = await asyncio.to_thread(remove, path, file, clock=pf.clock)
    await _note(pf, actor, "knowledge.remove_file", name, file)
    return version


async def remove(pf: Prefrontal, name: str, actor: str) -> None:
    """Remove an engram. Raises NotFound, Conflict while it is being written."""
    path = _path(pf, name)
    from prefrontal.knowledge.store.remove import remove_engram

    await asyncio.to_thread(pf.knowledge.jobs.drop, name)
    await asyncio.to_thread(remove_engram, path)
    await _note(pf, actor, "knowledge.remove", name, "")


def allowed_path(path: str, roots: tuple[str, ...]) -> Path:
    """Return the real path of what is to be taken in; a relative one is looked for below each root.

    Raises NotAllowed when it lies outside the roots, also by way of a link; NotFound when there is nothing.
    """
    if "\x00" in path:
        raise InvalidRequest("A path has no zero byte.", param="path")
    real = [Path(os.path.realpath(os.path.expanduser(root))) for root in roots]
    candidates = [Path(os.path.realpath(root / path)) for root in real]  # an absolute path stays what it is
    inside = [one for one in candidates if any(one == root or root in one.parents for root in real)]
    if not inside:
        text = f"'{path}' does not lie below one of the folders that may be taken in."
        raise NotAllowed(text, hint="knowledge.roots lists them.")
    found = next((one for one in inside if one.exists()), None)
    if found is None:
        raise NotFound(f"There is no file or folder '{path}'.", param="path")
    return found


def _workers(source: object) -> int:
    from prefrontal.knowledge.ingest.walk import Found, Source, walk

    total = 0
    for found in walk(source) if isinstance(source, Source) else ():
        total += found.size if isinstance(found, Found) else 0
        if total >= LARGE_BYTES:
            return 1
    return 0


def _named(name: str) -> None:
    """Raise InvalidRequest for what cannot be the name of an engram."""
    require()
    from prefrontal.knowledge.cache import NAME

    if not NAME.fullmatch(name) or name.endswith(".engram"):
        hint = "Letters, digits, dot, dash and underscore."
        raise InvalidRequest(f"'{name[:100]}' cannot be the name of an engram.", hint=hint)


def _path(pf: Prefrontal, name: str) -> Path:
    _named(name)
    path = pf.knowledge.folder / f"{name}.engram"
    if not path.is_file():
        raise unknown_engram(name)
    return path


async def _note(pf: Prefrontal, actor: str, action: str, target: str, details: str) -> None:
    await pf.money.vault.note(Audit(at_s=pf.clock.now(), actor=actor, action=action, target=target, details=details))
