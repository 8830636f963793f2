"""The algebra of sparse integer vectors. Everything is exact: integers, no rounding, no chance.

Guarantees, for vectors of one dimension D:

- `bundle` adds. It is commutative and associative, and `unbundle(bundle(x, y), y) == x` exactly.
- `bind` is circular convolution: commutative, associative, distributes over `bundle`; `unbind(bind(x, key), key) == x`
  exactly when `key` has one non-zero of +1 or -1 (every atom has), and approximately otherwise.
- `permute` moves every index by a fixed bijection, `steps` times (negative: back). It is exactly invertible, distributes over
  `bundle`, keeps every similarity, and does not commute with `bind`, which is what makes order and roles visible.
- `similarity` is the cosine, in [-1, 1]; 0.0 when either vector is empty. `dot` is the plain integer product.
- What it cannot do: content does not come back from a bundle, and a bundle clipped to -1, 0, +1 cannot be unbundled.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from prefrontal.errors import InvalidRequest

Ints = NDArray[np.int64]

STEP, OFFSET = 40_503, 12_289
"""The bijection is i -> STEP * i + OFFSET mod D; STEP is 3 * 23 * 587, so it inverts for every D made of 2s and 5s."""


class SparseVector(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Sorted indices without repetition and their non-zero integer values (int64)."""

    dim: int
    indices: Ints
    values: Ints

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SparseVector)
            and self.dim == other.dim
            and bool(np.array_equal(self.indices, other.indices))
            and bool(np.array_equal(self.values, other.values))
        )

    def __ne__(self, other: object) -> bool:
        return not self == other  # the struct's own would compare identities

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash

    def dense(self) -> Ints:
        """Return all D values."""
        out = np.zeros(self.dim, np.int64)
        out[self.indices] = self.values
        return out


def vector(dim: int, indices: Any, values: Any) -> SparseVector:
    """Build a vector: repeated indices are added, zeros dropped. Raises InvalidRequest for an index outside [0, dim)."""
    where, what = np.asarray(indices, np.int64), np.asarray(values, np.int64)
    if where.shape != what.shape or where.ndim != 1:
        raise InvalidRequest("A vector needs as many values as indices.")
    if where.size and (where.min() < 0 or where.max() >= dim):
        raise InvalidRequest(f"An index lies outside [0, {dim}).")
    unique, inverse = np.unique(where, return_inverse=True)
    sums = np.zeros(unique.size, np.int64)
    np.add.at(sums, inverse, what)
    keep = sums != 0
    return SparseVector(dim=dim, indices=unique[keep], values=sums[keep])


def bundle(first: SparseVector, *others: SparseVector) -> SparseVector:
    """Return the sum of the vectors."""
    _same(first, *others)
    every = (first, *others)
    return vector(first.dim, np.concatenate([v.indices for v in every]), np.concatenate([v.values for v in every]))


def unbundle(total: SparseVector, part: SparseVector) -> SparseVector:
    """Return `total` less `part`: exactly what was bundled before `part` came."""
    _same(total, part)
    return vector(total.dim, np.concatenate([total.indices, part.indices]), np.concatenate([total.values, -part.values]))


def bind(x: SparseVector, y: SparseVector) -> SparseVector:
    """Return the circular convolution; the number of non-zeros is at most the product of both numbers."""
    _same(x, y)
    where = (x.indices[:, None] + y.indices[None, :]) % x.dim
    return vector(x.dim, where.ravel(), (x.values[:, None] * y.values[None, :]).ravel())


def unbind(bound: SparseVector, key: SparseVector) -> SparseVector:
    """Return the circular correlation with `key`: the inverse of `bind` for keys of one non-zero of +1 or -1."""
    _same(bound, key)
    return bind(bound, vector(key.dim, (-key.indices) % key.dim, key.values))


def permute(x: SparseVector, steps: int = 1) -> SparseVector:
    """Return the vector with each index moved `steps` times by the bijection; raises InvalidRequest when D does not allow it."""
    return vector(x.dim, moved(x.indices, x.dim, steps), x.values)


def moved(indices: Ints, dim: int, steps: int) -> Ints:
    """Return where `permute` puts each index."""
    factor, offset = affine(dim, steps)
    return (indices * factor + offset) % dim


def affine(dim: int, steps: int) -> tuple[int, int]:
    """Return factor and offset of the bijection applied `steps` times."""
    factor, offset = STEP % dim, OFFSET % dim
    if steps < 0:
        try:
            factor = pow(factor, -1, dim)
        except ValueError:
            raise InvalidRequest(
                f"Vectors of {dim} dimensions cannot be permuted back: {dim} shares a factor with {STEP}."
            ) from None
        offset = (-factor * OFFSET) % dim
    total_factor, total_offset = 1, 0
    for _ in range(abs(steps)):
        total_factor, total_offset = (total_factor * factor) % dim, (total_offset * factor + offset) % dim
    return total_factor, total_offset


def dot(x: SparseVector, y: SparseVector) -> int:
    """Return the integer dot product."""
    _same(x, y)
    _, a, b = np.intersect1d(x.indices, y.indices, assume_unique=True, return_indices=True)
    return int(x.values[a] @ y.values[b])


def similarity(x: SparseVector, y: SparseVector) -> float:
    """Return the cosine of the vectors, 0.0 when one is empty."""
    norms = float(np.sqrt(float(dot(x, x))) * np.sqrt(float(dot(y, y))))
    return dot(x, y) / norms if norms else 0.0


def _same(first: SparseVector, *others: SparseVector) -> None:
    for other in others:
        if other.dim != first.dim:
            raise InvalidRequest(f"Vectors of {first.dim} and {other.dim} dimensions do not combine.")
