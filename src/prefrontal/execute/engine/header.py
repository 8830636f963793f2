"""Reads what a GGUF file says about itself, without numpy and without the weights.

The layout (version 2 and 3, little-endian): magic ``GGUF``, version, number of tensors, number of keys; then each key with a
type and a value; then each tensor's name, dimensions, type and offset. Every count and length is checked against a bound
before it is believed, and the header as a whole is read up to `MAX_HEADER_BYTES`.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from prefrontal.errors import ConfigError

MAX_HEADER_BYTES = 128 * 1024 * 1024
"""Vocabularies of 256,000 tokens with merges take about 10 MB. Assumed ample."""
MAX_ENTRIES = 4_000_000
"""Keys, tensors or array elements in one count. Assumed ample."""

_CHUNK = 1024 * 1024
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_PART = re.compile(r"^(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})$")
_EMBEDDING_ARCHITECTURES = ("bert", "t5encoder", "embedding")


class ModelHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What one model's file (or files) says. None: the file does not say."""

    architecture: str
    name: str | None
    context_tokens: int | None
    embedding_length: int | None
    parameter_count: int
    file_bytes: int
    chat_template: str | None
    pooling_type: int | None
    """llama.cpp's number: 0 none, 1 mean, 2 first token, 3 last token, 4 rank."""
    file_type: int | None
    """GGUF's number for the main weight type, for example 1 for 16-bit floats and 15 for Q4_K_M."""
    layers: int | None = None
    kv_heads: int | None = None
    """Heads of the attention cache in each layer; None also where layers differ."""
    head_dim: int | None = None

    @property
    def is_embedding(self) -> bool:
        """True for a model that gives vectors: the file names a pooling, or its architecture is an encoder's."""
        return bool(self.pooling_type) or any(part in self.architecture for part in _EMBEDDING_ARCHITECTURES)


class PartName(msgspec.Struct, frozen=True, kw_only=True):
    """A file name such as ``llama-00001-of-00003`` taken apart; a plain name is part 1 of 1."""

    stem: str
    part: int = 1
    parts: int = 1


def part_name(path: Path) -> PartName:
    """Split the suffix of a multi-part file off its name."""
    found = _PART.match(path.stem)
    if not found:
        return PartName(stem=path.stem)
    return PartName(stem=found["stem"], part=int(found["part"]), parts=int(found["parts"]))


def read_header(path: str | Path) -> ModelHeader:
    """Read the header of a model; of all parts when `path` is the first of several. Blocks on the disk, some milliseconds.

    Raises:
        ConfigError: the file or a part is missing, unreadable, cut short or not GGUF; ``file`` names it.
    """
    first = Path(path)
    name = part_name(first)
    others = [first.with_name(f"{name.stem}-{part:05d}-of-{name.parts:05d}{first.suffix}") for part in range(2, name.parts + 1)]
    keys, parameters = _read_file(first)
    for other in others:
        parameters += _read_file(other)[1]
    architecture = keys.get("general.architecture")
    if not isinstance(architecture, str):
        raise _broken(first, "it names no architecture")
    return ModelHeader(
        architecture=architecture,
        name=_text(keys.get("general.name")),
        context_tokens=_count(keys.get(f"{architecture}.context_length")),
        embedding_length=_count(keys.get(f"{architecture}.embedding_length")),
        parameter_count=parameters,
        file_bytes=sum(part.stat().st_size for part in [first, *others]),
        chat_template=_text(keys.get("tokenizer.chat_template")),
        pooling_type=_count(keys.get(f"{architecture}.pooling_type")),
        file_type=_count(keys.get("general.file_type")),
        layers=_count(keys.get(f"{architecture}.block_count")),
        kv_heads=_kv_heads(keys, architecture),
        head_dim=_head_dim(keys, architecture),
    )


def _kv_heads(keys: dict[str, Any], architecture: str) -> int | None:
    """Without an entry of its own every attention head has its cache; an array (passed over: None) means layers differ."""
    name = f"{architecture}.attention.head_count"
    return _count(keys.get(f"{name}_kv", keys.get(name)))


