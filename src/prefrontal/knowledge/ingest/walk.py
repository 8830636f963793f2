"""Finding files: folders, single files and globs, less what `.gitignore` and the limits leave out."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from prefrontal.errors import NotFound
from prefrontal.knowledge.match import Globs

MAX_FILE_BYTES = 32 * 1024 * 1024
"""Larger files are reported and skipped (assumed: what people write is smaller)."""

NEVER = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A folder or file that an engram is made of. `prefix` stands before its files' paths in the engram.

    `include` and `exclude` are globs over the path below the folder; without `include` everything counts. `gitignore`: whether
    `.gitignore` files are honoured. `keep_binary`: binary files are kept, so that they can be extracted, but not searched.
    """

    root: str
    prefix: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    gitignore: bool = True
    keep_binary: bool = False
    max_file_bytes: int = MAX_FILE_BYTES
    tags: tuple[str, ...] = ()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A file on disk and what it is called in the engram."""

    disk: str
    path: str
    size: int
    mtime_ns: int
    inode: int


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was not taken in, and why: `too_large`, `binary`, `unreadable`, `link`, `special` or `invalid`."""

    path: str
    reason: str
    detail: str = ""


def walk(source: Source) -> Iterator[Found | Skipped]:
    """Yield the files of a source in the order of their paths. Links are not followed. Raises NotFound without the root."""
    root = Path(source.root)
    if not root.exists():
        raise NotFound(f"There is no file or folder {source.root}.")
    globs = Globs(include=source.include, exclude=source.exclude)
    if not root.is_dir():
        yield _found(str(root), _joined(source.prefix, root.name), source)
        return
    yield from _folder(str(root), "", source, globs, [])


def _folder(
    disk: str, below: str, source: Source, globs: Globs, ignoring: Sequence[tuple[str, object]]
) -> Iterator[Found | Skipped]:
    try:
        entries = sorted(os.scandir(disk), key=lambda entry: entry.name)
    except OSError as error:
        yield Skipped(path=_joined(source.prefix, below), reason="unreadable", detail=str(error))
        return
    rules = list(ignoring)
    if source.gitignore and any(entry.name == ".gitignore" for entry in entries):
        rules += _rules(os.path.join(disk, ".gitignore"), below)
    base, prefix = below and f"{below}/", source.prefix and f"{source.prefix}/"
    for entry in entries:
        name, path = entry.name, base + entry.name
        try:
            folder = entry.is_dir(follow_symlinks=False)
        except OSError:
            folder = False
        if (folder and (name in NEVER or name.endswith(".index"))) or (rules and _ignored(path, rules, folder=folder)):
            continue
        if folder:
            yield from _folder(entry.path, path, source, globs, rules)
        elif ".engram" not in name and globs.match(path):
            yield _found(entry.path, prefix + path, source)


def _found(disk: str, path: str, source: Source) -> Found | Skipped:
    try:
        about = os.lstat(disk)
    except OSError as error:
        return Skipped(path=path, reason="unreadable", detail=str(error))
    if stat.S_ISLNK(about.st_mode):
        return Skipped(path=path, reason="link", detail="links are not followed")
    if not stat.S_ISREG(about.st_mode):
        return Skipped(path=path, reason="special", detail="not a plain file")
    if about.st_size > source.max_file_bytes:
        return Skipped(path=path, reason="too_large", detail=f"{about.st_size} bytes; the limit is {source.max_file_bytes}")
    return Found(disk=disk, path=path, size=about.st_size, mtime_ns=about.st_mtime_ns, inode=about.st_ino)


def _rules(file: str, below: str) -> list[tuple[str, object]]:
    from pathspec import GitIgnoreSpec

    try:
        lines = Path(file).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [(below, GitIgnoreSpec.from_lines(lines))]


def _ignored(path: str, rules: Sequence[tuple[str, object]], *, folder: bool) -> bool:
    """Return what the innermost `.gitignore` that has an opinion says."""
    for below, spec in reversed(rules):
        inside = path[len(below) + 1 :] if below else path
        verdict = spec.check_file(inside + "/" if folder else inside).include  # type: ignore[attr-defined]  # imported lazily
        if verdict is not None:
            return bool(verdict)
    return False


def _joined(above: str, name: str) -> str:
    return f"{above}/{name}" if above and name else above or name


def picked(source: Source, paths: Collection[str]) -> Iterator[Found | Skipped]:
    """Yield those of the files a walk would yield whose paths below the root are named, without looking at any other."""
    globs = Globs(include=source.include, exclude=source.exclude)
    rules: dict[str, list[tuple[str, object]]] = {}
    for path in sorted(paths):
        *folders, name = path.split("/")
        above = ["/".join(folders[:n]) for n in range(1, len(folders) + 1)]
        hidden = any(part in NEVER or part.endswith(".index") for part in folders) or ".engram" in name
        disk = os.path.join(source.root, path)
        linked = any(os.path.islink(os.path.join(source.root, folder)) for folder in above)
        if hidden or linked or not os.path.lexists(disk) or (os.path.isdir(disk) and not os.path.islink(disk)):
            continue
        if source.gitignore and _hidden(source, above, path, rules):
            continue
        if globs.match(path):
            yield _found(disk, _joined(source.prefix, path), source)


def _hidden(source: Source, above: Sequence[str], path: str, known: dict[str, list[tuple[str, object]]]) -> bool:
    """Return whether a `.gitignore` on the way to a file leaves it, or a folder it lies in, out."""
    rules: list[tuple[str, object]] = []
    for below, inner in zip(("", *above), (*above, path), strict=True):
        if below not in known:
            known[below] = _rules(os.path.join(source.root, below, ".gitignore"), below)
        rules = rules + known[below]
        if _ignored(inner, rules, folder=inner is not path):
            return True
    return False
