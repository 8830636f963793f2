"""What fixes an engram's vectors for good: its shape and its constants. Both are kept in the engram's `meta`."""

from __future__ import annotations

from typing import Literal

import msgspec

from prefrontal.errors import InvalidRequest

Mode = Literal["int8", "ternary"]
Kind = Literal["prose", "code", "table", "data", "file"]
"""What a vector is of. `file` is the sum of a file's passages."""

FORMAT = 1
"""Version of the engram's format. A newer one is refused, never guessed at."""

TOKENIZER = 1
"""Version of `tokens`: a change of its output needs a new number, because stored vectors no longer match queries."""

MIN_DIM, MAX_DIM = 1_000, 1 << 20
MIN_NONZEROS, MAX_NONZEROS = 16, 4_096


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Dimensions and density of the vectors.

    `dim`: number of dimensions (65,536 by default: it lies between the measured 50k and 100k, and indices fit 16 bits).
    `nonzeros`: most non-zeros a chunk keeps (200: measured, see docs). `mode`: int8 values, or strictly -1, 0, +1.
    `seed`: salt of the hashes; engrams compare only with others of the same shape.
    """

    dim: int = 65_536
    nonzeros: int = 200
    mode: Mode = "int8"
    seed: int = 0

    def checked(self) -> Shape:
        """Return itself. Raises InvalidRequest when a figure is out of range."""
        if not MIN_DIM <= self.dim <= MAX_DIM:
            raise InvalidRequest(f"dim must lie between {MIN_DIM} and {MAX_DIM}, not {self.dim}.", param="dim")
        if not MIN_NONZEROS <= self.nonzeros <= MAX_NONZEROS:
            raise InvalidRequest(
                f"nonzeros must lie between {MIN_NONZEROS} and {MAX_NONZEROS}, not {self.nonzeros}.", param="nonzeros"
            )
        if self.mode not in ("int8", "ternary"):
            raise InvalidRequest(f"mode must be int8 or ternary, not {self.mode!r}.", param="mode")
        return self

    @property
    def wide(self) -> bool:
        """Whether indices need 32 bits."""
        return self.dim > 65_536


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of saturation and length normalisation. Constants, never corpus statistics, so that vectors can be subtracted.

    `k1` and `b` as in BM25 (assumed). The lengths are the words of a usual chunk of that kind (prose and code: measured,
    rounded; the others assumed); `node_length` that of a usual file, for accumulators.
    """

    k1: float = 1.2
    b: float = 0.6
    prose_length: float = 90.0
    code_length: float = 35.0
    table_length: float = 60.0
    node_length: float = 600.0

    def checked(self) -> Constants:
        """Return itself. Raises InvalidRequest when a figure is not finite and positive, or `b` is above 1."""
        if not all(0.0 < float(value) < 1e9 for value in msgspec.structs.astuple(self)) or self.b > 1.0:
            raise InvalidRequest("The constants of a vector must be finite and positive.", param="constants")
        return self

    def length(self, kind: Kind) -> float:
        """Return the usual number of words of a chunk of that kind."""
        return {"prose": self.prose_length, "code": self.code_length, "file": self.node_length}.get(kind, self.table_length)
