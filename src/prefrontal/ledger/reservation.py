"""A counter of one budget's window, and an amount held in such counters until it is known what a call cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from prefrontal.chat.usage import Usage
from prefrontal.contracts.money import Charge
from prefrontal.ledger.board import RateLine
from prefrontal.ledger.books import NOTHING, Totals, reaped, share


class Book:
    """What one member of a scope spent in one window, and what is held for its calls in progress. Picodollars and tokens."""

    __slots__ = ("held_pico", "held_tokens", "spent_pico", "spent_tokens", "start_s", "unpriced")

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.spent_pico = 0
        self.spent_tokens = 0
        self.held_pico = 0
        self.held_tokens = 0
        self.unpriced = 0

    @property
    def used_pico(self) -> int:
        """Spent and held."""
        return self.spent_pico + self.held_pico

    @property
    def used_tokens(self) -> int:
        """Spent and held."""
        return self.spent_tokens + self.held_tokens

    @property
    def totals(self) -> Totals:
        """The numbers as they are now."""
        return Totals(
            spent_pico=self.spent_pico,
            spent_tokens=self.spent_tokens,
            held_pico=self.held_pico,
            held_tokens=self.held_tokens,
            unpriced=self.unpriced,
        )

    def replace(self, before: Totals, now: Totals) -> None:
        """Take a charge's old share out and put its new one in."""
        self.spent_pico += now.spent_pico - before.spent_pico
        self.spent_tokens += now.spent_tokens - before.spent_tokens
        self.held_pico += now.held_pico - before.held_pico
        self.held_tokens += now.held_tokens - before.held_tokens
        self.unpriced += now.unpriced - before.unpriced


State = Literal["held", "reaped", "done"]


class Reservation:
    """An estimate held in every book it touches. Ends once: settled, released, or reaped and corrected later.

    charge: the row as it is. books: the counters in this process; none where the vault keeps them. counted, at_s: the lines of
    rate limits its tokens count in, and when. durable: whether a budget applies, so that the row is in the ledger.
    """

    __slots__ = ("_share", "at_s", "books", "charge", "counted", "durable", "state")

    def __init__(
        self, charge: Charge, books: Sequence[Book] = (), *, counted: Sequence[RateLine] = (), at_s: float = 0.0, durable: bool
    ) -> None:
        self.charge = charge
        self.durable = durable
        self.state: State = "held"
        self.books = books
        self.counted = counted
        self.at_s = at_s
        self._share = NOTHING
        if books:
            self._put(share(charge))

    def settle(self, outcome: str, usage: Usage, pico: int | None) -> Charge | None:
        """Turn what is held into what was spent; return the settled row, None when it had ended before."""
        if self.state == "done":
            return None
        settled = msgspec.structs.replace(
            self.charge, state="settled", expires_s=None, outcome=outcome, usage=usage, cost_pico=pico
        )
        self._end(settled)
        self.state, self.charge = "done", settled
        return settled

    def release(self) -> bool:
        """Give back what is held: nothing was used. Returns False when it had ended before."""
        if self.state == "done":
            return False
        self._end(None)
        self.state = "done"
        return True

    def reap(self) -> None:
        """Spend what is held, because nobody settles it; a late settlement still corrects that."""
        if self.state == "held":
            settled = reaped(self.charge)
            self._end(settled)
            self.state, self.charge = "reaped", settled

    def _end(self, after: Charge | None) -> None:
        if self.books:
            self._put(share(after))

    def _put(self, now: Totals) -> None:
        """Put a new share into every book in the place of the old one."""
        before, self._share = self._share, now
        for book in self.books:
            book.replace(before, now)
