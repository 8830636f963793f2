"""`prefrontal models pull`: fetches a GGUF file from the Hugging Face hub into the models folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from prefrontal.cli.screen import Screen
from prefrontal.cli.words import size
from prefrontal.config.problems import nearest
from prefrontal.errors import Conflict, InvalidRequest, NotFound, PrefrontalError, ProviderMisbehaved

PREFERRED = ("Q4_K_M", "Q4_K_S", "Q5_K_M", "Q4_0", "Q8_0", "F16", "BF16")
"""Which file is taken when nobody says. Assumed: four bits, important weights kept finer, lose little and fit most machines."""

INCOMING = ".incoming"
"""Folder inside the models folder where a download grows; a half file there is never taken for a model."""

SPARE_BYTES = 256 * 1024 * 1024
"""Room that a download leaves on the disk (assumed)."""

_PART = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)
_QUANT = re.compile(r"(?:^|[-._])((?:UD-)?(?:I?Q\d+(?:_[A-Z0-9]+)*|BF16|F16|F32|MXFP4(?:_[A-Z]+)*))(?=[-.]|$)", re.IGNORECASE)
_HASH_BLOCK = 4 * 1024 * 1024


class HubFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a repository. `size_bytes` and `sha256` are None where the hub does not say."""

    name: str
    size_bytes: int | None = None
    sha256: str | None = None


class Hub(Protocol):
    """Where models come from."""

    def files(self, repo: str) -> list[HubFile]:
        """Return the files of a repository. Raises PrefrontalError: no such repository, no network, no access."""
        ...

    def download(self, repo: str, name: str, folder: Path) -> Path:
        """Bring one file below `folder`, going on where an earlier try ended, and return its path. Raises PrefrontalError."""
        ...


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch: the repository ``OWNER/NAME``, and a file name or a quantisation, or None for the usual one."""

    repo: str
    which: str | None = None


def parse_wanted(text: str) -> Wanted:
    """Read ``REPO``, ``REPO:FILE`` or ``REPO:QUANT``; an address on the hub will do for the repository.

    Raises:
        InvalidRequest: it is none of these.
    """
    bare = re.sub(r"^(https?://)?(www\.)?(huggingface\.co|hf\.co)/", "", text.strip())
    repo, colon, which = bare.partition(":")
    found = re.fullmatch(r"([A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*)(?:/(?:blob|resolve)/[^/]+/(.+))?", repo)
    if found is None or (colon and not which):
        raise InvalidRequest(
            f"'{text}' names no model.", param="model", hint="Write OWNER/REPO, OWNER/REPO:Q4_K_M or OWNER/REPO:FILE.gguf."
        )
    return Wanted(repo=found[1], which=which or found[2])


def quant_of(name: str) -> str | None:
    """Return the quantisation in a file's name, upper case: ``Q4_K_M``."""
    found = _QUANT.findall(_PART.sub("", Path(name).name.removesuffix(".gguf")))
    return found[-1].upper() if found else None


def choose(files: Sequence[HubFile], wanted: Wanted) -> tuple[HubFile, ...]:
    """Return the files to fetch: one, or all parts of a model that comes in several. Pure.

    Raises:
        NotFound: the repository holds no GGUF file, or none that was asked for; the hint lists what there is.
    """
    models = [file for file in files if file.name.lower().endswith(".gguf") and "mmproj" not in Path(file.name).name.lower()]
    if not models:
        raise NotFound(
            f"{wanted.repo} holds no GGUF file.", hint="Look for a repository of the same model whose name ends in -GGUF."
        )
    groups: dict[str, list[HubFile]] = {}
    for file in models:
        groups.setdefault(_PART.sub("", file.name), []).append(file)
    name = _usual(list(groups)) if wanted.which is None else _named(list(groups), wanted)
    return tuple(sorted(groups[name], key=lambda file: file.name))


def _usual(names: list[str]) -> str:
    for quant in PREFERRED:
        found = [name for name in names if quant_of(name) == quant]
        if found:
            return min(found, key=lambda name: (name.count("/"), len(name), name))
    return sorted(names)[0]


