"""Where finished records go: the ledger, and whoever else wants to see them (metrics, logs)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from prefrontal.contracts.record import RequestRecord
from prefrontal.ledger.store import Ledger

log = logging.getLogger(__name__)

Observer = Callable[[RequestRecord], None]


class Sink:
    """Called once for each finished request, on the event loop. Observers must be quick; one that raises is logged."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.observers: list[Observer] = []

    def __call__(self, record: RequestRecord) -> None:
        """Keep the record and show it to the observers."""
        self._ledger.put(record)
        for observer in self.observers:
            try:
                observer(record)
            except Exception:  # an edge: the answer is paid for, and whoever counts it must not take it from its caller
                log.exception("an observer of records failed")
