"""Dense vectors of the engrams of this home: made in the background, asked beside the words. Imported with the first need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from prefrontal.errors import Conflict, NotFound
from prefrontal.knowledge.dense import blocks, calibrate, hybrid
from prefrontal.knowledge.dense.fill import Filled, Watch, fill
from prefrontal.knowledge.search.searcher import Hit, Searcher

if TYPE_CHECKING:
    from prefrontal.knowledge.dense.encoder import Encoder
    from prefrontal.knowledge.search.filters import Filter


def resolved(searcher: Searcher, encoder: Encoder | None, mode: hybrid.Mode) -> hybrid.Mode:
    """Return how a search is made. Raises InvalidRequest for an unknown mode, CapabilityMissing when it has no vectors."""
    near = None if encoder is None else hybrid.near_of(searcher, encoder.info)
    return hybrid.chosen(mode, near)


def found(
    searcher: Searcher,
    encoder: Encoder,
    query: str,
    vector: Any,
    *,
    mode: hybrid.Mode,
    k: int,
    where: Filter | None,
    text: bool,
) -> tuple[list[Hit], hybrid.Mode]:
    """Return the best passages, and how they were found: by words where the vectors are gone or the question has none."""
    near = hybrid.near_of(searcher, encoder.info)
    if near is None or not vector.any() or mode not in ("dense", "hybrid"):
        return searcher.search(query, k=k, where=where, text=text), "lexical"
    way = hybrid.DENSE if mode == "dense" else hybrid.HYBRID
    return hybrid.search(searcher, near, query, vector, mode=way, k=k, where=where, text=text), mode


def filled(path: Path, encoder: Encoder, *, precision: blocks.Precision, watch: Watch) -> Filled | None:
    """Give an engram the vectors it lacks and calibrate it; None when another process is at it, or the engram is gone."""
    try:
        done = fill(path, encoder, precision=precision, watch=watch)
        if done.done and done.passages:
            with Searcher(path) as searcher:
                calibrate.refresh(searcher, encoder)
    except (Conflict, NotFound):
        return None
    return done


def standing(searcher: Searcher) -> list[dict[str, Any]]:
    """Return what vectors an engram has, by encoder: how many passages have one, and how far they are trusted."""
    entries = []
    for near in hybrid.every_near(searcher):
        state = near.state
        entries.append(
            {
                "encoder": state.encoder.name,
                "revision": state.encoder.revision,
                "dim": state.encoder.dim,
                "precision": state.precision,
                "passages": near.covered,
                "missing": searcher.index.count - near.covered,
                "size_bytes": near.size_bytes,
                "calibration": None if state.calibration is None else msgspec.to_builtins(state.calibration),
            }
        )
    return entries
