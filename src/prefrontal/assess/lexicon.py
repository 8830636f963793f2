"""Which cues a run of words holds: one look-up per distinct word, one per distinct pair of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec


class Cue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One meaning and the words that carry it, as written in ``data/cues.yaml`` (lower case, letters and digits only)."""

    words: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


class Lexicon(NamedTuple):
    """Look-up tables made once from the cues; treat as read-only."""

    words: dict[str, tuple[str, ...]]
    pairs: dict[tuple[str, str], tuple[tuple[str, str], ...]]
    labels: dict[str, tuple[str, ...]]


def compile_lexicon(cues: dict[str, Cue]) -> Lexicon:
    """Index the cues by word, by the first two words of a phrase, and by label.

    Raises:
        ValueError: a phrase has fewer than two words (it belongs under ``words``).
    """
    words: dict[str, list[str]] = {}
    pairs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    labels: dict[str, list[str]] = {}
    for name, cue in cues.items():
        for word in set(cue.words):
            words.setdefault(word, []).append(name)
        for phrase in set(cue.phrases):
            parts = phrase.split()
            if len(parts) < 2:
                raise ValueError(f"cue {name!r}: the phrase {phrase!r} has fewer than two words")
            rest = f" {' '.join(parts)} " if len(parts) > 2 else ""
            pairs.setdefault((parts[0], parts[1]), []).append((name, rest))
        for label in set(cue.labels):
            labels.setdefault(label, []).append(name)
    return Lexicon(
        words={k: tuple(v) for k, v in words.items()},
        pairs={k: tuple(v) for k, v in pairs.items()},
        labels={k: tuple(v) for k, v in labels.items()},
    )


def count_cues(run: Sequence[str], lexicon: Lexicon) -> dict[str, int]:
    """Count, for each cue, how many of its different words and phrases occur in a run of words."""
    counts: dict[str, int] = {}
    for word in lexicon.words.keys() & set(run):
        for name in lexicon.words[word]:
            counts[name] = counts.get(name, 0) + 1
    joined = ""
    for pair in lexicon.pairs.keys() & set(pairwise(run)):
        for name, phrase in lexicon.pairs[pair]:
            if phrase:
                joined = joined or f" {' '.join(run)} "
                if phrase not in joined:
                    continue
            counts[name] = counts.get(name, 0) + 1
    return counts