def _head_dim(keys: dict[str, Any], architecture: str) -> int | None:
    """The key's length is written only where it is not the embedding's share of a head."""
    written = _count(keys.get(f"{architecture}.attention.key_length"))
    if written is not None:
        return written
    heads, length = _count(keys.get(f"{architecture}.attention.head_count")), _count(keys.get(f"{architecture}.embedding_length"))
    return length // heads if heads and length else None


def _read_file(path: Path) -> tuple[dict[str, Any], int]:
    """Return the scalar keys of one file and the number of weights its tensors hold."""
    try:
        with path.open("rb") as file:
            return _read_open(_Reader(file))
    except OSError as problem:
        raise _broken(path, problem.strerror or str(problem)) from problem
    except _BrokenHeader as problem:
        raise _broken(path, str(problem)) from None


def _read_open(reader: _Reader) -> tuple[dict[str, Any], int]:
    if reader.take(4) != b"GGUF":
        raise _BrokenHeader("it does not begin with GGUF")
    version = reader.number("I")
    if version not in (2, 3):
        raise _BrokenHeader(f"its version is {version}; 2 and 3 are known (big-endian files are not)")
    tensors, entries = reader.count("tensors"), reader.count("keys")
    keys: dict[str, Any] = {}
    for _ in range(entries):
        name = reader.string()
        keys[name] = reader.value(reader.number("I"))
    return keys, sum(reader.tensor_size() for _ in range(tensors))


class _BrokenHeader(Exception):
    """The bytes are not a GGUF header; the message completes "…: "."""


class _Reader:
    """Takes bytes off the front of a file, reading on in chunks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = b""
        self._at = 0
        self._dropped = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._bytes):
            self._read_on(size)
            end = self._at + size
        taken = self._bytes[self._at : end]
        self._at = end
        return taken

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def count(self, what: str) -> int:
        number: int = self.number("Q")
        if number > MAX_ENTRIES:
            raise _BrokenHeader(f"it claims {number} {what}")
        return number

    def string(self) -> str:
        size: int = self.number("Q")
        return self.take(size).decode(errors="replace")

    def value(self, kind: int) -> Any:
        """Read one value; an array is passed over and None returned, since nothing here needs one."""
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            self._pass_array(self.number("I"))
            return None
        if kind not in _SCALARS:
            raise _BrokenHeader(f"it holds a value of the unknown type {kind}")
        return self.number(_SCALARS[kind])

    def tensor_size(self) -> int:
        self.string()
        dimensions: int = self.number("I")
        if dimensions > 8:
            raise _BrokenHeader(f"a tensor claims {dimensions} dimensions")
        size = 1
        for _ in range(dimensions):
            size *= self.number("Q")
        self.take(12)  # type and offset
        return size

    def _pass_array(self, kind: int) -> None:
        length = self.count("array elements")
        if kind in _SCALARS:
            self.take(length * struct.calcsize("<" + _SCALARS[kind]))
        elif kind == _STRING:
            for _ in range(length):
                self.take(int.from_bytes(self.take(8), "little"))
        else:
            raise _BrokenHeader(f"it holds an array of the type {kind}")

    def _read_on(self, size: int) -> None:
        self._dropped += self._at
        if self._dropped + size > MAX_HEADER_BYTES:
            raise _BrokenHeader(f"its header is larger than {MAX_HEADER_BYTES // 1024 // 1024} MiB or damaged")
        rest = self._bytes[self._at :]
        self._bytes = rest + self._file.read(max(_CHUNK, size - len(rest)))
        self._at = 0
        if len(self._bytes) < size:
            raise _BrokenHeader("it ends inside its header")


def _broken(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"This is not a usable GGUF model: {reason}.",
        file=str(path),
        rule="gguf",
        hint="Download the file again, or take it out of the models folder.",
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
