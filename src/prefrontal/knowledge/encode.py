"""Passages to sparse integer vectors and term statistics, many at a time.

A vector is the bundle of the atoms of its passage: words, ordered pairs of words, whole identifiers, and the words of title,
symbol, path and language under role permutations. Its values are raw integer counts (with the atom's sign); saturation and
length normalisation happen when they are read (`weigh`), with constants of the engram and no corpus statistics. So vectors of
the same text are equal whatever else the engram holds, and sums of them can be subtracted exactly.

In `ternary` mode a word has `POSITIONS` places instead of one, and its weight is how many of them are set.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from prefrontal.knowledge.algebra import SparseVector, affine
from prefrontal.knowledge.shape import Constants, Kind, Shape
from prefrontal.knowledge.tokens import Tokenizer

PAIR, TITLE, SYMBOL, PATH, WHOLE = 1, 2, 3, 4, 5
"""Role permutations: how often `algebra.permute` is applied to an atom."""

IN_TITLE, IN_SYMBOL, IN_PATH = 1, 2, 4
"""Flags of a term: the fields beside the text in which it occurs."""

POSITIONS = 4
"""Places of a word in ternary mode (measured with the default constants: 3 and 5 are worse on each of four sets)."""

RANK_WORD, RANK_FIELD, RANK_WHOLE, RANK_PAIR = 3, 2, 1, 0
"""What is kept first when a passage has more atoms than non-zeros: words before fields before pairs."""

U64 = NDArray[np.uint64]


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """What of a chunk is encoded. `heading` is text that counts as content although it is not in the chunk's bytes."""

    text: str
    title: str = ""
    heading: str = ""
    symbol: str = ""
    path: str = ""
    language: str = ""
    kind: Kind = "prose"


class Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk's vector and term statistics: sorted indices with int8 values, sorted term ids with counts and field flags."""

    indices: Any
    values: Any
    terms: Any
    counts: Any
    flags: Any
    length: int

    def vector(self, dim: int) -> SparseVector:
        """Return the vector for the algebra."""
        return SparseVector(dim=dim, indices=self.indices.astype(np.int64), values=self.values.astype(np.int64))


def places(hashes: U64, dim: int) -> NDArray[np.int64]:
    """Return the index of each atom."""
    return ((hashes >> np.uint64(32)) & np.uint64(0x7FFFFFFF)).astype(np.int64) % dim


def signs(hashes: U64) -> NDArray[np.int64]:
    """Return +1 or -1 for each atom."""
    return 1 - 2 * (hashes >> np.uint64(63)).astype(np.int64)


