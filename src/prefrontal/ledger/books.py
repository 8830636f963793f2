"""What one charge is to the books: the arithmetic that memory, SQLite and Postgres share. Pure.

A book is one member of a scope in one window. What stands in it is the sum of the shares of its charges: a held charge's share is
held, a settled or reaped one's is spent. So a book may be thrown away at any time and added up again from the charges, and every
end of a charge is the same step: take its old share out, put its new one in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from prefrontal.contracts.money import Budget, Charge, Scope, Window
from prefrontal.ledger.budgets import Dimension, shortfall
from prefrontal.ledger.rows import MAX_INTEGER
from prefrontal.ledger.windows import window_end

REAPED = "reaped"
"""The outcome of a charge that nobody settled."""

BookKey = tuple[Scope, Window, str, float]
"""Scope, window, member, and the Unix time at which the window began. Books are locked in the order of their sorted keys."""

Sheet = tuple[Scope, Window]
"""All books of a scope and a kind of window."""


class Totals(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The numbers of a book, or what is added to them. Picodollars and tokens; unpriced: charges whose cost nobody knows."""

    spent_pico: int = 0
    spent_tokens: int = 0
    held_pico: int = 0
    held_tokens: int = 0
    unpriced: int = 0

    @property
    def used_pico(self) -> int:
        """Spent and held."""
        return self.spent_pico + self.held_pico

    @property
    def used_tokens(self) -> int:
        """Spent and held."""
        return self.spent_tokens + self.held_tokens

    def plus(self, more: Totals, sign: int = 1) -> Totals:
        """Return the sum; with a `sign` of -1 the difference."""
        return Totals(
            spent_pico=self.spent_pico + sign * more.spent_pico,
            spent_tokens=self.spent_tokens + sign * more.spent_tokens,
            held_pico=self.held_pico + sign * more.held_pico,
            held_tokens=self.held_tokens + sign * more.held_tokens,
            unpriced=self.unpriced + sign * more.unpriced,
        )


NOTHING = Totals()


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One budget that applies to a call.

    subject: the member it counts for. start_s: Unix time at which the window that runs now began. models: for a ``role`` the
    models that fill it now, by which its past is added up; empty for every other scope.
    """

    budget: Budget
    subject: str
    start_s: float
    models: tuple[str, ...] = ()

    @property
    def key(self) -> BookKey:
        """The book it counts in; several budgets may share one."""
        return self.budget.scope, self.budget.window, self.subject, self.start_s

    @property
    def end_s(self) -> float | None:
        """Unix time at which the next window begins; None: never."""
        return window_end(self.budget.window, self.start_s)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation asked for; `charge.state` is ``held``.

    The books of `lines` are kept with its row, so that whoever ends it, the reaper of another process included, ends it in these.
    """

    charge: Charge
    lines: tuple[Line, ...]


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """The budget that has no room for a claim, why, and what stands in its book."""

    line: Line
    dimension: Dimension
    totals: Totals


def share(charge: Charge | None) -> Totals:
    """Return what a charge puts into each of its books; None, a charge that is gone, nothing.

    A cost beyond what a row can hold (nine million USD an attempt) counts as that, as its row does.
    """
    if charge is None:
        return NOTHING
    pico, tokens = min(charge.cost_pico or 0, MAX_INTEGER), charge.usage.total_tokens
    if charge.state == "held":
        return Totals(held_pico=pico, held_tokens=tokens)
    return Totals(spent_pico=pico, spent_tokens=tokens, unpriced=int(charge.cost_pico is None))


def change(before: Charge | None, after: Charge | None) -> Totals:
    """Return what is to be added to each book of a charge that was `before` and is now `after`."""
    return share(after).plus(share(before), -1)


def open_still(stored: Charge | None) -> bool:
    """Return whether a stored charge may still end: a held one does, a reaped one may be corrected, all else has ended."""
    return stored is not None and (stored.state == "held" or stored.outcome == REAPED)


def reaped(charge: Charge) -> Charge:
    """Return a held charge as the reaper settles it: at its estimate."""
    return msgspec.structs.replace(charge, state="settled", expires_s=None, outcome=REAPED)


def denied(claim: Claim, totals: Sequence[Totals]) -> Denial | None:
    """Return the first line that has no room for the claim, by what stands in each line's book, in the order of the lines."""
    charge = claim.charge
    for line, found in zip(claim.lines, totals, strict=True):
        why = shortfall(
            line.budget, found.used_pico, found.used_tokens, pico=charge.cost_pico, tokens=charge.usage.total_tokens
        )
        if why is not None:
            return Denial(line=line, dimension=why, totals=found)
    return None


def keys_of(lines: Iterable[Line]) -> list[BookKey]:
    """Return the books of some lines, each once, in the order in which they are to be locked."""
    return sorted({line.key for line in lines})
