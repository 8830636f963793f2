"""Where finished records go: the ledger, and whoever else wants to see them (metrics, logs)."""

from __future__ import annotations

from collections.abc import Callable

from prefrontal.contracts.record import RequestRecord
from prefrontal.ledger.store import Ledger

Observer = Callable[[RequestRecord], None]


class Sink:
    """Called once for each finished request, on the event loop. Observers must be quick and must not raise."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.observers: list[Observer] = []

    def __call__(self, record: RequestRecord) -> None:
        """Keep the record and show it to the observers."""
        self._ledger.put(record)
        for observer in self.observers:
            observer(record)
