"""The virtual keys a process knows: a bounded memory before the vault, so that a known key costs no reading."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from prefrontal.clock import Clock
from prefrontal.contracts.access import Grant
from prefrontal.contracts.money import Payer
from prefrontal.errors import StoreError
from prefrontal.ledger.keys import VirtualKey
from prefrontal.ledger.treasury import Treasury
from prefrontal.ledger.vault import Audit, Vault

FRESH_S = 5.0
"""How long what was read holds: other processes, such as the command line, may change keys (assumed)."""

STALE_S = 900.0
"""How long what was read holds while the database cannot be asked: a revoked key works no longer than this (assumed)."""

KEPT = 10_000
"""Keys remembered, those that do not exist among them (assumed: some MB)."""


class Known:
    """One answer of the vault: the key (None: there is none), what it opens, and when that was read."""

    __slots__ = ("grant", "key", "read_at")

    def __init__(self, key: VirtualKey | None, grant: Grant | None, read_at: float) -> None:
        self.key = key
        self.grant = grant
        self.read_at = read_at


class KeyRing:
    """Finds keys by their secret. Changes made through it hold from the next request on. Owned by one event loop."""

    def __init__(self, *, vault: Vault, treasury: Treasury, clock: Clock) -> None:
        self._vault = vault
        self._treasury = treasury
        self._clock = clock
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._some = False
        self._changes = 0
        self._looked_at: float | None = None
        self.on_saved: Callable[[], Awaitable[None]] | None = None  # tells other workers of this gateway

    # -- for the gate --------------------------------------------------------------------------------------------------

    def required(self) -> bool | None:
        """Return whether a key was ever made, so that everybody must show one; None: it is time to look (`look`)."""
        if self._some:
            return True
        if self._looked_at is None or self._clock.monotonic() - self._looked_at > FRESH_S:
            return None
        return False

    async def look(self) -> bool:
        """Return whether a key was ever made, asking the vault; what it said last when it cannot be asked. Raises StoreError."""
        if not self._some:
            try:
                self._some = await self._vault.has_keys()
            except StoreError:
                if not self._holds(self._looked_at):
                    raise
                return False
            self._looked_at = self._clock.monotonic()
        return self._some

    def known(self, digest: bytes) -> Known | None:
        """Return what is known of the secret with this hash; None: the vault must be asked (`find`)."""
        found = self._known.get(digest)
        if found is None or self._clock.monotonic() - found.read_at > FRESH_S:
            return None
        self._known.move_to_end(digest)
        return found

    async def find(self, digest: bytes) -> Known:
        """Return what the vault says of the secret with this hash; of a known key what it said last when it cannot be asked.

        Raises StoreError.
        """
        while True:
            changes = self._changes
            found = await self._found(digest)
            if changes == self._changes:  # else what was read may be older than the change, and would outlive it here
                return found

    async def _found(self, digest: bytes) -> Known:
        before = self._known.get(digest)
        try:
            key = await self._vault.key_of(digest)
        except StoreError:
            if before is None or before.key is None or not self._holds(before.read_at):
                raise
            return before
        if key is not None and before is not None and before.key == key:
            before.read_at = self._clock.monotonic()
            return before
        return await self._remember(digest, key)

    def now_s(self) -> float:
        """Return the Unix time keys expire by."""
        return self._clock.now()

    # -- for admins ----------------------------------------------------------------------------------------------------

    async def save(self, key: VirtualKey, audit: Audit) -> None:
        """Write a key; it holds as it is now from the next request on. Raises StoreError."""
        digest = bytes.fromhex(key.hash)
        self._known.pop(digest, None)
        await self._vault.save_key(key, audit)
        self._changes += 1
        self._some = True
        await self._remember(digest, key)
        if self.on_saved is not None:
            await self.on_saved()

    def forget(self) -> None:
        """Ask the vault anew from now on: another process has changed a key."""
        self._known.clear()
        self._changes += 1
        self._looked_at = None

    async def keys(self) -> list[VirtualKey]:
        """Return every key, oldest first. Raises StoreError."""
        return await self._vault.keys()

    async def payers(self) -> list[Payer]:
        """Return who every key stands for. Raises StoreError."""
        return [key.grant().payer for key in await self._vault.keys()]

    def _holds(self, read_at: float | None) -> bool:
        """Return whether what was read then may be used while nothing can be read."""
        return read_at is not None and self._clock.monotonic() - read_at <= STALE_S

    async def _remember(self, digest: bytes, key: VirtualKey | None) -> Known:
        grant = None if key is None else key.grant()
        if grant is not None:
            await self._treasury.admit_key(grant.payer)
        found = self._known[digest] = Known(key, grant, self._clock.monotonic())
        self._known.move_to_end(digest)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return found
