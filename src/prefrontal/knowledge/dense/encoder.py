"""What turns texts into dense vectors, and what is given to it of a passage."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from prefrontal.errors import StoreError
from prefrontal.knowledge.store.rows import ChunkRow, FileRow

DIGEST_BYTES = 16
MOST_CHARACTERS = 20_000
"""Characters of a passage that are given to an encoder; it reads a few hundred words at most (assumed)."""

INNER_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class EncoderInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which encoder: its name, the dimensions of its vectors, and a hash of all that its vectors depend on.

    learnt: from an engram's own text, so that questions made from the engram flatter it.
    """

    name: str
    dim: int
    revision: str
    learnt: bool = False


class Encoder(Protocol):
    """Texts to vectors of length 1 whose dot product says how close the texts are. Vectors of other revisions do not compare."""

    @property
    def info(self) -> EncoderInfo:
        """Which encoder this is."""
        ...

    def encode(self, texts: Sequence[str]) -> Any:
        """Return a float32 matrix, a row a text in order; a text that says nothing to the encoder gives zeros.

        Raises PrefrontalError when the encoder cannot be reached or gives something else.
        """
        ...


def passage_text(file: FileRow, chunk: ChunkRow, text: str) -> str:
    """Return what is encoded of a passage: the title, heading and symbol that its text does not hold, and the text.

    Of code the parts of identifiers are set apart, as `parseHTTPDate`, which most encoders know as pieces only.
    """
    body = text[:MOST_CHARACTERS]
    head = " ".join(name for name in (file.title, chunk.heading, chunk.symbol) if name and name not in body)
    whole = f"{head}\n{body}".strip()
    return INNER_CAPITAL.sub(" ", whole) if chunk.kind == "code" else whole


def text_digest(text: str) -> bytes:
    """Return what an encoded text is known by."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def checked(matrix: Any, many: int, info: EncoderInfo) -> Any:
    """Return an encoder's rows with length 1 (or 0). Raises StoreError when they are not what was promised."""
    rows = np.asarray(matrix, np.float32)
    if rows.shape != (many, info.dim) or not np.isfinite(rows).all():
        raise StoreError(f"The encoder {info.name} gave {rows.shape} in place of {many} vectors of {info.dim} finite numbers.")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
