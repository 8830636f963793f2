"""Vectors on disk: blocks that are never changed, memory-mapped, and a small list of those that count."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from prefrontal.errors import Conflict, StoreError
from prefrontal.knowledge.dense.encoder import DIGEST_BYTES, EncoderInfo

LAYOUT = 1
MAGIC = b"PFKVEC01"
HEAD = struct.Struct("<8sIIB3x")
LIST = "dense.json"
Precision = Literal["float16", "int8"]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How far vectors are trusted beside words, found by questions made from the engram itself; see `dense.calibrate`.

    `weight` is the share of the vectors in a fused score, [0, 1]. `lexical`, `dense` and `fused`: mean reciprocal rank at 10 of
    the passage that each question was made from. `samples` questions were asked, at `version` with `passages` passages.
    """

    weight: float
    lexical: float
    dense: float
    fused: float
    samples: int
    version: int
    passages: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Which blocks hold the vectors of which engram, by which encoder. `ann`: how many rows, from the first, an index covers."""

    layout: int
    uid: str
    encoder: EncoderInfo
    precision: Precision
    blocks: tuple[Annotated[str, msgspec.Meta(pattern=r"^[0-9]{8}\.vec$")], ...] = ()
    next_name: int = 1
    calibration: Calibration | None = None
    ann: int = 0


class Block:
    """Some vectors: `chunk` their passages (rising), `digest` what was encoded, `rows` the values, each row times its `scale`."""

    def __init__(self, buffer: bytes | mmap.mmap, name: str) -> None:
        self.name = name
        try:
            magic, count, dim, width = HEAD.unpack_from(buffer)
        except struct.error as error:
            raise StoreError(f"The vectors {name} are cut off.") from error
        sizes = (8 * count, 4 * count, DIGEST_BYTES * count, width * count * dim)
        if magic != MAGIC or width not in (1, 2) or len(buffer) != HEAD.size + sum(sizes):
            raise StoreError(f"The vectors {name} are malformed.")
        at = HEAD.size
        self.chunk: Any = np.frombuffer(buffer, "<i8", count, at)
        self.scale: Any = np.frombuffer(buffer, "<f4", count, at + sizes[0])
        self.digest: Any = np.frombuffer(buffer, f"V{DIGEST_BYTES}", count, at + sizes[0] + sizes[1])
        kind = "i1" if width == 1 else "<f2"
        self.rows: Any = np.frombuffer(buffer, kind, count * dim, at + sum(sizes[:3])).reshape(count, dim)

    def dense(self, rows: Any) -> Any:
        """Return some rows as float32."""
        return self.rows[rows].astype(np.float32) * self.scale[rows, None]


def pack(chunk: Any, digest: Any, rows: Any, precision: Precision) -> bytes:
    """Return the bytes of a block. A row of float16 has scale 1; one of int8 is divided by its largest value over 127."""
    rows = np.asarray(rows, np.float32)
    scale = np.ones(len(rows), np.float32)
    if precision == "int8":
        largest = np.abs(rows).max(axis=1) if rows.size else scale
        scale = (np.where(largest > 0, largest, 1) / 127.0).astype(np.float32)
        values = np.rint(rows / scale[:, None]).astype("i1")
    else:
        values = rows.astype("<f2")
    head = HEAD.pack(MAGIC, len(rows), rows.shape[1], values.dtype.itemsize)
    parts = (np.asarray(chunk, "<i8"), scale.astype("<f4"), np.asarray(digest, f"V{DIGEST_BYTES}"), values)
    return head + b"".join(part.tobytes() for part in parts)


def open_block(path: Path) -> Block:
    """Open a block. Raises StoreError when it is missing or malformed."""
    try:
        with path.open("rb") as file:
            return Block(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), path.name)
    except (OSError, ValueError) as error:
        raise StoreError(f"The vectors {path.name} cannot be read: {error}.") from error


def folder_of(engram: Path, encoder: str) -> Path:
    """Return where an encoder's vectors of an engram lie."""
    return engram.with_suffix(".dense") / encoder.replace("/", "_")


def load(folder: Path, uid: str, encoder: EncoderInfo | None = None) -> State | None:
    """Return the list of blocks; None when there is none that fits the engram and, when one is given, the encoder."""
    try:
        state = msgspec.json.decode((folder / LIST).read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    fits = state.layout == LAYOUT and state.uid == uid and (encoder is None or state.encoder == encoder)
    return state if fits else None


def publish(folder: Path, state: State) -> None:
    """Let a list of blocks hold; readers see the one before or this one. Blocks that no list names are removed."""
    fresh = folder / f"{LIST}.new"
    fresh.write_bytes(msgspec.json.encode(state))
    os.replace(fresh, folder / LIST)
    for path in folder.glob("*.vec"):
        if path.name not in state.blocks:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Hold the right to write vectors. Raises Conflict when somebody else does, StoreError when the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"Vectors cannot be written: {error}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        text = "The vectors of this engram are being filled by another process."
        raise Conflict(text, hint="Try again when it is done.") from error
    try:
        yield
    finally:
        os.close(file)
