"""Which budgets and limits there are, which of them can apply to a payer, and how a budget stands."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from prefrontal.contracts.money import EACH, Budget, Payer, Rate, Scope, Window, to_usd
from prefrontal.ledger.board import RateLine
from prefrontal.ledger.books import Totals
from prefrontal.ledger.reservation import Book
from prefrontal.ledger.windows import window_end

NARROW = frozenset({"model", "role"})
"""Scopes that say nothing about other models."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The configured rules of one generation."""

    budgets: tuple[Budget, ...] = ()
    rates: tuple[Rate, ...] = ()

    @property
    def some(self) -> bool:
        """Whether there is any rule."""
        return bool(self.budgets or self.rates)


class Matched(msgspec.Struct, frozen=True, kw_only=True):
    """The rules that can apply to one payer. entry: what each of its requests counts whatever its model."""

    payer: Payer
    rules: Rules
    entry: tuple[RateLine, ...] = ()


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


def state_of(budget: Budget, subject: str, start_s: float, book: Book | Totals) -> BudgetState:
    """Return how a budget of one member stands, by the numbers of its book."""
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
        resets_s=window_end(budget.window, start_s),
    )


def of_payer(rules: Rules, payer: Payer) -> Matched:
    """Return the rules that can apply to a payer's requests, with what each request counts."""
    found = matched(rules, payer)
    wide = [rate for rate in found.rates if rate.scope not in NARROW]
    entry = [RateLine(rate=rate, subject=subject, requests=1) for rate in wide for subject in subjects_for(rate, payer)]
    return Matched(payer=payer, rules=found, entry=tuple(entry))


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
