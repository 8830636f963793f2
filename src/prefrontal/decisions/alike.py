"""States that mean the same, found by the likeness of their words under guards that nothing overrules.

Likeness is the cosine of two engram vectors: of the words that carry meaning, each as the word that stands for its group, in one
order. So it does not depend on phrasing, and needs no model. What it cannot see, `guards` do.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec
import numpy as np

from prefrontal.decisions.guards import Features, agree, concepts, features_of, load_lexicon, says_other, stemmed
from prefrontal.knowledge.encode import Encoder, Passage
from prefrontal.knowledge.shape import Constants, Shape

MOST_ROOM = 256
"""States compared for one question; the longest unused go first (assumed: some ms at most)."""

MOST_STATES = 20_000
"""States compared in all (assumed: some 60 MB)."""


class _State(msgspec.Struct, frozen=True, kw_only=True):
    features: Features
    concepts: frozenset[str]
    indices: Any
    values: Any
    norm: float


class Alike:
    """Implements `Likeness`. Belongs to one event loop; keeps words of states in memory only."""

    def __init__(self, *, most: int = MOST_STATES) -> None:
        self._encoder = Encoder(Shape(), Constants())
        self._lexicon = load_lexicon()
        self._groups = stemmed(self._lexicon, self._encoder.tokenizer.stems)
        self._most = most
        self._rooms: dict[bytes, OrderedDict[str, _State]] = {}
        self._where: OrderedDict[str, bytes] = OrderedDict()

    def find(self, room: bytes, state: object, least: float) -> str | None:
        """See `Likeness.find`."""
        features = features_of(state, self._lexicon)
        known = self._rooms.get(room + features.fixed)
        if not known:
            return None
        asked = self._encoded(features)
        best, found = least, None
        for name, other in known.items():
            alike = 0.0 if says_other(asked.concepts, other.concepts) else _cosine(asked, other)
            if alike >= best and agree(features, other.features, self._lexicon):
                best, found = alike, name
        if found is not None:
            known.move_to_end(found)
        return found

    def likeness(self, one: object, other: object) -> float:
        """Return how alike two states are, in [0, 1]; 0 where a guard objects."""
        first, second = features_of(one, self._lexicon), features_of(other, self._lexicon)
        if not agree(first, second, self._lexicon):
            return 0.0
        mine, theirs = self._encoded(first), self._encoded(second)
        return 0.0 if says_other(mine.concepts, theirs.concepts) else _cosine(mine, theirs)

    def add(self, room: bytes, state: object, name: str) -> None:
        """See `Likeness.add`."""
        features = features_of(state, self._lexicon)
        if not features.words:
            return
        self.forget(name)
        key = room + features.fixed
        known = self._rooms.setdefault(key, OrderedDict())
        known[name] = self._encoded(features)
        self._where[name] = key
        if len(known) > MOST_ROOM:
            self.forget(next(iter(known)))
        if len(self._where) > self._most:
            self.forget(next(iter(self._where)))

    def forget(self, name: str) -> None:
        """See `Likeness.forget`."""
        key = self._where.pop(name, None)
        if key is None:
            return
        known = self._rooms[key]
        known.pop(name, None)
        if not known:
            del self._rooms[key]

    def _encoded(self, features: Features) -> _State:
        spoken = concepts(features, self._lexicon, self._encoder.tokenizer.stems, self._groups)
        vector = self._encoder.one(Passage(text=" ".join(sorted(spoken))))
        values = vector.values.astype(np.float64)
        norm = float(np.sqrt(np.dot(values, values)))
        return _State(features=features, concepts=spoken, indices=vector.indices, values=values, norm=norm)


def _cosine(one: _State, other: _State) -> float:
    if not one.norm or not other.norm:
        return 0.0
    _, mine, theirs = np.intersect1d(one.indices, other.indices, assume_unique=True, return_indices=True)
    return min(1.0, max(0.0, float(np.dot(one.values[mine], other.values[theirs])) / (one.norm * other.norm)))
