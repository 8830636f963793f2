"""What to reserve for a call before it is made. Pure."""

from __future__ import annotations

from prefrontal.chat.request import ChatRequest
from prefrontal.chat.usage import Usage
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.money import to_pico
from prefrontal.plan.cost import cost_usd
from prefrontal.plan.tokens import NEUTRAL, Calibration, estimate_request

RESERVED_OUTPUT_TOKENS = 4096
"""Output reserved for a call without a cap (assumed: longer than nearly all answers; the most a model can give would refuse
calls that a budget has room for)."""


def reserved(
    request: ChatRequest,
    card: ModelCard,
    now_s: float,
    *,
    default_cap: int | None = None,
    embedding: bool = False,
    calibration: Calibration = NEUTRAL,
) -> tuple[Usage, int | None]:
    """Return the usage to hold for a call of `card` at Unix time `now_s`, and its cost in picodollars; None: no price is known.

    default_cap: the output cap that is ours, where the caller gave none. An embedding has no output.
    """
    output = 0
    if not embedding:
        cap = request.max_output_tokens or default_cap or RESERVED_OUTPUT_TOKENS
        if card.max_output_tokens is not None:
            cap = min(cap, card.max_output_tokens)
        output = cap * (request.sampling.n or 1)
    usage = Usage(uncached_input_tokens=estimate_request(request, calibration), output_tokens=output, source="estimated")
    cost = cost_usd(card, usage, now_s)
    return usage, None if cost is None else to_pico(cost)
