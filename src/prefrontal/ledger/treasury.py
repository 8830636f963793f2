"""The owner of all counters: which budgets and limits there are, what is used of each, what is held for calls in progress.

Belongs to one event loop. Checking and counting happen in one step without a pause, so no two requests can both take the last
of a budget. Charges are kept by a `Vault`; at start the counters are added up from them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.money import EACH, NOBODY, Budget, Payer, Rate, Scope, Window, to_usd
from prefrontal.errors import StoreError
from prefrontal.ledger.purse import Purse
from prefrontal.ledger.rates import Meter
from prefrontal.ledger.reservation import Book, Reservation
from prefrontal.ledger.vault import Roles, Vault
from prefrontal.ledger.windows import window_end, window_start

log = logging.getLogger(__name__)

Sheet = tuple[Scope, Window]

REAP_EVERY_S = 30.0
"""How often what nobody can be working on any more is settled (assumed)."""

MAX_PAYERS = 10_000
"""Payers whose rules are remembered (assumed: some MB; beyond it they are matched anew)."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The configured rules of one generation."""

    budgets: tuple[Budget, ...] = ()
    rates: tuple[Rate, ...] = ()

    @property
    def some(self) -> bool:
        """Whether there is any rule."""
        return bool(self.budgets or self.rates)


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """One budget of one member now. Amounts in USD and tokens; resets_s: Unix time, None: never."""

    budget: str
    scope: Scope
    of: str
    window: Window
    on_exhaustion: str
    limit_usd: float | None
    limit_tokens: int | None
    spent_usd: float
    spent_tokens: int
    held_usd: float
    held_tokens: int
    unpriced: int
    resets_s: float | None


