"""The shipped contract, on both ledgers."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefrontal.clock import SystemClock
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.store import Ledger
from prefrontal.testing.ledger_contract import LedgerContract


class TestSqliteLedger(LedgerContract):
    """The ledger on disk."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self._path = tmp_path / "records.db"

    async def make(self) -> Ledger:
        return SqliteLedger(self._path, clock=SystemClock()).open()


class TestMemoryLedger(LedgerContract):
    """The ledger in memory."""

    async def make(self) -> Ledger:
        return MemoryLedger()
