"""A ledger in memory: for `records.enabled: false` (keeps nothing) and for tests (keeps the newest)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from prefrontal.contracts.record import RequestRecord
from prefrontal.ledger.store import LedgerStatus, RecordFilter, Subject


class MemoryLedger:
    """Keeps the newest `keep` records of this process; 0 keeps none. Nothing touches a disk."""

    def __init__(self, keep: int = 1000) -> None:
        self._keep = keep
        self._records: OrderedDict[str, RequestRecord] = OrderedDict()
        self._seen = 0

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return self._keep > 0

    def admit(self) -> None:
        """Always has room."""

    def put(self, record: RequestRecord) -> None:
        """Keep the record, forgetting the oldest beyond the bound."""
        self._seen += 1
        self._records[record.id] = record
        while len(self._records) > self._keep:
            self._records.popitem(last=False)

    async def get(self, record_id: str) -> RequestRecord | None:
        """Return a record that is still kept."""
        return self._records.get(record_id)

    async def find(self, wanted: RecordFilter) -> list[RequestRecord]:
        """Return the matching records that are still kept, newest first, without content."""
        matching = sorted(filter(wanted.matches, self._records.values()), key=lambda r: r.id, reverse=True)
        return [
            record if record.content is None else msgspec.structs.replace(record, content=None)
            for record in matching[: wanted.bounded_limit]
        ]

    async def spend_usd(self, since_s: float, models: frozenset[str]) -> float:
        """Return the cost of the records that are still kept."""
        return sum(r.cost_usd or 0.0 for r in self._records.values() if r.started_s >= since_s and r.model in models)

    async def ids_of(self, subject: Subject) -> list[str]:
        """Return those that are still kept."""
        return sorted([record.id for record in self._records.values() if subject.owns(record)], reverse=True)

    async def erase(self, ids: Sequence[str]) -> int:
        """Forget them."""
        return sum(self._records.pop(record_id, None) is not None for record_id in ids)

    async def flush(self) -> None:
        """Nothing is waiting."""

    def status(self) -> LedgerStatus:
        """Return the count."""
        return LedgerStatus(written=self._seen)

    async def aclose(self) -> None:
        """Nothing to close."""