class Treasury:
    """Counts for everybody. `configure` before the first request; `purse` gives each request its rules."""

    def __init__(self, *, clock: Clock, vault: Vault) -> None:
        self.clock = clock
        self.vault = vault
        self.rules = Rules()
        self._roles: Roles = lambda _model: ()
        self._books: dict[Sheet, dict[str, Book]] = {}
        self._meters: dict[tuple[str, str, str], Meter] = {}
        self._counted: dict[Sheet, frozenset[str]] = {}
        self._own: dict[str | None, frozenset[Window]] = {}
        self._payers: dict[str | None, tuple[Payer, Rules]] = {}
        self._held: dict[str, Reservation] = {}
        self._opening = asyncio.Lock()

    # -- rules ---------------------------------------------------------------------------------------------------------

    async def configure(self, rules: Rules, roles: Roles) -> None:
        """Add up the past that new budgets need, then let these rules hold. Raises StoreError; the old rules stay then."""
        self._roles = roles
        wanted: dict[Sheet, frozenset[str]] = {}
        for budget in rules.budgets:
            sheet = (budget.scope, budget.window)
            wanted[sheet] = wanted.get(sheet, frozenset()) | {budget.of}
        async with self._opening:
            for sheet in set(wanted) | set(self._counted):
                if sheet not in wanted and sheet[0] != "key":
                    self._books.pop(sheet, None)
                elif self._counted.get(sheet) != wanted.get(sheet):  # until now, others than these were counted
                    await self._add_up(*sheet)
            self._counted = wanted
        self.rules = rules
        self._payers.clear()

    async def admit_key(self, payer: Payer) -> None:
        """Make a key's own budgets countable; call it before the key's first request and after a change. Raises StoreError."""
        windows = frozenset([budget.window for budget in payer.budgets])
        async with self._opening:
            before = self._own.get(payer.key_id)
            for window in windows:
                if ("key", window) not in self._books:
                    await self._add_up("key", window)
                elif before is not None and window not in before:  # it was at work, and nobody counted this
                    await self._add_up("key", window, only=payer.key_id)
            self._own[payer.key_id] = windows
        self._payers.pop(payer.key_id, None)

    async def _add_up(self, scope: Scope, window: Window, *, only: str | None = None) -> None:
        """Add up what members of a scope have spent in the window that runs now."""
        start_s = window_start(window, self.clock.now())
        before = {subject: (book.used_pico, book.used_tokens) for subject, book in self._books.get((scope, window), {}).items()}
        books: dict[str, Book] = {}
        for spent in await self.vault.spent(scope, start_s):
            for subject in self._roles(spent.subject) if scope == "role" else (spent.subject,):
                book = books.setdefault(subject, Book(start_s))
                book.spent_pico += spent.pico
                book.spent_tokens += spent.tokens
                book.unpriced += spent.unpriced
        for subject, old in self._books.get((scope, window), {}).items():
            if old.start_s == start_s and only in (None, subject):
                books[subject] = _carried(old, books.get(subject) or Book(start_s), before.get(subject, (0, 0)))
        if only is None:
            self._books[scope, window] = books
        else:
            self._books.setdefault((scope, window), {})[only] = books.get(only) or Book(start_s)

    def purse(self, payer: Payer | None, key_id: str | None, request_id: str) -> Purse | None:
        """Return what holds a request to its rules, or None when none applies: then money costs it nothing."""
        if not self.rules.some and (payer is None or not (payer.budgets or payer.rates)):
            return None
        known = self._payers.get(key_id)
        if known is None or (payer is not None and known[0] is not payer):
            who = payer or (NOBODY if key_id is None else Payer(key_id=key_id))
            known = (who, matched(self.rules, who))
            if len(self._payers) >= MAX_PAYERS:
                self._payers.clear()
            self._payers[key_id] = known
        return Purse(self, known[0], known[1], request_id) if known[1].some else None

    # -- counters ------------------------------------------------------------------------------------------------------

    def book(self, scope: Scope, window: Window, subject: str) -> Book:
        """Return the counter of the window that runs now. A clock set back does not reopen a window that ended."""
        books = self._books.setdefault((scope, window), {})
        found = books.get(subject)
        start_s = window_start(window, self.clock.now())
        if found is None or start_s > found.start_s:
            found = books[subject] = Book(start_s)
        return found

    def meter(self, rate: Rate, subject: str) -> Meter:
        """Return the counter of a rate."""
        key = (rate.scope, rate.window, subject)
        found = self._meters.get(key)
        if found is None:
            found = self._meters[key] = Meter(rate.window)
        return found

    def subjects(self, rule: Budget | Rate, payer: Payer, model: str | None) -> tuple[str, ...]:
        """Return the members of a rule's scope that a call of `model` (None: not known yet) belongs to."""
        return subjects_for(rule, payer, model, self._roles)

    def hold(self, reservation: Reservation) -> None:
        """Remember a reservation until it is settled, released or stale."""
        self._held[reservation.charge.id] = reservation

    def forget(self, reservation: Reservation) -> None:
        """Forget a reservation."""
        self._held.pop(reservation.charge.id, None)

    # -- the reaper ----------------------------------------------------------------------------------------------------

    async def reap(self) -> int:
        """Settle what is held beyond its expiry, here and by dead processes; return how many there were. Raises StoreError."""
        now_s = self.clock.now()
        stale = [r for r in self._held.values() if r.charge.expires_s is not None and r.charge.expires_s < now_s]
        for reservation in stale:
            log.warning("the reservation %s was never settled; it counts as spent", reservation.charge.id)
            reservation.reap()
            self.forget(reservation)
        self._sweep(now_s)
        return await self.vault.reap(now_s)

    def _sweep(self, now_s: float) -> None:
        """Forget counters of windows that ended and meters of those who have been quiet."""
        for (scope, window), books in self._books.items():
            start_s = window_start(window, now_s)
            self._books[scope, window] = {name: book for name, book in books.items() if book.start_s >= start_s}
        now = self.clock.monotonic()
        for key in [key for key, meter in self._meters.items() if meter.idle(now)]:
            del self._meters[key]

    async def keep_reaping(self) -> None:
        """Reap now and then until cancelled."""
        while True:
            try:
                count = await self.reap()
                if count:
                    log.warning("%d charges of processes that died were settled at their reservation", count)
            except StoreError as error:
                log.warning("charges cannot be reaped now: %s", error)
            await self.clock.sleep(REAP_EVERY_S)

    # -- for people ----------------------------------------------------------------------------------------------------

    def states(self, own: Iterable[Payer] = ()) -> list[BudgetState]:
        """Return every budget with its members that are known, those of the keys' own last; `own` are all keys."""
        found: list[BudgetState] = []
        payers = tuple(own)
        ids = {payer.key_name: payer.key_id or "" for payer in payers}
        for budget in self.rules.budgets:
            member = ids.get(budget.of, budget.of) if budget.scope == "key" else budget.of
            subjects = [""] if budget.scope == "global" else [member]
            if budget.scope != "global" and budget.of == EACH:
                subjects = sorted(self._books.get((budget.scope, budget.window), {}))
            found.extend(self._state(budget, subject) for subject in subjects)
        for payer in payers:
            found.extend(self._state(budget, payer.key_id or "") for budget in payer.budgets)
        return found

    def _state(self, budget: Budget, subject: str) -> BudgetState:
        book = self.book(budget.scope, budget.window, subject)
        return BudgetState(
            budget=budget.name,
            scope=budget.scope,
            of=subject,
            window=budget.window,
            on_exhaustion=budget.on_exhaustion,
            limit_usd=None if budget.limit_pico is None else to_usd(budget.limit_pico),
            limit_tokens=budget.limit_tokens,
            spent_usd=to_usd(book.spent_pico),
            spent_tokens=book.spent_tokens,
            held_usd=to_usd(book.held_pico),
            held_tokens=book.held_tokens,
            unpriced=book.unpriced,
            resets_s=window_end(budget.window, book.start_s),
        )


