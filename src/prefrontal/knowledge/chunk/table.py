"""Tables: passages of whole rows; each knows the header, which counts as its heading."""

from __future__ import annotations

from collections.abc import Sequence

from prefrontal.knowledge.chunk.pieces import Cut, Piece

TARGET_WORDS = 120
"""Words at which the next row starts a new passage (assumed: the lower end of what prose has)."""

HEADER_CHARACTERS = 500
"""Longer headers are not repeated (assumed)."""


def cut_table(pieces: Sequence[Piece], *, header: bool) -> list[Cut]:
    """Return the starts of passages, the first at 0. A row may span lines inside double quotes."""
    first = pieces[0].text.strip() if header and pieces and len(pieces[0].text) <= HEADER_CHARACTERS else ""
    cuts = [Cut(start=0)]
    words, quoted = 0, False
    for i, piece in enumerate(pieces):
        if words >= TARGET_WORDS and not quoted and (piece.starts_line or words >= 2 * TARGET_WORDS):
            cuts.append(Cut(start=i, heading=first))
            words = 0
        words += piece.words
        if header and piece.text.count('"') % 2:
            quoted = not quoted
    return cuts