def identifiers(hashes: U64) -> NDArray[np.uint32]:
    """Return the 32-bit names of terms in statistics."""
    return (hashes & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def rehash(hashes: U64, number: int) -> U64:
    """Return other, independent hashes of the same atoms (the finaliser of a well-known mixing function)."""
    if number == 0:
        return hashes
    x = hashes + np.uint64((0x9E3779B97F4A7C15 * number) & 0xFFFFFFFFFFFFFFFF)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def shifted(indices: NDArray[np.int64], dim: int, role: int) -> NDArray[np.int64]:
    """Return the indices under a role permutation."""
    factor, offset = affine(dim, role)
    return (indices * factor + offset) % dim


class _Stream:
    """Hashes of one field of many passages, with the passage each belongs to."""

    def __init__(self) -> None:
        self._hashes: array[int] = array("Q")
        self._counts: list[int] = []

    def add(self, hashes: array[int]) -> None:
        self._hashes.extend(hashes)
        self._counts.append(len(hashes))

    def arrays(self) -> tuple[U64, NDArray[np.int64]]:
        hashes = np.frombuffer(self._hashes, np.uint64) if self._hashes else np.zeros(0, np.uint64)
        return hashes, np.repeat(np.arange(len(self._counts)), self._counts)


class Encoder:
    """Encodes passages for one shape. Not for several threads at once (its tokenizer remembers words)."""

    def __init__(self, shape: Shape, constants: Constants, tokenizer: Tokenizer | None = None) -> None:
        self.shape = shape.checked()
        self.constants = constants
        self.tokenizer = tokenizer or Tokenizer(shape.seed)

    def one(self, passage: Passage) -> Encoded:
        """Encode one passage."""
        return self.many([passage])[0]

    def many(self, passages: Sequence[Passage]) -> list[Encoded]:
        """Encode passages; each result depends on its own passage only."""
        if not passages:
            return []
        fields = {name: _Stream() for name in ("text", "whole", "title", "symbol", "path")}
        for passage in passages:
            self._read(passage, fields)
        read = {name: stream.arrays() for name, stream in fields.items()}
        lengths = np.bincount(read["text"][1], minlength=len(passages))
        owner, index, value = self._graded(read, passages) if self.shape.mode == "ternary" else self._counted(read)
        terms = _statistics(read)
        return _cut(len(passages), (owner, index, value), terms, lengths, wide=self.shape.wide)

    def _read(self, passage: Passage, fields: dict[str, _Stream]) -> None:
        tokenizer = self.tokenizer
        words, whole = tokenizer.both(passage.text)
        for more in (passage.heading, passage.language):
            if more:
                words = words + tokenizer.words(more)
        title = f"{passage.heading} {passage.title}" if passage.heading else passage.title
        fields["text"].add(words)
        fields["whole"].add(whole)
        for name, text in (("title", title), ("symbol", passage.symbol), ("path", passage.path)):
            fields[name].add(tokenizer.words(text) if text else array("Q"))

    def _counted(self, read: dict[str, tuple[U64, NDArray[np.int64]]]) -> tuple[Any, Any, Any]:
        dim = self.shape.dim
        hashes, owner = read["text"]
        index, sign = places(hashes, dim), signs(hashes)
        parts = [(owner, index, sign, RANK_WORD)]
        beside = owner[1:] == owner[:-1]
        pairs = (shifted(index[:-1], dim, PAIR) + index[1:]) % dim
        parts.append((owner[1:][beside], pairs[beside], (sign[:-1] * sign[1:])[beside], RANK_PAIR))
        for name, role, rank in (
            ("title", TITLE, RANK_FIELD),
            ("symbol", SYMBOL, RANK_FIELD),
            ("path", PATH, RANK_FIELD),
            ("whole", WHOLE, RANK_WHOLE),
        ):
            field, whose = read[name]
            parts.append((whose, shifted(places(field, dim), dim, role), signs(field), rank))
        owners, indices, values = (np.concatenate([part[i] for part in parts]) for i in range(3))
        ranks = np.concatenate([np.full(part[0].size, part[3]) for part in parts])
        key, total, rank = _summed(owners * dim + indices, values, ranks)
        keep = _thinned(key // dim, rank * 1024 + np.minimum(np.abs(total), 1023), self.shape.nonzeros)
        return key[keep] // dim, key[keep] % dim, np.clip(total[keep], -127, 127).astype(np.int8)

    def _graded(self, read: dict[str, tuple[U64, NDArray[np.int64]]], passages: Sequence[Passage]) -> tuple[Any, Any, Any]:
        """Ternary: a word sets as many of its places as its saturated weight says, the first places of all words first."""
        dim = self.shape.dim
        hashes, owner = read["text"]
        lengths = np.bincount(owner, minlength=len(passages)).astype(np.float64)
        usual = np.array([self.constants.length(passage.kind) for passage in passages])
        order = np.lexsort((hashes, owner))
        who, what = owner[order], hashes[order]
        first = np.ones(who.size, bool)
        first[1:] = (who[1:] != who[:-1]) | (what[1:] != what[:-1])
        starts = np.flatnonzero(first)
        count = np.diff(np.append(starts, who.size))
        who, what = who[starts], what[starts]
        weight = saturated(count, lengths[who], usual[who], self.constants)
        grade = np.clip(np.rint(weight * POSITIONS), 1, POSITIONS).astype(np.int64)
        parts = [
            (who[grade > n], places(rehash(what, n)[grade > n], dim), signs(rehash(what, n)[grade > n]), POSITIONS + 2 - n)
            for n in range(POSITIONS)
        ]
        for name, role in (("title", TITLE), ("symbol", SYMBOL), ("path", PATH)):
            field, whose = read[name]
            parts.append((whose, shifted(places(field, dim), dim, role), signs(field), 1))
        owners, indices, values = (np.concatenate([part[i] for part in parts]) for i in range(3))
        ranks = np.concatenate([np.full(part[0].size, part[3]) for part in parts])
        key, total, rank = _summed(owners * dim + indices, values, ranks)
        keep = _thinned(key // dim, rank, self.shape.nonzeros)
        return key[keep] // dim, key[keep] % dim, np.sign(total[keep]).astype(np.int8)


def saturated(count: Any, length: Any, usual: Any, constants: Constants) -> Any:
    """Return count / (count + k1 * (1 - b + b * length / usual)), in [0, 1)."""
    return count / (count + constants.k1 * (1.0 - constants.b + constants.b * length / usual))


def _summed(key: Any, values: Any, ranks: Any) -> tuple[Any, Any, Any]:
    """Return each key once with the sum of its values and its highest rank; sums of zero are dropped."""
    order = np.argsort(key, kind="stable")
    key, values, ranks = key[order], values[order], ranks[order]
    if key.size == 0:
        return key, values, ranks
    starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    total = np.add.reduceat(values, starts)
    rank = np.maximum.reduceat(ranks, starts)
    keep = total != 0
    return key[starts][keep], total[keep], rank[keep]


def _thinned(owner: Any, weight: Any, most: int) -> Any:
    """Return a mask that keeps the `most` heaviest of each owner; equal weights: the lowest index. `owner` is sorted."""
    keep = np.ones(owner.size, bool)
    counts = np.bincount(owner) if owner.size else np.zeros(0, np.int64)
    starts = np.concatenate(([0], np.cumsum(counts)))
    for who in np.flatnonzero(counts > most):
        part = slice(starts[who], starts[who + 1])
        keep[part] = False
        keep[starts[who] + np.argsort(-weight[part], kind="stable")[:most]] = True
    return keep


def _statistics(read: dict[str, tuple[U64, NDArray[np.int64]]]) -> tuple[Any, Any, Any, Any]:
    """Return owner, term id, count in the text and field flags, sorted by owner and id, each pair once."""
    fields = (("text", 0), ("title", IN_TITLE), ("symbol", IN_SYMBOL), ("path", IN_PATH))
    keys, counts, flags = [], [], []
    for name, bit in fields:
        hashes, owner = read[name]
        keys.append((owner.astype(np.uint64) << np.uint64(32)) | identifiers(hashes))
        counts.append(np.full(hashes.size, 0 if bit else 1))
        flags.append(np.full(hashes.size, bit, np.uint8))
    key: Any = np.concatenate(keys)
    count: Any = np.concatenate(counts)
    flag: Any = np.concatenate(flags)
    order = np.argsort(key, kind="stable")
    key, count, flag = key[order], count[order], flag[order]
    if key.size:
        starts = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
        key, count, flag = key[starts], np.add.reduceat(count, starts), np.bitwise_or.reduceat(flag, starts)
    return (key >> np.uint64(32)).astype(np.int64), identifiers(key), np.minimum(count, 255).astype(np.uint8), flag


def _cut(n: int, vectors: Any, statistics: Any, lengths: Any, *, wide: bool) -> list[Encoded]:
    owner, index, value = vectors
    index = index.astype(np.uint32 if wide else np.uint16)
    whose, terms, counts, flags = statistics
    at = np.searchsorted(owner, np.arange(n + 1))
    of = np.searchsorted(whose, np.arange(n + 1))
    return [
        Encoded(
            indices=index[at[i] : at[i + 1]],
            values=value[at[i] : at[i + 1]],
            terms=terms[of[i] : of[i + 1]],
            counts=counts[of[i] : of[i + 1]],
            flags=flags[of[i] : of[i + 1]],
            length=int(lengths[i]),
        )
        for i in range(n)
    ]
