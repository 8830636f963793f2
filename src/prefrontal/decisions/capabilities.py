"""What engines turned out to have no way to do: asked once, remembered for a while, bounded."""

from __future__ import annotations

from collections import OrderedDict

from prefrontal.clock import Clock
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.ladder import Rung

REMEMBER_S = 3600.0
"""How long an engine is not asked again for what it lacked (assumed: engines are updated by the day, not by the minute)."""

MAX_ENGINES = 1000
"""Models that are remembered; the longest unused is forgotten first (assumed)."""

NOTHING: frozenset[Rung] = frozenset()


class Capabilities:
    """The rungs each model is known to lack. Belongs to one event loop."""

    def __init__(self, clock: Clock, *, remember_s: float = REMEMBER_S, max_engines: int = MAX_ENGINES) -> None:
        self._clock = clock
        self._remember_s = remember_s
        self._max = max_engines
        self._lacks: OrderedDict[tuple[str, str | None, str], dict[Rung, float]] = OrderedDict()

    def lacks(self, card: ModelCard) -> frozenset[Rung]:
        """Return the rungs that `card` is known to lack now."""
        if not self._lacks:
            return NOTHING
        known = self._lacks.get(_key(card))
        if known is None:
            return NOTHING
        self._lacks.move_to_end(_key(card))
        now = self._clock.monotonic()
        return frozenset([rung for rung, until in known.items() if until > now])

    def note(self, card: ModelCard, rung: Rung) -> None:
        """Remember that `card` lacks `rung`."""
        key = _key(card)
        self._lacks.setdefault(key, {})[rung] = self._clock.monotonic() + self._remember_s
        self._lacks.move_to_end(key)
        while len(self._lacks) > self._max:
            self._lacks.popitem(last=False)

    def forget(self) -> None:
        """Forget everything, as after a change of the configuration."""
        self._lacks.clear()


def _key(card: ModelCard) -> tuple[str, str | None, str]:
    return card.id, card.base_url or card.local_path, card.wire_name
