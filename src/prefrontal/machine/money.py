"""Money on a request's way: what budgets leave for each model, a cheaper one in place of one too dear, waiting for the books."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from prefrontal.chat.usage import Usage
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.money import Allowance, Degraded
from prefrontal.contracts.reach import url_for
from prefrontal.errors import InvalidRequest, QuotaExceeded, StoreError
from prefrontal.ledger.budgets import fits
from prefrontal.ledger.purse import Purse
from prefrontal.machine.fit import check_named
from prefrontal.machine.parts import Parts
from prefrontal.machine.run import Run
from prefrontal.plan.reserve import reserved
from prefrontal.plan.tokens import NEUTRAL

log = logging.getLogger(__name__)


async def look(run: Run) -> None:
    """Read what other processes have used of the budgets that steer the choice; before a plan. Raises StoreError."""
    if run.purse is not None and run.purse.degrades:
        await run.purse.look(run.world.registry.cards)


def allowances(run: Run) -> Mapping[str, Allowance]:
    """Return what budgets leave for a call of each model, as far as they steer the choice."""
    purse = run.purse
    if purse is None or not purse.degrades:
        return {}
    found = {name: purse.allowance(name) for name in run.world.registry.cards}
    return {name: left for name, left in found.items() if left is not None}


def affordable(run: Run, card: ModelCard, parts: Parts) -> ModelCard:
    """Return the named model, or the next cheaper one that can take the request, where a budget degrades and it is too dear.

    Without such a one the named model stays, and reserving for it says which budget is used up.
    """
    purse = run.purse
    if purse is None or not purse.degrades:
        return card
    left = purse.allowance(card.id, named=True)
    if left is None:
        return card
    usage, pico = _reserved(run, card, parts)
    if fits(left, pico=pico, tokens=usage.total_tokens):
        return card
    cheaper: list[tuple[int, int, str]] = []
    for other in run.world.registry.enabled:
        its_usage, its_pico = _reserved(run, other, parts)
        if other.id == card.id or its_pico is None or (pico is not None and its_pico >= pico):
            continue
        its_left = purse.allowance(other.id)
        if (its_left is None or fits(its_left, pico=its_pico, tokens=its_usage.total_tokens)) and _can(run, other, parts):
            cheaper.append((its_pico, other.priority, other.id))
    if not cheaper:
        return card
    run.degraded = Degraded(budget=left.budget, instead_of=card.id)
    return run.world.registry.cards[max(cheaper)[2]]


def worded(run: Run, error: QuotaExceeded) -> QuotaExceeded:
    """Return the planner's refusal with the numbers of the budget that stands in the way of the cheapest model."""
    purse = run.purse
    for model in error.details.get("models", ()):
        card = run.world.registry.cards.get(model)
        if purse is not None and card is not None:
            usage, pico = _reserved(run, card)
            try:
                purse.check(model, pico, usage.total_tokens)
            except QuotaExceeded as full:
                full.details["models"] = error.details["models"]
                return full
    return error


async def settled(run: Run, purse: Purse | None = None) -> None:
    """Return when what the request cost is in the books, those of `purse` included; called before the last byte is sent.

    When the books cannot be written the answer is sent all the same: it is paid for, and the ledger goes on trying.
    """
    purses = [one for one in (run.purse, purse) if one is not None]
    try:
        for one in purses:
            await one.committed()
    except StoreError as error:
        log.error("the charges of %s are not on disk yet: %s", run.id, error)


def _reserved(run: Run, card: ModelCard, parts: Parts | None = None) -> tuple[Usage, int | None]:
    """Return what reserving for a call would hold; with `parts` by what its model's reports have taught, as reserving does."""
    state = None if parts is None else parts.runtime.find(card.id)
    calibration = NEUTRAL if state is None else state.calibration
    return reserved(run.request, card, run.started_s, default_cap=run.default_cap, calibration=calibration)


def _can(run: Run, card: ModelCard, parts: Parts) -> bool:
    if run.reach is not None and run.reach.refusal(url_for(run.reach, card)) is not None:
        return False
    try:
        check_named(run.request, card, run.world.registry, parts.runtime)
    except InvalidRequest:
        return False
    return True
