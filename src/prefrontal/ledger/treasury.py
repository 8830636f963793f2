"""The owner of all counters: which budgets and limits there are, what is used of each, what is held for calls in progress.

Belongs to one event loop. Checking and counting happen in one step without a pause, so no two requests can both take the last
of a budget. Charges are kept by a `Vault`; at start the counters are added up from them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator

from prefrontal.clock import Clock
from prefrontal.contracts.money import EACH, NOBODY, Budget, Payer, Rate, Scope, Window
from prefrontal.errors import StoreError
from prefrontal.ledger.board import LEASE_S, RENEW_S, RateBoard
from prefrontal.ledger.books import Line, Sheet
from prefrontal.ledger.memory_board import MemoryBoard
from prefrontal.ledger.purse import Purse
from prefrontal.ledger.reservation import Book, Reservation
from prefrontal.ledger.rules import BudgetState, Matched, Rules, of_payer, state_of, subjects_for
from prefrontal.ledger.vault import Roles, SharedVault, Vault
from prefrontal.ledger.windows import window_start

log = logging.getLogger(__name__)

REAP_EVERY_S = 30.0
"""How often what nobody can be working on any more is settled (assumed)."""

RUNS: Sheet = ("tag", "total")
"""Where runs are counted, whatever is configured."""

MAX_PAYERS = 10_000
"""Payers whose rules are remembered (assumed: some MB; beyond it they are matched anew)."""


class Treasury:
    """Counts for everybody. `configure` before the first request; `purse` gives each request its rules.

    shared: the vault, where other processes reserve on it too; the counters are its books then. board: who counts towards rate
    limits, None: this process.
    """

    def __init__(
        self, *, clock: Clock, vault: Vault, shared: SharedVault | None = None, board: RateBoard | None = None
    ) -> None:
        self.clock = clock
        self.vault = vault
        self.shared = shared
        self.meters = MemoryBoard(clock=clock)
        self.board: RateBoard = board or self.meters
        self.rules = Rules()
        self.members: Roles = lambda _role: ()
        self._roles: Roles = lambda _model: ()
        self._books: dict[Sheet, dict[str, Book]] = {}
        self._counted: dict[Sheet, frozenset[str]] = {}
        self._own: dict[str | None, frozenset[Window]] = {}
        self._payers: dict[str | None, Matched] = {}
        self._held: dict[str, Reservation] = {}
        self._opening = asyncio.Lock()

    # -- rules ---------------------------------------------------------------------------------------------------------

    async def configure(self, rules: Rules, roles: Roles, members: Roles | None = None) -> None:
        """Add up the past that new budgets need, then let these rules hold. Raises StoreError; the old rules stay then.

        roles: from a model to the roles it fills now; members: from a role to its models, needed where books are shared.
        """
        self._roles = roles
        self.members = members or self.members
        wanted: dict[Sheet, frozenset[str]] = {}
        for budget in rules.budgets:
            sheet = (budget.scope, budget.window)
            wanted[sheet] = wanted.get(sheet, frozenset()) | {budget.of}
        async with self._opening:
            for sheet in set(wanted) | set(self._counted):
                if sheet not in wanted and sheet[0] != "key" and sheet != RUNS:
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

    async def admit_runs(self) -> None:
        """Make runs countable: add up, once, what each has spent. Raises StoreError."""
        if RUNS not in self._books:
            async with self._opening:
                if RUNS not in self._books:
                    await self._add_up(*RUNS)

    def spent_pico(self, scope: Scope, window: Window, subject: str) -> int:
        """Return what a member has spent and holds in this window, as far as this process counts it."""
        return self.book(scope, window, subject).used_pico

    async def _add_up(self, scope: Scope, window: Window, *, only: str | None = None) -> None:
        """Add up what members of a scope have spent in the window that runs now."""
        if self.shared is not None:
            await self.shared.recount([(scope, window)], only)
            self._books.setdefault((scope, window), {})
            return
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
        if known is None or (payer is not None and known.payer is not payer):
            who = payer or (NOBODY if key_id is None else Payer(key_id=key_id))
            known = of_payer(self.rules, who)
            if len(self._payers) >= MAX_PAYERS:
                self._payers.clear()
            self._payers[key_id] = known
        return Purse(self, known, request_id) if known.rules.some else None

    # -- counters ------------------------------------------------------------------------------------------------------

    def book(self, scope: Scope, window: Window, subject: str) -> Book:
        """Return the counter of the window that runs now. A clock set back does not reopen a window that ended."""
        books = self._books.setdefault((scope, window), {})
        found = books.get(subject)
        start_s = window_start(window, self.clock.now())
        if found is None or start_s > found.start_s:
            found = books[subject] = Book(start_s)
        return found

    def start_s(self, window: Window) -> float:
        """Return the Unix time at which the window that runs now began."""
        return window_start(window, self.clock.now())

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
        """Forget counters of windows that ended."""
        for (scope, window), books in self._books.items():
            start_s = window_start(window, now_s)
            self._books[scope, window] = {name: book for name, book in books.items() if book.start_s >= start_s}
        self.meters.sweep()

    async def keep(self) -> None:
        """Reap now and then, and let what runs here go on counting as running, until cancelled."""
        await asyncio.gather(self.keep_reaping(), self.keep_leases())

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

    async def keep_leases(self) -> None:
        """Let the requests that run here go on counting as running, where others count too, until cancelled."""
        while self.board is not self.meters:
            await self.clock.sleep(RENEW_S)
            try:
                await self.board.renew(LEASE_S)
            except StoreError as error:
                log.warning("running requests cannot be counted now: %s", error)

    # -- for people ----------------------------------------------------------------------------------------------------

    async def standing(self, own: Iterable[Payer] = ()) -> list[BudgetState]:
        """Return like `states`, wherever the books are kept. Raises StoreError."""
        shared = self.shared
        if shared is None:
            return self.states(own)
        lines: list[Line] = []
        for budget, subjects in self._shown(tuple(own)):
            start_s = self.start_s(budget.window)
            names = await shared.members((budget.scope, budget.window), start_s) if subjects is None else subjects
            for name in names:
                models = self.members(name) if budget.scope == "role" else ()
                lines.append(Line(budget=budget, subject=name, start_s=start_s, models=models))
        totals = await shared.standings(lines)
        return [state_of(line.budget, line.subject, line.start_s, found) for line, found in zip(lines, totals, strict=True)]

    def states(self, own: Iterable[Payer] = ()) -> list[BudgetState]:
        """Return every budget with its members that are known, those of the keys' own last; `own` are all keys."""
        found: list[BudgetState] = []
        for budget, subjects in self._shown(tuple(own)):
            names = sorted(self._books.get((budget.scope, budget.window), {})) if subjects is None else subjects
            for name in names:
                book = self.book(budget.scope, budget.window, name)
                found.append(state_of(budget, name, book.start_s, book))
        return found

    def _shown(self, payers: tuple[Payer, ...]) -> Iterator[tuple[Budget, list[str] | None]]:
        """Yield every budget with the members to show; None: all that have a book."""
        ids = {payer.key_name: payer.key_id or "" for payer in payers}
        for budget in self.rules.budgets:
            if budget.scope == "global":
                yield budget, [""]
            elif budget.of == EACH:
                yield budget, None
            else:
                yield budget, [ids.get(budget.of, budget.of) if budget.scope == "key" else budget.of]
        for payer in payers:
            for budget in payer.budgets:
                yield budget, [payer.key_id or ""]


def _carried(old: Book, added_up: Book, before: tuple[int, int]) -> Book:
    """Return the counter that calls in progress hold amounts in, set to what was added up, in which these amounts are contained.

    `before`: what it said when the adding began. What came while it lasted is counted in any case, rather twice than not at all.
    """
    pico = added_up.spent_pico + max(0, old.used_pico - before[0])
    tokens = added_up.spent_tokens + max(0, old.used_tokens - before[1])
    old.spent_pico, old.spent_tokens = max(0, pico - old.held_pico), max(0, tokens - old.held_tokens)
    old.unpriced = added_up.unpriced
    return old
