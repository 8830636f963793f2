"""What keeps money: charges, keys and the audit log. A protocol, and one that keeps them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol

import msgspec

from prefrontal.contracts.money import Charge, Scope
from prefrontal.ledger.books import REAPED, Claim, Denial, Line, Sheet, Totals
from prefrontal.ledger.keys import VirtualKey

Group = Literal["key", "team", "tag", "model", "day", "month"]
GROUPS: tuple[Group, ...] = Group.__args__  # type: ignore[attr-defined]  # typing offers no typed accessor

MAX_AUDIT = 1000
"""Entries one listing of the audit log gives at most (assumed)."""


KEPT_IN_MEMORY = 10_000
"""Charges kept where nothing may be written to disk; older ones are forgotten by new budgets only (assumed: some MB)."""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What one member of a scope used, charges still held included."""

    subject: str
    pico: int = 0
    tokens: int = 0
    unpriced: int = 0


class SpendQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which settled charges to add up, and by what. Times are Unix seconds, `until_s` exclusive."""

    by: tuple[Group, ...] = ("model",)
    since_s: float | None = None
    until_s: float | None = None


class SpendRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a report. `group` has one value for each of the query's `by`; empty text: none.

    cost_pico: of the calls with a known price. estimated: calls whose usage the upstream did not report. unpriced: calls
    without a price.
    """

    group: tuple[str, ...]
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_pico: int = 0
    estimated: int = 0
    unpriced: int = 0


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """One thing an admin did. `actor` is an admin key's digits, or where the caller sat."""

    at_s: float
    actor: str
    action: str
    target: str = ""
    details: str = ""


class Vault(Protocol):
    """Keeps charges, keys and audits. What is put is ordered; `committed` returns when all of it is safe. One event loop."""

    def put_charge(self, charge: Charge) -> None:
        """Write or replace a charge by its id."""
        ...

    def drop_charge(self, charge_id: str) -> None:
        """Delete a charge: nothing was used."""
        ...

    async def committed(self) -> None:
        """Return when everything put so far is durable. Raises StoreError; what was put is kept and tried again."""
        ...

    async def spent(self, scope: Scope, since_s: float) -> list[Spent]:
        """Return what members of `scope` used since a moment; for ``role`` by model. Raises StoreError."""
        ...

    async def reap(self, now_s: float) -> int:
        """Settle what is held beyond its expiry at its estimate; return how many there were. Raises StoreError."""
        ...

    async def report(self, query: SpendQuery) -> list[SpendRow]:
        """Return the report, in the order of its groups. Raises StoreError."""
        ...

    async def save_key(self, key: VirtualKey, audit: Audit) -> None:
        """Write or replace a key by id, with its audit, durably. Raises StoreError."""
        ...

    async def key_of(self, digest: bytes) -> VirtualKey | None:
        """Return the key whose secret has this hash. Raises StoreError."""
        ...

    async def keys(self) -> list[VirtualKey]:
        """Return every key, oldest first. Raises StoreError."""
        ...

    async def has_keys(self) -> bool:
        """Return whether a key was ever made. Raises StoreError."""
        ...

    async def note(self, audit: Audit) -> None:
        """Write an entry of the audit log, durably. Raises StoreError."""
        ...

    async def audits(self, limit: int) -> list[Audit]:
        """Return the newest entries of the audit log, newest first. Raises StoreError."""
        ...


class SharedVault(Vault, Protocol):
    """A vault on which several processes reserve: the check and the write are one transaction, and the books are in it.

    `settle` and `release` never wait: what they say is carried out in the order it was said, also behind a `reserve` that was
    given up; `Vault.committed` returns when it is durable. Every method takes part in the same order.
    """

    async def reserve(self, claim: Claim) -> Denial | None:
        """Check every line (`books.denied`), then hold in all books and write the row with its lines; or do nothing.

        A book that does not exist is made in the same transaction from the charges of its window, held rows whose lines name it
        as held, all others as spent. Durable at return.

        Raises:
            StoreError: it cannot be written. It may still be carried out later: the caller releases it, as after a cancellation.
        """
        ...

    def settle(self, charge: Charge) -> None:
        """Let a held charge have ended so, in its row and all its books, once (`books.open_still`).

        One that the reaper ended is corrected; one that has ended otherwise, or that there is none of, stays as it is.
        """
        ...

    def release(self, charge_id: str) -> None:
        """Delete a held (or reaped) charge and take it out of its books: nothing was used."""
        ...

    async def recount(self, sheets: Iterable[Sheet], subject: str | None = None) -> None:
        """Throw away the books of these sheets, of one member or of all: the next reservation adds them up from the charges.

        Called when budgets begin to hold that this process did not count for until now. Raises StoreError.
        """
        ...

    async def standings(self, lines: Sequence[Line]) -> list[Totals]:
        """Return what stands in each line's book, in their order; sees everything said before. Raises StoreError."""
        ...

    async def members(self, sheet: Sheet, start_s: float) -> list[str]:
        """Return the members that have a book in the window that began at `start_s`, sorted. Raises StoreError."""
        ...


