"""Two reloads in quick succession: the rules of the last one hold."""

from __future__ import annotations

import asyncio

import msgspec

from prefrontal.app.money import Money
from prefrontal.app.stores import Stores
from prefrontal.clock import Chance, SystemClock
from prefrontal.config.schema import Config
from prefrontal.contracts.money import Scope
from prefrontal.ledger.vault import MemoryVault, Spent


class Slow(MemoryVault):
    """Reads the past only when it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def spent(self, scope: Scope, since_s: float) -> list[Spent]:
        await self.gate.wait()
        return await super().spent(scope, since_s)


async def test_a_budget_that_is_taken_back_while_it_is_added_up_does_not_hold() -> None:
    """A file gets a budget and loses it again before the past was read; a budget that stays does hold."""
    money = Money(stores=Stores(vault=MemoryVault()), clock=SystemClock(), chance=Chance(1))
    vault = money.treasury.vault = Slow()
    without = msgspec.convert({}, Config)
    budgets = [{"scope": "global", "window": "day", "usd": 1.0}]
    with_one = msgspec.convert({"budgets": budgets}, Config)
    await money.configure(without, lambda _model: ())
    saves = [asyncio.create_task(money.configure(config, lambda _model: ())) for config in (with_one, without)]
    await asyncio.sleep(0.01)
    vault.gate.set()
    await asyncio.gather(*saves)
    assert money.treasury.rules.budgets == ()
    await money.configure(with_one, lambda _model: ())
    assert len(money.treasury.rules.budgets) == 1
