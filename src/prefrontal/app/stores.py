"""Where one process counts money and rates: alone, or together with others on one database."""

from __future__ import annotations

import msgspec

from prefrontal.clock import Clock
from prefrontal.config.registry import Registry
from prefrontal.config.reload import ConfigHolder
from prefrontal.config.schema import Config
from prefrontal.ledger.board import RateBoard
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.sqlite_shared import SqliteSharedVault
from prefrontal.ledger.sqlite_vault import SqliteVault
from prefrontal.ledger.store import Ledger
from prefrontal.ledger.vault import MemoryVault, Roles, SharedVault, Vault


class Stores(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps charges and keys.

    shared: the same vault, where other processes reserve on it too. board: who counts towards rate limits; None: this process.
    """

    vault: Vault
    shared: SharedVault | None = None
    board: RateBoard | None = None


def stores_of(config: Config, ledger: Ledger, clock: Clock) -> Stores:
    """Return the stores that a configuration asks for, on an open ledger."""
    if isinstance(ledger, SqliteLedger) and config.server.workers > 1:
        both = SqliteSharedVault(ledger, clock=clock)
        return Stores(vault=both, shared=both, board=both)
    on_postgres = _on_postgres(ledger, clock, config.store.replicas * config.server.workers)
    return alone(ledger, clock) if on_postgres is None else on_postgres


def alone(ledger: Ledger, clock: Clock) -> Stores:
    """Return the stores of a process that nobody else counts with, such as a command."""
    if isinstance(ledger, SqliteLedger):
        return Stores(vault=SqliteVault(ledger, clock=clock))
    on_postgres = _on_postgres(ledger, clock)
    return Stores(vault=MemoryVault() if on_postgres is None else on_postgres.vault)


def _on_postgres(ledger: Ledger, clock: Clock, replicas: int = 1) -> Stores | None:
    """Return the stores of a ledger on Postgres, None for any other. Its libraries are imported only where it is used."""
    if isinstance(ledger, SqliteLedger | MemoryLedger):
        return None
    from prefrontal.app.ledgers import postgres_ledger

    found = postgres_ledger(ledger)
    if found is None:
        return None
    from prefrontal.ledger.postgres.rates import PostgresRates
    from prefrontal.ledger.postgres.vault import PostgresVault

    vault = PostgresVault(found, clock=clock)
    return Stores(vault=vault, shared=vault, board=PostgresRates(found, clock=clock, replicas=replicas))


def roles_in(holder: ConfigHolder[Registry]) -> tuple[Roles, Roles]:
    """Return what tells the roles of a model, and the models of a role, by the configuration of the moment."""
    return lambda model: holder.current.registry.roles_of(model), lambda role: holder.current.registry.roles.get(role, ())
