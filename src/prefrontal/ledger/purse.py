"""One request's way through budgets and limits: enter, reserve for each attempt, settle or release, close."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from prefrontal.chat.usage import Usage
from prefrontal.contracts.money import Allowance, Budget, Charge, Payer
from prefrontal.errors import PrefrontalError, StoreError
from prefrontal.ledger.board import LEASE_S, MeterKey, RateDenial, RateLine
from prefrontal.ledger.books import NOTHING, BookKey, Claim, Denial, Line, Totals
from prefrontal.ledger.budgets import allowance, shortfall
from prefrontal.ledger.charges import charge_id
from prefrontal.ledger.refusals import reached, used_up
from prefrontal.ledger.reservation import Book, Reservation
from prefrontal.ledger.rules import NARROW, Matched
from prefrontal.ledger.standing import RateStanding, standings
from prefrontal.ledger.vault import SharedVault

if TYPE_CHECKING:
    from prefrontal.ledger.treasury import Treasury


class Purse:
    """Made by `Treasury.purse`; owned by one request. Close it once, whatever happens."""

    def __init__(self, treasury: Treasury, found: Matched, request_id: str) -> None:
        self.payer: Payer = found.payer
        self._treasury = treasury
        self._rules = found.rules
        self._entry = found.entry
        self._id = request_id
        self._entered: set[MeterKey] = set()
        self._view: dict[BookKey, Totals] = {}
        self._dirty = False

    # -- the request ---------------------------------------------------------------------------------------------------

    async def enter(self) -> None:
        """Count the request towards every limit that does not depend on the model, or towards none.

        Raises LimitExceeded, StoreError.
        """
        if self._entry:
            await self._count(self._entry)

    def close(self) -> None:
        """The request is over: it no longer counts as running."""
        if self._entered:
            self._treasury.board.leave(self._id)
            self._entered.clear()

    async def committed(self) -> None:
        """Return when what was settled is durable. Raises StoreError."""
        if self._dirty:
            await self._treasury.vault.committed()

    def standing(self, model: str | None) -> tuple[RateStanding, ...]:
        """Return how much of the tightest limits is left, those of `model` included; only limits where counters are shared."""
        treasury = self._treasury
        if not self._rules.rates:
            return ()
        own = treasury.meters if treasury.board is treasury.meters else None
        return standings(
            (
                (rate, None if own is None else own.meter((rate.scope, rate.window, subject)))
                for rate in self._rules.rates
                for subject in treasury.subjects(rate, self.payer, model)
            ),
            treasury.clock.monotonic(),
        )

    # -- the plan ------------------------------------------------------------------------------------------------------

    @property
    def degrades(self) -> bool:
        """Whether a budget here asks for a cheaper model instead of a refusal, or holds for single models."""
        return any(budget.on_exhaustion == "degrade" or budget.scope in NARROW for budget in self._rules.budgets)

    async def look(self, models: Iterable[str]) -> None:
        """Read what is used of the budgets of these models, where other processes use them too; nothing when it cannot be read.

        What `allowance` and `check` say then is as old as this; `reserve` decides by what is true when it asks.
        """
        shared = self._treasury.shared
        if shared is not None:
            lines = {line.key: line for model in models for line in self._lines(model)}
            try:
                self._view = dict(zip(lines, await shared.standings(tuple(lines.values())), strict=True))
            except StoreError:  # what has a budget is refused by `reserve`; what has none goes on
                self._view = {}

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
        treasury, shared = self._treasury, self._treasury.shared
        tokens = usage.total_tokens
        books = self.check(model, pico, tokens) if shared is None else []
        rates = self._rate_lines(model, tokens)
        at_s = await self._count(rates) if rates else 0.0
        counted = [line for line in rates if line.tokens] if rates else rates
        now_s = treasury.clock.now()
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
        try:
            if shared is not None:
                durable = await self._claim(shared, charge)
            else:
                if rates and treasury.board is not treasury.meters:  # other requests may have reserved while we waited
                    books = self.check(model, pico, tokens)
                durable = bool(books)
        except BaseException:
            treasury.board.amend(counted, at_s, 0)
            raise
        reservation = Reservation(charge, books, counted=counted, at_s=at_s, durable=durable)
        if durable and shared is None:
            await self._write(reservation)
        return reservation

    def settle(self, reservation: Reservation, outcome: str, usage: Usage, pico: int | None) -> None:
        """Turn a reservation into what was spent. A second end does nothing."""
        charge = reservation.settle(outcome, usage, pico)
        self._treasury.forget(reservation)
        if charge is None:
            return
        if reservation.counted:
            self._treasury.board.amend(reservation.counted, reservation.at_s, usage.total_tokens)
        if reservation.durable:
            self._dirty = True
            if self._treasury.shared is not None:
                self._treasury.shared.settle(charge)
            else:
                self._treasury.vault.put_charge(charge)

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back: nothing was used. A second end does nothing."""
        self._treasury.forget(reservation)
        if not reservation.release():
            return
        if reservation.counted:
            self._treasury.board.amend(reservation.counted, reservation.at_s, 0)
        if reservation.durable:
            self._dirty = True
            if self._treasury.shared is not None:
                self._treasury.shared.release(reservation.charge.id)
            else:
                self._treasury.vault.drop_charge(reservation.charge.id)

    def check(self, model: str, pico: int | None, tokens: int) -> list[Book]:
        """Return every counter of this process that a call touches, each once; where books are shared, after `look`, none.

        Raises QuotaExceeded.
        """
        books: list[Book] = []
        for budget, book, subject in self._budgets(model):
            why = shortfall(budget, book.used_pico, book.used_tokens, pico=pico, tokens=tokens)
            if why is not None:
                start_s = self._treasury.start_s(budget.window) if isinstance(book, Totals) else book.start_s
                totals = book if isinstance(book, Totals) else book.totals
                line = Line(budget=budget, subject=subject, start_s=start_s)
                raise used_up(Denial(line=line, dimension=why, totals=totals), self._treasury.clock.now())
            if isinstance(book, Book) and book not in books:
                books.append(book)
        return books

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _claim(self, shared: SharedVault, charge: Charge) -> bool:
        """Reserve where other processes do too; return whether any budget applies."""
        lines = tuple(self._lines(charge.model))
        if not lines:
            return False
        try:
            denial = await shared.reserve(Claim(charge=charge, lines=lines))
        except BaseException:
            shared.release(charge.id)  # it may have been carried out, or be so later
            raise
        if denial is not None:
            raise used_up(denial, self._treasury.clock.now())
        return True

    async def _write(self, reservation: Reservation) -> None:
        self._treasury.hold(reservation)
        self._treasury.vault.put_charge(reservation.charge)
        try:
            await self._treasury.vault.committed()
        except BaseException:
            self.release(reservation)
            raise

    def _budgets(self, model: str) -> Iterator[tuple[Budget, Book | Totals, str]]:
        treasury = self._treasury
        if treasury.shared is not None:
            for line in self._lines(model):
                yield line.budget, self._view.get(line.key, NOTHING), line.subject
            return
        for budget in self._rules.budgets:
            for subject in treasury.subjects(budget, self.payer, model):
                yield budget, treasury.book(budget.scope, budget.window, subject), subject

    def _lines(self, model: str) -> Iterator[Line]:
        treasury = self._treasury
        for budget in self._rules.budgets:
            for subject in treasury.subjects(budget, self.payer, model):
                models = treasury.members(subject) if budget.scope == "role" else ()
                yield Line(budget=budget, subject=subject, start_s=treasury.start_s(budget.window), models=models)

    def _rate_lines(self, model: str, tokens: int) -> list[RateLine]:
        """Return what an attempt counts: its tokens, and the request where a limit holds for its model and it is the first."""
        found: list[RateLine] = []
        for rate in self._rules.rates:
            narrow = rate.scope in NARROW
            if not narrow and rate.tokens is None:
                continue
            for subject in self._treasury.subjects(rate, self.payer, model):
                first = narrow and (rate.scope, rate.window, subject) not in self._entered
                weight = tokens if rate.tokens is not None else 0
                found.append(RateLine(rate=rate, subject=subject, requests=int(first), tokens=weight))
        return found

    async def _count(self, lines: Sequence[RateLine]) -> float:
        """Count in each meter, or in none; return when. Raises PrefrontalError."""
        board = self._treasury.board
        try:
            found = await board.enter(lines, self._id, LEASE_S)
        except PrefrontalError:
            raise
        except BaseException:
            board.leave(self._id)  # given up while it was asked: it may have counted, and this request ends
            raise
        if isinstance(found, RateDenial):
            raise reached(found)
        for line in lines:
            if line.requests:
                self._entered.add(line.key)
        return found.at_s
