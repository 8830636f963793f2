"""A counter of one budget's window, and an amount held in such counters until it is known what a call cost."""

from __future__ import annotations

from typing import Literal

import msgspec

from prefrontal.chat.usage import Usage
from prefrontal.contracts.money import Charge
from prefrontal.ledger.rates import Sliding


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

    def hold(self, pico: int, tokens: int) -> None:
        """Hold an amount; a negative one is given back."""
        self.held_pico += pico
        self.held_tokens += tokens

    def spend(self, pico: int | None, tokens: int) -> None:
        """Spend an amount; None is a cost nobody knows: it counts 0 and is marked."""
        self.spent_pico += pico or 0
        self.spent_tokens += tokens
        self.unpriced += pico is None


State = Literal["held", "reaped", "done"]


class Reservation:
    """An estimate held in every counter it touches. Ends once: settled, released, or reaped and corrected later.

    charge: the held row. lately: sliding sums of tokens it was counted in, with the slot. durable: whether a budget applies, so
    that the row is in the ledger.
    """

    __slots__ = ("_books", "_lately", "charge", "durable", "state")

    def __init__(self, charge: Charge, books: list[Book], lately: list[tuple[Sliding, int]]) -> None:
        self.charge = charge
        self.durable = bool(books)
        self.state: State = "held"
        self._books = books
        self._lately = lately
        for book in books:
            book.hold(charge.cost_pico or 0, charge.usage.total_tokens)

    def settle(self, outcome: str, usage: Usage, pico: int | None) -> Charge | None:
        """Turn what is held into what was spent; return the settled row, None when it had ended before."""
        if self.state == "done":
            return None
        tokens = usage.total_tokens
        self._give_back()
        for book in self._books:
            book.spend(pico, tokens)
        self._amend(tokens)
        self.state = "done"
        return msgspec.structs.replace(self.charge, state="settled", expires_s=None, outcome=outcome, usage=usage, cost_pico=pico)

    def release(self) -> bool:
        """Give back what is held: nothing was used. Returns False when it had ended before."""
        if self.state == "done":
            return False
        self._give_back()
        self._amend(0)
        self.state = "done"
        return True

    def reap(self) -> None:
        """Spend what is held, because nobody settles it; a late settlement still corrects that."""
        if self.state == "held":
            self._give_back()
            for book in self._books:
                book.spend(self.charge.cost_pico, self.charge.usage.total_tokens)
            self.state = "reaped"

    def _give_back(self) -> None:
        charge = self.charge
        pico, tokens = charge.cost_pico, charge.usage.total_tokens
        for book in self._books:
            if self.state == "held":
                book.hold(-(pico or 0), -tokens)
            else:
                book.spent_pico -= pico or 0
                book.spent_tokens -= tokens
                book.unpriced -= pico is None

    def _amend(self, tokens: int) -> None:
        for sliding, slot in self._lately:
            sliding.amend(slot, tokens - self.charge.usage.total_tokens)
