"""What a key opens."""

from __future__ import annotations

import msgspec

from prefrontal.contracts.money import NOBODY, Payer
from prefrontal.contracts.resilience import Priority


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What the holder of a virtual key may use, and who pays.

    models, tools: the only ones that exist for this key; None: all. engrams: those it may search; "*" stands for
    all. channel: taken when the caller asks for none.
    store_content: False keeps this key's prompts and answers out of the records even where `records.content` is on, and its
    responses out of the store of the Responses API. data_class: what kind of data its requests are, for `egress.by_data_class`.
    priority: the most its requests may ask for, and what they have when they ask for nothing.
    cache: whether its requests use the response cache; None: as they and the configuration say.
    """

    payer: Payer = NOBODY
    models: frozenset[str] | None = None
    tools: frozenset[str] | None = None
    engrams: frozenset[str] = frozenset()
    channel: str | None = None
    store_content: bool = True
    data_class: str | None = None
    priority: Priority = "normal"
    cache: bool | None = None

    def sees(self, engram: str) -> bool:
        """Return whether the key may search an engram."""
        return engram in self.engrams or "*" in self.engrams
