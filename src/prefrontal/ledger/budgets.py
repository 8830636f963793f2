"""The arithmetic of budgets: whether a call fits, and what is left. Pure functions of what is used.

`used` is what was spent plus what is held for calls in progress. A call fits when used + estimate is not above the limit, so
that a budget is overrun at most by what calls in progress cost above their estimates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from prefrontal.contracts.money import Allowance, Budget

Dimension = Literal["budget_usd", "budget_tokens", "unknown_price"]


def shortfall(budget: Budget, used_pico: int, used_tokens: int, *, pico: int | None, tokens: int) -> Dimension | None:
    """Return why a call of `pico` picodollars (None: unknown) and `tokens` does not fit, or None when it does.

    What is free fits a budget in dollars however much is used.
    """
    if budget.limit_tokens is not None and used_tokens + tokens > budget.limit_tokens:
        return "budget_tokens"
    if budget.limit_pico is not None:
        if pico is None:
            return "unknown_price" if budget.unknown_price == "deny" else None
        if pico > 0 and used_pico + pico > budget.limit_pico:
            return "budget_usd"
    return None


def allowance(found: Iterable[tuple[Budget, int, int]]) -> Allowance | None:
    """Return what the budgets, each with what is used of it, leave together; None when there is none."""
    name = ""
    left_pico: int | None = None
    left_tokens: int | None = None
    unknown = True
    for budget, used_pico, used_tokens in found:
        name = name or budget.name
        if budget.limit_pico is not None:
            left = max(0, budget.limit_pico - used_pico)
            if left_pico is None or left < left_pico:
                left_pico, name = left, budget.name
            unknown = unknown and budget.unknown_price != "deny"
        if budget.limit_tokens is not None:
            left = max(0, budget.limit_tokens - used_tokens)
            if left_tokens is None or left < left_tokens:
                left_tokens = left
                if left_pico is None or left == 0:
                    name = budget.name
    return Allowance(budget=name, left_pico=left_pico, left_tokens=left_tokens, unknown_price=unknown) if name else None


def fits(left: Allowance, *, pico: int | None, tokens: int) -> bool:
    """Return whether a call fits what is left."""
    if left.left_tokens is not None and tokens > left.left_tokens:
        return False
    if left.left_pico is None:
        return True
    return left.unknown_price if pico is None else pico == 0 or pico <= left.left_pico
