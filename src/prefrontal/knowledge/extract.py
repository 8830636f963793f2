"""Getting files back, bit for bit, each whole or not at all, and never outside the folder they are meant for."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from prefrontal.errors import InvalidRequest, StoreError
from prefrontal.knowledge.match import Globs
from prefrontal.knowledge.paths import outermost
from prefrontal.knowledge.store.engram import Engram
from prefrontal.knowledge.store.rows import FileRow

DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"] + [f"{name}{n}" for name in ("com", "lpt") for n in "0123456789¹²³"]
)
"""Names that some systems take for devices, whatever ending they have."""

LONGEST_NAME = 255


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was not written, and why."""

    path: str
    reason: str


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: paths below the target folder, and their bytes together. `refused` names what was not."""

    paths: tuple[str, ...]
    size_bytes: int
    refused: tuple[Refused, ...] = ()


def extract(
    engram: Engram,
    target: Path,
    *,
    globs: Sequence[str] = (),
    version: int | None = None,
    replace: bool = False,
    inside: bool = False,
    watch: Callable[[str], None] | None = None,
) -> Extracted:
    """Write the files of a version (the one seen, by default) that match any of `globs` (all, without) below `target`.

    Every file is checked against its hash, written beside its place and put there in one step; a file that is there already
    stays unless `replace`. Names that would leave the folder, pass through a link or mean a device are refused and listed,
    as is a file whose stored bytes are damaged. `inside`: also what was read out of files and archives. Raises InvalidRequest
    for a bad glob or version, StoreError when the folder cannot be written.
    """
    if version is not None and not 0 <= version <= engram.version:
        raise InvalidRequest(f"{engram.path.name} has versions up to {engram.version}, not {version}.", param="version")
    chosen = Globs(include=globs)
    target = target.absolute()
    written: list[str] = []
    refused: list[Refused] = []
    size = 0
    kept: set[str] = set()  # files with others inside; they come before those
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in engram.files(version=version):
            if not file.encoding:
                kept.add(file.path)
            if not chosen.match(file.path) or (not inside and outermost(file.path, kept) != file.path):
                continue
            reason = unsafe(file.path) or _write(engram, file, target, replace=replace)
            if reason:
                refused.append(Refused(path=file.path, reason=reason))
                continue
            written.append(file.path)
            size += file.stat.size
            if watch:
                watch(file.path)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error}.") from error
    return Extracted(paths=tuple(written), size_bytes=size, refused=tuple(refused))


def unsafe(path: str) -> str:
    """Return why a path must not be written, or nothing when it may."""
    if not path or "\x00" in path:
        return "no usable name"
    if path.startswith(("/", "\\")) or (len(path) > 1 and path[1] == ":" and path[0].isalpha()):
        return "absolute path"
    for name in path.replace("\\", "/").split("/"):
        if name in ("", ".", ".."):
            return "leaves the folder"
        if name.split(".")[0].strip().lower() in DEVICES:
            return "name of a device"
        if len(os.fsencode(name)) > LONGEST_NAME:
            return "name too long"
    return ""


def _write(engram: Engram, file: FileRow, target: Path, *, replace: bool) -> str:
    """Write one file; return why not, or nothing."""
    folder = _folder(target, file.path.split("/")[:-1])
    if isinstance(folder, str):
        return folder
    try:
        return _put(folder, file.path.rsplit("/", 1)[-1], lambda: _content(engram, file), replace=replace)
    finally:
        os.close(folder)


def _folder(target: Path, names: Sequence[str]) -> int | str:
    """Open the folder step by step, so that no step can be a link; return its descriptor, or why it cannot be used."""
    here = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for name in names:
        try:
            try:
                os.mkdir(name, dir_fd=here)
            except FileExistsError:
                pass
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        except NotADirectoryError:
            os.close(here)
            return "a link or file stands where a folder must be"
        except OSError as error:
            os.close(here)
            return "passes through a link" if error.errno in (40, 62) else f"folder cannot be made: {error.strerror}"
        os.close(here)
        here = below
    return here


def _put(folder: int, name: str, content: Callable[[], bytes], *, replace: bool) -> str:
    there = _about(folder, name)
    if there is not None:
        if stat.S_ISLNK(there.st_mode):
            return "a link of that name is there"
        if not stat.S_ISREG(there.st_mode):
            return "something of that name is there"
        if not replace:
            return "a file of that name is there"
    try:
        data = content()
    except StoreError as error:
        return f"damaged: {error.message}"
    temporary = f".prefrontal-{secrets.token_hex(8)}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder)
    try:
        with open(file, "wb") as stream:
            stream.write(data)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
    return ""


def _about(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _content(engram: Engram, file: FileRow) -> bytes:
    data = engram.content(file)
    if len(data) != file.stat.size or hashlib.sha256(data).digest() != file.sha256:
        raise StoreError(f"the bytes of {file.path!r} do not have their hash")
    return data
