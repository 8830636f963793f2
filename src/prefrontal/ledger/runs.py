"""Budgets of runs: a simulation, a batch, a pipeline. A run is a tag of its charges, so what it spent survives the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from prefrontal.chat.usage import Usage
from prefrontal.contracts.money import NOBODY, Budget, Payer
from prefrontal.ledger.purse import Purse
from prefrontal.ledger.reservation import Reservation
from prefrontal.ledger.rules import Matched, Rules, of_payer

if TYPE_CHECKING:
    from prefrontal.ledger.treasury import Treasury

PREFIX = "run:"

MAX_RUN = 200
"""Longest name of a run, in characters (assumed: it stands in tables)."""


HELD = 5, 4
"""What is held for a call, as a share of its estimate, 5/4 (assumed: estimates of tokens are rarely off by a quarter). Calls that
run at the same time must not together cost more than the run has left."""


class RunPurse(Purse):
    """A purse whose budget is a hard cap: it holds more than a call is expected to cost."""

    async def reserve(self, model: str, *, number: int, usage: Usage, pico: int | None, ttl_s: float) -> Reservation:
        """See `Purse.reserve`."""
        held = None if pico is None else pico * HELD[0] // HELD[1]
        return await super().reserve(model, number=number, usage=usage, pico=held, ttl_s=ttl_s)


def run_tag(run: str, key_id: str | None) -> str:
    """Return the tag of a run; keys cannot spend from one another's runs."""
    return f"{PREFIX}{run}" if key_id is None else f"{PREFIX}{key_id}:{run}"


async def run_purse(
    treasury: Treasury, payer: Payer | None, key_id: str | None, run: str, limit_pico: int | None, request_id: str
) -> Purse:
    """Return what holds a request to its caller's rules and to the budget of a run: `limit_pico` in all, None: only counted.

    What the run has spent before is added up first, where no run was counted yet. Raises StoreError.
    """
    tag = run_tag(run, key_id)
    await treasury.admit_runs()
    who = payer or (NOBODY if key_id is None else Payer(key_id=key_id))
    rules = of_payer(treasury.rules, who).rules
    budget = Budget(name=f"run '{run}'", scope="tag", of=tag, window="total", limit_pico=limit_pico)
    if limit_pico is None:
        budget = msgspec.structs.replace(budget, unknown_price="count_zero")
    whose = msgspec.structs.replace(who, tags=(*who.tags, tag))
    found = Matched(payer=whose, rules=Rules(budgets=(*rules.budgets, budget), rates=rules.rates))
    return RunPurse(treasury, found, request_id)
