"""What keeps money: charges, keys and the audit log. A protocol, and one that keeps them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, Protocol

import msgspec

from prefrontal.contracts.money import Charge, Scope
from prefrontal.ledger.keys import VirtualKey

Group = Literal["key", "team", "tag", "model", "day", "month"]
GROUPS: tuple[Group, ...] = Group.__args__  # type: ignore[attr-defined]  # typing offers no typed accessor

REAPED = "reaped"
"""The outcome of a charge that nobody settled."""

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

    async def audits(self, limit: int) -> list[Audit]:
        """Return the newest entries of the audit log, newest first. Raises StoreError."""
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