class MemoryVault:
    """Keeps everything in this process: for `records.enabled: false`, where nothing may be written, and for tests."""

    def __init__(self, keep: int = KEPT_IN_MEMORY) -> None:
        self._keep = keep
        self.charges: dict[str, Charge] = {}
        self._keys: dict[str, VirtualKey] = {}
        self._audits: list[Audit] = []

    def put_charge(self, charge: Charge) -> None:
        """See `Vault.put_charge`."""
        self.charges[charge.id] = charge
        if len(self.charges) > self._keep:
            oldest = next((c.id for c in self.charges.values() if c.state == "settled"), None)
            if oldest is not None:
                del self.charges[oldest]

    def drop_charge(self, charge_id: str) -> None:
        """See `Vault.drop_charge`."""
        self.charges.pop(charge_id, None)

    async def committed(self) -> None:
        """Nothing is waiting."""

    async def spent(self, scope: Scope, since_s: float) -> list[Spent]:
        """See `Vault.spent`."""
        found: dict[str, Spent] = {}
        for charge in self.charges.values():
            if charge.at_s < since_s:
                continue
            for subject in subjects_of(charge, scope):
                one = found.get(subject) or Spent(subject=subject)
                found[subject] = Spent(
                    subject=subject,
                    pico=one.pico + (charge.cost_pico or 0),
                    tokens=one.tokens + charge.usage.total_tokens,
                    unpriced=one.unpriced + (charge.cost_pico is None),
                )
        return list(found.values())

    async def reap(self, now_s: float) -> int:
        """See `Vault.reap`."""
        stale = [c for c in self.charges.values() if c.state == "held" and c.expires_s is not None and c.expires_s < now_s]
        for charge in stale:
            self.charges[charge.id] = msgspec.structs.replace(charge, state="settled", expires_s=None, outcome=REAPED)
        return len(stale)

    async def report(self, query: SpendQuery) -> list[SpendRow]:
        """Return nothing: charges are not kept for reports where records are off."""
        return []

    async def save_key(self, key: VirtualKey, audit: Audit) -> None:
        """See `Vault.save_key`."""
        self._keys[key.id] = key
        self._audits.append(audit)
        del self._audits[:-MAX_AUDIT]

    async def key_of(self, digest: bytes) -> VirtualKey | None:
        """See `Vault.key_of`."""
        return next((key for key in self._keys.values() if key.is_secret(digest)), None)

    async def keys(self) -> list[VirtualKey]:
        """See `Vault.keys`."""
        return sorted(self._keys.values(), key=lambda key: key.created_s)

    async def has_keys(self) -> bool:
        """See `Vault.has_keys`."""
        return bool(self._keys)

    async def note(self, audit: Audit) -> None:
        """See `Vault.note`."""
        self._audits.append(audit)
        del self._audits[:-MAX_AUDIT]

    async def audits(self, limit: int) -> list[Audit]:
        """See `Vault.audits`."""
        return self._audits[::-1][: max(1, min(limit, MAX_AUDIT))]


def subjects_of(charge: Charge, scope: Scope) -> Iterable[str]:
    """Return the members of `scope` that a charge counts for; for ``role`` its model, whose roles the caller knows."""
    if scope == "global":
        return ("",)
    if scope == "tag":
        return charge.tags
    one = {"key": charge.key_id, "team": charge.team}.get(scope, charge.model)
    return () if one is None else (one,)


Roles = Callable[[str], tuple[str, ...]]
"""From a model to the roles it fills now."""
