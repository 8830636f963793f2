"""What the answers of a model taught about the way to tell it their form."""

from __future__ import annotations

import msgspec


class Learnt(msgspec.Struct, frozen=True, kw_only=True):
    """method: the way to use instead of the first (None: the first). until: monotonic, s. strikes: prose in a row by now.

    why: ``ignored`` or ``refused``.
    """

    method: str | None = None
    until: float = 0.0
    strikes: int = 0
    why: str | None = None