def _carried(old: Book, added_up: Book, before: tuple[int, int]) -> Book:
    """Return the counter that calls in progress hold amounts in, set to what was added up, in which these amounts are contained.

    `before`: what it said when the adding began. What came while it lasted is counted in any case, rather twice than not at all.
    """
    pico = added_up.spent_pico + max(0, old.used_pico - before[0])
    tokens = added_up.spent_tokens + max(0, old.used_tokens - before[1])
    old.spent_pico, old.spent_tokens = max(0, pico - old.held_pico), max(0, tokens - old.held_tokens)
    old.unpriced = added_up.unpriced
    return old


def matched(rules: Rules, payer: Payer) -> Rules:
    """Return the rules that can apply to a payer's requests; those of models and roles are matched with each call."""

    def applies(rule: Budget | Rate) -> bool:
        return rule.scope in ("model", "role") or bool(subjects_for(rule, payer))

    return Rules(
        budgets=(*filter(applies, rules.budgets), *payer.budgets),
        rates=(*filter(applies, rules.rates), *payer.rates),
    )


def subjects_for(
    rule: Budget | Rate, payer: Payer, model: str | None = None, roles: Callable[[str], tuple[str, ...]] = lambda _model: ()
) -> tuple[str, ...]:
    """Return the members of a rule's scope that a request belongs to: none, one, or several tags or roles."""
    scope, of = rule.scope, rule.of
    if scope == "global":
        return ("",)
    if scope == "key":
        if payer.key_id is None or of not in (EACH, payer.key_id, payer.key_name):
            return ()
        return (payer.key_id,)
    found: tuple[str | None, ...]
    if scope == "team":
        found = (payer.team,)
    elif scope == "tag":
        found = payer.tags
    elif model is None:
        found = ()
    else:
        found = (model,) if scope == "model" else roles(model)
    return tuple([name for name in found if name is not None and of in (EACH, name)])
