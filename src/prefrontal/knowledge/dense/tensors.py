"""Weights in the safetensors layout: a JSON header and plain little-endian arrays. Nothing in such a file can run."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from prefrontal.errors import StoreError

MOST_HEADER = 16 * 1024 * 1024
"""Longest header, bytes (assumed: the largest models have one of two)."""

KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "i1", "U8": "u1", "BOOL": "u1"}


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def load(path: Path) -> dict[str, Any]:
    """Return the arrays of a file by name; floats as float32. Raises StoreError for a file that is cut off or something else."""
    try:
        data = path.read_bytes()
        (size,) = struct.unpack_from("<Q", data)
        if not 2 <= size <= min(MOST_HEADER, len(data) - 8):
            raise StoreError(f"{path.name} holds no weights.")
        header = msgspec.json.decode(data[8 : 8 + size], type=dict[str, msgspec.Raw])
        header.pop("__metadata__", None)
        return {name: _array(data, 8 + size, msgspec.json.decode(raw, type=_Tensor), path) for name, raw in header.items()}
    except (OSError, struct.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"The weights {path.name} cannot be read: {error}.") from error


def save(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays of float32, float16 or int8, sorted by name: equal arrays give equal bytes."""
    names = {np.dtype(kind): name for name, kind in KINDS.items() if name != "BOOL"}
    header, parts, at = {}, [], 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        header[name] = {"dtype": names[array.dtype], "shape": array.shape, "data_offsets": (at, at + array.nbytes)}
        parts.append(array.tobytes())
        at += array.nbytes
    head = msgspec.json.encode(header, order="sorted")
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(parts))


def _array(data: bytes, base: int, tensor: _Tensor, path: Path) -> Any:
    first, last = tensor.data_offsets
    if tensor.dtype == "BF16":
        kind, width = "<u2", 2
    elif tensor.dtype in KINDS:
        kind, width = KINDS[tensor.dtype], np.dtype(KINDS[tensor.dtype]).itemsize
    else:
        raise StoreError(f"The weights {path.name} are of a kind that is not known here: {tensor.dtype}.")
    count = math.prod(tensor.shape)
    if min(tensor.shape, default=0) < 0 or not 0 <= first <= last <= len(data) - base or last - first != count * width:
        raise StoreError(f"The weights {path.name} are cut off or malformed.")
    array = np.frombuffer(data, kind, count, base + first).reshape(tensor.shape)
    if tensor.dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if tensor.dtype in ("F64", "F16") else array
