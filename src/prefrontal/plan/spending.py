"""What budgets leave, as a plan sees it: which models are too dear now, and whether that changed the choice. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from prefrontal.chat.usage import Usage
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.money import Degraded, to_pico, to_usd
from prefrontal.ledger.budgets import fits
from prefrontal.plan.cost import cost_usd
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.reserve import RESERVED_OUTPUT_TOKENS


def over_budget(card: ModelCard, inputs: PlanInputs) -> str | None:
    """Return why what is left of a budget does not pay for a call of `card`, or None.

    The call is taken as it will be reserved: with the caller's cap, the channel's, or the usual one used up.
    """
    left = inputs.allowances.get(card.id)
    if left is None:
        return None
    pico, tokens = _call(card, inputs)
    if fits(left, pico=pico, tokens=tokens):
        return None
    if left.left_tokens is not None and tokens > left.left_tokens:
        return f"it may take {tokens:,} tokens, and the budget '{left.budget}' leaves {left.left_tokens:,}"
    if pico is None:
        return f"its price is unknown, and the budget '{left.budget}' does not take that"
    return f"it may cost ${to_usd(pico):.4g}, and the budget '{left.budget}' leaves ${to_usd(left.left_pico or 0):.4g}"


def cheapest_over_budget(models: Iterable[str], inputs: PlanInputs) -> list[str]:
    """Return those of `models` that only a budget stands before, cheapest first, unknown prices last."""
    over = [inputs.cards[name] for name in models if over_budget(inputs.cards[name], inputs) is not None]
    costs = {card.id: _call(card, inputs)[0] for card in over}
    return sorted(costs, key=lambda name: (costs[name] is None, costs[name] or 0, name))


def degraded(inputs: PlanInputs, first: str | None, unbounded: str | None) -> Degraded | None:
    """Return the mark of a plan whose first model is not `unbounded`, the one it would be without budgets."""
    if unbounded is None or unbounded == first or unbounded not in inputs.allowances:
        return None
    return Degraded(budget=inputs.allowances[unbounded].budget, instead_of=unbounded)


def without_budgets(inputs: PlanInputs) -> PlanInputs:
    """Return the same snapshot with no budget in it."""
    return msgspec.structs.replace(inputs, allowances={})


def _call(card: ModelCard, inputs: PlanInputs) -> tuple[int | None, int]:
    needs = inputs.assessment.needs
    output = inputs.caller_cap or inputs.channel.max_output_tokens or RESERVED_OUTPUT_TOKENS
    if card.max_output_tokens is not None:
        output = min(output, card.max_output_tokens)
    usage = Usage(uncached_input_tokens=needs.input_tokens, output_tokens=output, source="estimated")
    cost = cost_usd(card, usage, inputs.now_s)
    return (None if cost is None else to_pico(cost)), usage.total_tokens
