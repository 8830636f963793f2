"""One request's way through budgets and limits: enter, reserve for each attempt, settle or release, close."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prefrontal.chat.usage import Usage
from prefrontal.contracts.money import Allowance, Budget, Charge, Payer, Rate, to_usd
from prefrontal.errors import LimitExceeded, QuotaExceeded
from prefrontal.ledger.budgets import allowance, shortfall
from prefrontal.ledger.charges import charge_id
from prefrontal.ledger.rates import Meter, Sliding
from prefrontal.ledger.reservation import Book, Reservation
from prefrontal.ledger.windows import window_end

if TYPE_CHECKING:
    from prefrontal.ledger.treasury import Rules, Treasury

NARROW = frozenset({"model", "role"})
"""Scopes that say nothing about other models."""

RETRY_CONCURRENCY_S = 1.0
"""When to come back if too many requests run at once (assumed: answers take seconds)."""


class Purse:
    """Made by `Treasury.purse`; owned by one request. Close it once, whatever happens."""

    def __init__(self, treasury: Treasury, payer: Payer, rules: Rules, request_id: str) -> None:
        self.payer = payer
        self._treasury = treasury
        self._rules = rules
        self._id = request_id
        self._number = 0
        self._entered: list[Meter] = []
        self._running: list[Meter] = []
        self._dirty = False

    # -- the request ---------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Count the request towards every limit that does not depend on the model, or towards none. Raises LimitExceeded."""
        self._count([found for found in self._rates(None) if found[0].scope not in NARROW])

    def close(self) -> None:
        """The request is over: it no longer counts as running."""
        for meter in self._running:
            meter.running -= 1
        self._running = []

    async def committed(self) -> None:
        """Return when what was settled is durable. Raises StoreError."""
        if self._dirty:
            await self._treasury.vault.committed()

    # -- the plan ------------------------------------------------------------------------------------------------------

    @property
    def degrades(self) -> bool:
        """Whether a budget here asks for a cheaper model instead of a refusal, or holds for single models."""
        return any(budget.on_exhaustion == "degrade" or budget.scope in NARROW for budget in self._rules.budgets)

    def allowance(self, model: str, *, named: bool = False) -> Allowance | None:
        """Return what is left for a call of `model` by the budgets that steer the choice; None: no such budget.

        Those are the budgets that degrade and, unless the model was named, those of single models and roles.
        """
        return allowance(
            (budget, book.used_pico, book.used_tokens)
            for budget, book, _ in self._budgets(model)
            if budget.on_exhaustion == "degrade" or (budget.scope in NARROW and not named)
        )

    # -- attempts ------------------------------------------------------------------------------------------------------

    async def reserve(self, model: str, *, number: int, usage: Usage, pico: int | None, ttl_s: float) -> Reservation:
        """Hold the estimate of attempt `number` of `model`; return when that is durable.

        Raises:
            QuotaExceeded, LimitExceeded: a budget or limit has no room; nothing is held. StoreError: it cannot be written.
        """
        tokens = usage.total_tokens
        books = self.check(model, pico, tokens)
        rates = [(rate, meter, of) for rate, meter, of in self._rates(model) if rate.tokens is not None or rate.scope in NARROW]
        now = self._treasury.clock.monotonic()
        for rate, meter, of in rates:
            if rate.tokens is not None and meter.tokens.total(now) + tokens > rate.tokens:
                raise _too_fast(rate, of, "tokens", meter.tokens, now, tokens, rate.tokens)
        self._count([found for found in rates if found[0].scope in NARROW])
        lately = {id(meter): meter.tokens for rate, meter, _ in rates if rate.tokens is not None}
        now_s = self._treasury.clock.now()
        charge = Charge(
            id=charge_id(self._id, number),
            at_s=now_s,
            state="held",
            expires_s=now_s + ttl_s,
            key_id=self.payer.key_id,
            team=self.payer.team,
            tags=self.payer.tags,
            model=model,
            outcome="held",
            usage=usage,
            cost_pico=pico,
        )
        reservation = Reservation(charge, books, [(sliding, sliding.add(now, tokens)) for sliding in lately.values()])
        if not reservation.durable:
            return reservation
        self._treasury.hold(reservation)
        self._treasury.vault.put_charge(charge)
        try:
            await self._treasury.vault.committed()
        except BaseException:
            self.release(reservation)
            raise
        return reservation

    def settle(self, reservation: Reservation, outcome: str, usage: Usage, pico: int | None) -> None:
        """Turn a reservation into what was spent. A second end does nothing."""
        charge = reservation.settle(outcome, usage, pico)
        self._treasury.forget(reservation)
        if charge is not None and reservation.durable:
            self._dirty = True
            self._treasury.vault.put_charge(charge)

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back: nothing was used. A second end does nothing."""
        self._treasury.forget(reservation)
        if reservation.release() and reservation.durable:
            self._dirty = True
            self._treasury.vault.drop_charge(reservation.charge.id)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _budgets(self, model: str) -> Iterator[tuple[Budget, Book, str]]:
        treasury = self._treasury
        for budget in self._rules.budgets:
            for subject in treasury.subjects(budget, self.payer, model):
                yield budget, treasury.book(budget.scope, budget.window, subject), subject

    def _rates(self, model: str | None) -> list[tuple[Rate, Meter, str]]:
        treasury = self._treasury
        return [
            (rate, treasury.meter(rate, subject), subject)
            for rate in self._rules.rates
            for subject in treasury.subjects(rate, self.payer, model)
        ]

    def check(self, model: str, pico: int | None, tokens: int) -> list[Book]:
        """Return every counter a call touches, each once. Raises QuotaExceeded."""
        books: dict[int, Book] = {}
        for budget, book, subject in self._budgets(model):
            dimension = shortfall(budget, book.used_pico, book.used_tokens, pico=pico, tokens=tokens)
            if dimension is not None:
                raise _used_up(budget, book, subject, dimension, self._treasury.clock.now())
            books[id(book)] = book
        return list(books.values())

    def _count(self, rates: list[tuple[Rate, Meter, str]]) -> None:
        """Count the request once in each meter, or not at all."""
        now = self._treasury.clock.monotonic()
        fresh = [found for found in rates if not any(found[1] is meter for meter in self._entered)]
        for rate, meter, of in fresh:
            if rate.requests is not None and meter.requests.total(now) + 1 > rate.requests:
                raise _too_fast(rate, of, "requests", meter.requests, now, 1, rate.requests)
            if rate.concurrency is not None and meter.running + 1 > rate.concurrency:
                raise _too_many(rate, of, meter)
        for _, meter, _ in fresh:
            if not any(meter is seen for seen in self._entered):
                self._entered.append(meter)
                self._running.append(meter)
                meter.requests.add(now, 1)
                meter.running += 1


def _whose(rule: Budget | Rate, of: str) -> str:
    return "all requests together" if rule.scope == "global" else f"the {rule.scope} '{of}'"


def _used_up(budget: Budget, book: Book, of: str, dimension: str, now_s: float) -> QuotaExceeded:
    ends_s = window_end(budget.window, book.start_s)
    details: dict[str, Any] = {
        "budget": budget.name,
        "scope": budget.scope,
        "of": of,
        "dimension": dimension,
        "window": budget.window,
        "resets_s": ends_s,
    }
    if dimension == "budget_tokens":
        details |= {"spent": book.spent_tokens, "held": book.held_tokens, "limit": budget.limit_tokens}
        amount = f"{book.used_tokens:,} of {budget.limit_tokens:,} tokens are used"
    else:
        limit = to_usd(budget.limit_pico or 0)
        details |= {"spent": to_usd(book.spent_pico), "held": to_usd(book.held_pico), "limit": limit}
        amount = f"${to_usd(book.used_pico):.6g} of ${limit:.6g} are used"
    if dimension == "unknown_price":
        text = f"The budget '{budget.name}' of {_whose(budget, of)} refuses models whose price is not known."
    else:
        text = f"The budget '{budget.name}' of {_whose(budget, of)} does not leave enough for this call: {amount}."
    hint = None if ends_s is None else f"It begins anew in {_spoken(ends_s - now_s)}."
    error = QuotaExceeded(text, hint=hint, details=details)
    error.elsewhere = budget.on_exhaustion == "degrade" or budget.scope in NARROW
    return error


def _too_fast(rate: Rate, of: str, dimension: str, sliding: Sliding, now: float, amount: int, limit: int) -> LimitExceeded:
    wait_s = sliding.wait_s(now, amount, limit)
    used = sliding.total(now)
    text = f"The limit '{rate.name}' of {_whose(rate, of)} is reached: {used} of {limit} {dimension} a {rate.window}."
    if wait_s is None:
        text = f"This request needs about {amount} {dimension}; the limit '{rate.name}' of {_whose(rate, of)} is {limit}."
    details = {"rate": rate.name, "scope": rate.scope, "of": of, "dimension": dimension, "window": rate.window}
    error = LimitExceeded(text, retry_after_s=wait_s, details={**details, "used": used, "limit": limit})
    error.elsewhere = rate.scope in NARROW
    return error


def _too_many(rate: Rate, of: str, meter: Meter) -> LimitExceeded:
    text = f"The limit '{rate.name}' of {_whose(rate, of)} is reached: {meter.running} requests run at once."
    details: dict[str, Any] = {"rate": rate.name, "scope": rate.scope, "of": of, "dimension": "concurrency"}
    details |= {"used": meter.running, "limit": rate.concurrency}
    error = LimitExceeded(text, retry_after_s=RETRY_CONCURRENCY_S, details=details)
    error.elsewhere = rate.scope in NARROW
    return error


def _spoken(seconds: float) -> str:
    """Return a stretch of time in the largest unit that fits."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = round(seconds / length)
            return f"about {count} {unit}{'s' if count > 1 else ''}"
    return f"{max(1, round(seconds))} s"
