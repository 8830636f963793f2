"""A question as terms with weights, and as weighted dimensions."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from prefrontal.knowledge.encode import (
    PAIR,
    PATH,
    POSITIONS,
    SYMBOL,
    TITLE,
    WHOLE,
    identifiers,
    places,
    rehash,
    shifted,
    signs,
)
from prefrontal.knowledge.index.index import Index
from prefrontal.knowledge.index.segment import SCALE
from prefrontal.knowledge.shape import Shape
from prefrontal.knowledge.tokens import PARTS, RUNS, STOP_WORDS, Tokenizer

MOST_TERMS = 64
"""Distinct terms of a question that count, the rarest first: ten thousand words cost no more than these (assumed)."""

MOST_WORDS = 10_000
"""Words of a question that are looked at (specified as bad input: it must have a clear outcome)."""

POSTINGS = 400_000
"""Postings that candidates are looked for in: beyond, the most frequent terms only count in the re-rank (assumed)."""

PAIR_WEIGHT, TITLE_WEIGHT, SYMBOL_WEIGHT, PATH_WEIGHT, WHOLE_WEIGHT = 0.15, 0.6, 0.6, 0.2, 0.3
"""Weights of the roles against a word of the text (measured: doubling one of the first three moves nDCG
by .018 at most on five public sets; the last is assumed)."""

MOST_JOINED, JOINED_LETTERS = 64, 3
"""Neighbouring words that are looked for as one, and letters each of them needs: `context manager` asks for `contextmanager`,
too (measured: .001 to .009 nDCG on code, at most .002 less on prose; the bounds are assumed)."""

WHOLE_RARITY = 8.0
"""Rarity taken for a whole identifier, whose frequency is not counted: that of a word in one of 3,000 passages."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A question made ready for one index.

    `terms`: 32-bit names, sorted; `stems` their text; `rarity` (inverse document frequency) times how often the question has
    them; `found` in how many passages each is. `asked` is the rarity of all that was asked, words that no passage has included.
    `joined` are stems that only stand in the question as two words. `dims` and `weights`: the vector that candidates are found
    with, already divided by the scale of stored weights.
    """

    terms: Any
    stems: tuple[str, ...]
    rarity: Any
    found: Any
    asked: float
    dims: Any
    weights: Any
    joined: frozenset[str] = frozenset()


def understand(text: str, index: Index, tokenizer: Tokenizer, shape: Shape) -> Query:
    """Return the question's terms and vector; both are empty when it has no word that any passage has."""
    stems, hashes, order, whole, said = _read(text, tokenizer)
    frequency = index.frequencies(identifiers(hashes))
    rarity = np.log1p((index.count - frequency + 0.5) / (frequency + 0.5))
    asked = float(rarity[:said].sum())
    if not frequency.any():
        none = np.zeros(0, np.int64)
        return Query(terms=none, stems=(), rarity=none, found=none, asked=asked, dims=none, weights=none)
    times = np.maximum(np.bincount(order, minlength=len(stems)), 1)
    known = np.flatnonzero(frequency)
    keep = np.sort(known[np.argsort(-rarity[known], kind="stable")[:MOST_TERMS]])
    wanted = _affordable(keep, rarity, frequency)
    dims, weights = _words(hashes[wanted], (rarity * times)[wanted], shape)
    if shape.mode != "ternary":
        pairs = _pairs(hashes, rarity, order, set(keep.tolist()), shape)
        wholes = _wholes(whole, shape)
        dims = np.concatenate([dims, pairs[0], wholes[0]])
        weights = np.concatenate([weights, pairs[1], wholes[1]])
    names = identifiers(hashes[keep])
    rank = np.argsort(names, kind="stable")
    chosen = keep[rank]
    return Query(
        terms=names[rank],
        stems=tuple(stems[i] for i in chosen.tolist()),
        rarity=(rarity * times)[chosen],
        found=frequency[chosen],
        asked=asked,
        dims=dims,
        weights=weights / (POSITIONS if shape.mode == "ternary" else SCALE),
        joined=frozenset(stems[said:]),
    )


def _read(text: str, tokenizer: Tokenizer) -> tuple[list[str], Any, Any, Any, int]:
    """Return distinct stems, their hashes, the order in which they stand, hashes of whole identifiers, and how many were said.

    The stems behind those said are neighbours joined.
    """
    runs = RUNS.findall(text[: 20 * MOST_WORDS])[:MOST_WORDS]
    short = " ".join(runs)
    numbers: dict[str, int] = {}
    order = [numbers.setdefault(stem, len(numbers)) for stem in tokenizer.stems(short)]
    said = len(numbers)
    stems = list(dict.fromkeys((*numbers, *_joined(runs, tokenizer))))
    _, whole = tokenizer.both(short)
    hashes = np.array([tokenizer.hash(stem) for stem in stems], np.uint64)
    return (
        stems,
        hashes,
        np.array(order, np.int64),
        np.unique(np.frombuffer(whole, np.uint64) if whole else np.zeros(0, np.uint64)),
        said,
    )


def _joined(runs: list[str], tokenizer: Tokenizer) -> list[str]:
    """Return the stems of neighbouring words written as one."""
    words = [part.lower() for run in runs[: 4 * MOST_JOINED] if run.isascii() for part in PARTS.findall(run)]
    fit = [len(word) >= JOINED_LETTERS and word not in STOP_WORDS for word in words]
    pairs = [words[i] + words[i + 1] for i in range(len(words) - 1) if fit[i] and fit[i + 1]]
    return [stem for pair in pairs[:MOST_JOINED] for stem in tokenizer.split(pair)]


def _affordable(keep: Any, rarity: Any, frequency: Any) -> Any:
    """Return the terms that candidates are looked for with: the rarest ones, as far as the postings last, and at least two."""
    ranked = keep[np.argsort(-rarity[keep], kind="stable")]
    cost = np.cumsum(frequency[ranked])
    many = max(2, int(np.searchsorted(cost, POSTINGS, "right")))
    return np.sort(ranked[:many])


def _words(hashes: Any, weight: Any, shape: Shape) -> tuple[Any, Any]:
    dim, ternary = shape.dim, shape.mode == "ternary"
    parts = []
    for n in range(POSITIONS if ternary else 1):
        other = rehash(hashes, n)
        parts.append((places(other, dim), weight * signs(other)))
    index, sign = places(hashes, dim), signs(hashes)
    scale = POSITIONS / 2 if ternary else 1.0  # a field word has one place, and a whole place weighs much there
    for role, share in ((TITLE, TITLE_WEIGHT), (SYMBOL, SYMBOL_WEIGHT), (PATH, PATH_WEIGHT)):
        parts.append((shifted(index, dim, role), share * scale * weight * sign))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _pairs(hashes: Any, rarity: Any, order: Any, keep: set[int], shape: Shape) -> tuple[Any, Any]:
    kept = np.array([number in keep for number in order.tolist()], bool)
    beside = kept[:-1] & kept[1:]
    first, second = order[:-1][beside][:MOST_TERMS], order[1:][beside][:MOST_TERMS]
    dim = shape.dim
    index, sign = places(hashes, dim), signs(hashes)
    pairs = (shifted(index[first], dim, PAIR) + index[second]) % dim
    return pairs, PAIR_WEIGHT * (rarity[first] + rarity[second]) * sign[first] * sign[second]


def _wholes(whole: Any, shape: Shape) -> tuple[Any, Any]:
    some = whole[:MOST_TERMS]
    return shifted(places(some, shape.dim), shape.dim, WHOLE), WHOLE_WEIGHT * WHOLE_RARITY * signs(some)
