"""What a caller is told when a budget is used up or a limit reached."""

from __future__ import annotations

from typing import Any

from prefrontal.contracts.money import Budget, Rate, to_usd
from prefrontal.errors import LimitExceeded, QuotaExceeded
from prefrontal.ledger.board import RateDenial
from prefrontal.ledger.books import Denial
from prefrontal.ledger.rules import NARROW

RETRY_CONCURRENCY_S = 1.0
"""When to come back if too many requests run at once (assumed: answers take seconds)."""


def used_up(denial: Denial, now_s: float) -> QuotaExceeded:
    """Return the refusal of a call that a budget has no room for, with the budget's numbers."""
    line, dimension, totals = denial.line, denial.dimension, denial.totals
    budget, of, ends_s = line.budget, line.subject, line.end_s
    details: dict[str, Any] = {
        "budget": budget.name,
        "scope": budget.scope,
        "of": of,
        "dimension": dimension,
        "window": budget.window,
        "resets_s": ends_s,
    }
    if dimension == "budget_tokens":
        details |= {"spent": totals.spent_tokens, "held": totals.held_tokens, "limit": budget.limit_tokens}
        amount = f"{totals.used_tokens:,} of {budget.limit_tokens:,} tokens are used"
    else:
        limit = to_usd(budget.limit_pico or 0)
        details |= {"spent": to_usd(totals.spent_pico), "held": to_usd(totals.held_pico), "limit": limit}
        amount = f"${to_usd(totals.used_pico):.6g} of ${limit:.6g} are used"
    if dimension == "unknown_price":
        text = f"The budget '{budget.name}' of {_whose(budget, of)} refuses models whose price is not known."
    else:
        text = f"The budget '{budget.name}' of {_whose(budget, of)} does not leave enough for this call: {amount}."
    hint = None if ends_s is None else f"It begins anew in {_spoken(ends_s - now_s)}."
    error = QuotaExceeded(text, hint=hint, details=details)
    error.elsewhere = budget.on_exhaustion == "degrade" or budget.scope in NARROW
    return error


def reached(denial: RateDenial) -> LimitExceeded:
    """Return the refusal of a call that a limit has no room for, with when to come back."""
    rate, of, dimension = denial.line.rate, denial.line.subject, denial.dimension
    details: dict[str, Any] = {"rate": rate.name, "scope": rate.scope, "of": of, "dimension": dimension}
    wait_s = denial.wait_s
    if dimension == "concurrency":
        text = f"The limit '{rate.name}' of {_whose(rate, of)} is reached: {denial.used} requests run at once."
        wait_s = RETRY_CONCURRENCY_S
    else:
        details["window"] = rate.window
        text = f"The limit '{rate.name}' of {_whose(rate, of)} is reached: "
        text += f"{denial.used} of {denial.limit} {dimension} a {rate.window}."
        if wait_s is None:
            amount = denial.line.tokens if dimension == "tokens" else denial.line.requests
            text = f"This request needs about {amount} {dimension}; "
            text += f"the limit '{rate.name}' of {_whose(rate, of)} is {denial.limit}."
    error = LimitExceeded(text, retry_after_s=wait_s, details={**details, "used": denial.used, "limit": denial.limit})
    error.elsewhere = rate.scope in NARROW
    return error


def _whose(rule: Budget | Rate, of: str) -> str:
    return "all requests together" if rule.scope == "global" else f"the {rule.scope} '{of}'"


def _spoken(seconds: float) -> str:
    """Return a stretch of time in the largest unit that fits."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = round(seconds / length)
            return f"about {count} {unit}{'s' if count > 1 else ''}"
    return f"{max(1, round(seconds))} s"
