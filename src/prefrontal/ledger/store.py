"""What a ledger promises, whatever database stands behind it."""

from __future__ import annotations

from typing import Protocol

import msgspec

from prefrontal.contracts.record import RequestRecord


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records to list, newest first. `before` is a record id (exclusive); `limit` in [1, 1000]; times are Unix seconds."""

    limit: int = 50
    before: str | None = None
    since_s: float | None = None
    model: str | None = None
    status: str | None = None
    answered_by: str | None = None
    channel: str | None = None


class LedgerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger's condition. queued: records not yet on disk. content_dropped: records whose content was left out to make room."""

    writable: bool = True
    queued: int = 0
    bound: int = 0
    written: int = 0
    content_dropped: int = 0
    last_error: str | None = None


class Ledger(Protocol):
    """Keeps request records. `put` never blocks and never loses a settlement; `admit` says beforehand when it could not keep up."""

    def admit(self) -> None:
        """Return when there is room for one more request. Raises Overloaded (with retry-after) near the bound or with a full disk."""
        ...

    def put(self, record: RequestRecord) -> None:
        """Take a record for writing. Over the bound its content is dropped and counted, never the record."""
        ...

    async def get(self, record_id: str) -> RequestRecord | None:
        """Return a record by id, also one that is not on disk yet. Raises StoreError."""
        ...

    async def find(self, wanted: RecordFilter) -> list[RequestRecord]:
        """Return matching records without content, newest first; sees everything put before. Raises StoreError."""
        ...

    async def spend_usd(self, since_s: float, models: frozenset[str]) -> float:
        """Return the known cost since a moment of these models. Raises StoreError."""
        ...

    async def flush(self) -> None:
        """Return when everything put before is on disk. Raises StoreError when that fails."""
        ...

    def status(self) -> LedgerStatus:
        """Return the ledger's condition."""
        ...

    async def aclose(self) -> None:
        """Write what is queued and close. Bounded in time."""
        ...
