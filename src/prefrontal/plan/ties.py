"""What decides between models of the same score: what is known of their size, before their names do. Pure."""

from __future__ import annotations

import math
import re

from prefrontal.contracts.model import ModelCard

_BILLIONS = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z0-9])")

SMALL_FIRST = frozenset({"cost", "latency"})
"""Preferences under which the smaller of two models, which answers sooner, is the better guess (assumed)."""

GIB = 1024.0**3


def billions(card: ModelCard) -> float:
    """Return the parameters in the model's name, in billions: the first number that ends in ``b``; 0 where none is."""
    for name in (card.wire_name, card.id, card.local_path or ""):
        found = _BILLIONS.search(name.lower().replace("_", "-"))
        if found is not None:
            return float(found[2]) * int(found[1] or 1)
    return 0.0


def tie_key(card: ModelCard, prefer: str) -> tuple[float, float, float, str]:
    """Return what sorts models of one score: by parameters, then memory, larger first unless speed counts; then window; name."""
    sizes = (billions(card), (card.memory_bytes or 0) / GIB)
    if prefer in SMALL_FIRST:
        parameters, memory = (size or math.inf for size in sizes)
    else:
        parameters, memory = (-size for size in sizes)
    return (parameters, memory, -float(card.context_tokens or 0), card.id)


def tie_reason(first: ModelCard, other: ModelCard, prefer: str) -> str:
    """Return the phrase for what put `first` before `other`, which scores the same: "it is larger (7B against 1.5B)"."""
    ours, theirs = tie_key(first, prefer), tie_key(other, prefer)
    what = next((index for index in range(3) if ours[index] != theirs[index]), 3)
    if what == 2:
        window = "unknown" if other.context_tokens is None else f"{other.context_tokens:,}"
        return f"its window is larger ({first.context_tokens:,} tokens against {window})"
    if what == 3:
        return "nothing known tells them apart but their names"
    word = "smaller, and speed is preferred" if prefer in SMALL_FIRST else "larger"
    sizes = (f"{billions(first):g}B", f"{billions(other):g}B") if what == 0 else (_memory(first), _memory(other))
    if math.inf in (ours[what], theirs[what]) or 0.0 in (ours[what], theirs[what]):
        return f"its size is known ({sizes[0]})"
    return f"it is {word} ({sizes[0]} against {sizes[1]})"


def _memory(card: ModelCard) -> str:
    return f"{(card.memory_bytes or 0) / GIB:.3g} GiB"
