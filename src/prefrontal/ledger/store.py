"""What a ledger promises, whatever database stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from prefrontal.contracts.record import RequestRecord

MAX_LIMIT = 1000
"""How many records one listing gives at most (assumed: some megabytes)."""


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records to list, newest first. `before` is a record id (exclusive); `limit` in [1, 1000]; times are Unix seconds."""

    limit: int = 50
    before: str | None = None
    since_s: float | None = None
    model: str | None = None
    status: str | None = None
    answered_by: str | None = None
    channel: str | None = None
    key_id: str | None = None

    @property
    def bounded_limit(self) -> int:
        """The limit brought into [1, 1000]."""
        return max(1, min(MAX_LIMIT, self.limit))

    def matches(self, record: RequestRecord) -> bool:
        """Return whether `record` is one of those to list."""
        return (
            (self.before is None or record.id < self.before)
            and (self.since_s is None or record.started_s >= self.since_s)
            and (self.model is None or record.model == self.model)
            and (self.status is None or record.status == self.status)
            and (self.answered_by is None or record.answered_by == self.answered_by)
            and (self.channel is None or record.channel == self.channel)
            and (self.key_id is None or record.key_id == self.key_id)
        )


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whose records: of a key's id, of a person (by pseudonym), or the one of an id. Exactly one is given."""

    key_id: str | None = None
    user: str | None = None
    record_id: str | None = None

    def owns(self, record: RequestRecord) -> bool:
        """Return whether a record is one of them."""
        if self.record_id is not None:
            return record.id == self.record_id
        if self.user is not None:
            return self.user in record.users
        return self.key_id is not None and record.key_id == self.key_id


class LedgerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger's condition.

    writable: whether the last attempt to write worked and the disk has room. queued: records not yet on disk. bound: how many
    may be. written: records written by this process. content_dropped: records whose content was left out to make room.
    last_error: why it was not writable last, also when it is again.
    """

    writable: bool = True
    queued: int = 0
    bound: int = 0
    written: int = 0
    content_dropped: int = 0
    last_error: str | None = None


@runtime_checkable
class Expiring(Protocol):
    """A ledger that deletes records older than `retention_days`, None: never. It may be changed at any time."""

    retention_days: float | None


class Ledger(Protocol):
    """Keeps request records. `put` never waits and never loses a settlement; `admit` says beforehand when it cannot keep up."""

    def admit(self) -> None:
        """Return when there is room for one more request. Raises Overloaded near the bound or on a full disk."""
        ...

    def put(self, record: RequestRecord) -> None:
        """Take a record for writing; one of the same id replaces the earlier. Over the bound its content is dropped, never it."""
        ...

    async def get(self, record_id: str) -> RequestRecord | None:
        """Return a record by id, with its content, also one that is not on disk yet. Raises StoreError."""
        ...

    async def find(self, wanted: RecordFilter) -> list[RequestRecord]:
        """Return matching records without content, newest (highest id) first; sees everything put before. Raises StoreError."""
        ...

    async def spend_usd(self, since_s: float, models: frozenset[str]) -> float:
        """Return the known cost since a moment of these models; sees everything put before. Raises StoreError."""
        ...

    async def ids_of(self, subject: Subject) -> list[str]:
        """Return the ids of all records of a subject, newest first; sees everything put before. Raises StoreError."""
        ...

    async def erase(self, ids: Sequence[str]) -> int:
        """Delete records with their content, so that nothing of them is left in the files; return how many there were.

        Raises:
            StoreError: nothing was deleted.
        """
        ...

    async def flush(self) -> None:
        """Return when everything put before is on disk. Raises StoreError when it fails; the records are kept and tried again."""
        ...

    def status(self) -> LedgerStatus:
        """Return the ledger's condition."""
        ...

    async def aclose(self) -> None:
        """Write what is queued and close; a second call does nothing. Bounded in time."""
        ...