def _named(names: list[str], wanted: Wanted) -> str:
    which = _PART.sub("", wanted.which or "")
    exact = [name for name in names if which in (name, Path(name).name)]
    quant = [name for name in names if quant_of(name) == which.upper()]
    loose = [name for name in names if Path(name).name.lower() in (which.lower(), f"{which.lower()}.gguf")]
    for found in (exact, quant, loose):
        if found:
            return min(found, key=lambda name: (name.count("/"), len(name), name))
    offers = [quant_of(name) or Path(name).name for name in names]
    close = nearest(which, [*offers, *names], at_most=1)
    known = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(dict.fromkeys(offers)))}."
    raise NotFound(f"{wanted.repo} has no '{which}'.", hint=known)


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the models folder now. `model` is the name to ask for; `fetched` is False when all was there already."""

    model: str
    files: tuple[str, ...]
    size_bytes: int
    fetched: bool


def pull(text: str, folder: Path, hub: Hub, screen: Screen, *, as_json: bool) -> Pulled:
    """Fetch a model and say how to use it.

    A file appears in the folder only when it is complete and its checksum is right; a broken-off download goes on where it
    ended.

    Raises:
        InvalidRequest, NotFound: see `parse_wanted` and `choose`. Conflict: another file of that name is there, or too little
        space. ProviderMisbehaved: the checksum is wrong; the file is gone. PrefrontalError: from the hub.
    """
    wanted = parse_wanted(text)
    files = choose(hub.files(wanted.repo), wanted)
    missing = [file for file in files if not _have(file, folder)]
    if missing and not as_json:
        total = size(sum(file.size_bytes or 0 for file in missing))
        screen.note(f"fetching {', '.join(file.name for file in missing)} ({total}) from {wanted.repo}")
    _check_room(missing, folder)
    for file in missing:
        _fetch(wanted.repo, file, folder, hub)
    names = tuple(str(folder / Path(file.name).name) for file in files)
    pulled = Pulled(
        model=_PART.sub("", Path(files[0].name).name).removesuffix(".gguf"),
        files=names,
        size_bytes=sum(Path(name).stat().st_size for name in names),
        fetched=bool(missing),
    )
    if as_json:
        screen.json(pulled)
    else:
        screen.line(f"{'fetched' if missing else 'already there:'} {', '.join(names)}")
        screen.note(f'A running gateway finds it by itself. Try: prefrontal ask --model {pulled.model} "Hello"')
    return pulled


def _have(file: HubFile, folder: Path) -> bool:
    target = folder / Path(file.name).name
    if not target.exists():
        return False
    if file.size_bytes in (None, target.stat().st_size):
        return True
    raise Conflict(f"{target} is another file of that name.", hint="Move it away, or name another file of the repository.")


def _check_room(files: Sequence[HubFile], folder: Path) -> None:
    needed = sum(file.size_bytes or 0 for file in files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise Conflict(f"{folder} cannot be used: {error.strerror}.", hint="engine.models_dir names another folder.") from error
    if files and needed + SPARE_BYTES > free:
        raise Conflict(
            f"{size(needed)} are needed in {folder} and {size(free)} are free.", hint="Free space, or take a smaller file."
        )


def _fetch(repo: str, file: HubFile, folder: Path, hub: Hub) -> None:
    incoming = folder / INCOMING / repo.replace("/", "--")
    incoming.mkdir(parents=True, exist_ok=True)
    path = hub.download(repo, file.name, incoming)
    try:
        if file.sha256 is not None and _sha256(path) != file.sha256:
            path.unlink()
            raise ProviderMisbehaved(
                f"{file.name} arrived damaged: its checksum is not the hub's.", hint="Run the command again."
            )
        os.replace(path, folder / Path(file.name).name)  # the same disk: complete or not there
    except OSError as error:
        raise PrefrontalError(f"{file.name} cannot be put into {folder}: {error.strerror}.") from error
    shutil.rmtree(incoming, ignore_errors=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
