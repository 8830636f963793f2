"""What a caller is told when no model can serve: which demand stands in the way, and what would help. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import url_for
from prefrontal.errors import CapabilityMissing, ContextTooLong, EgressDenied, NoModelAvailable, PrefrontalError, QuotaExceeded
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.musts import chats, condition_against, lacking, required_by, too_small
from prefrontal.plan.ranking import scope_of
from prefrontal.plan.spending import cheapest_over_budget

RETRY_AFTER_S = 5.0
"""When to come back if only the models' present condition is in the way (assumed: the first pause of a breaker)."""

NAMED_AT_MOST = 5
"""How many models a hint names (assumed)."""

CULPRIT = {
    "vision": "messages",
    "audio": "messages",
    "files": "messages",
    "tools": "tools",
    "structured_output": "response_format",
    "thinking": "reasoning_effort",
    "embedding": "input",
}
"""The field of the request that asks for a capability; any other was asked for in `x_prefrontal.needs`."""


def nothing_fits(inputs: PlanInputs, out: Sequence[tuple[str, str]]) -> PrefrontalError:
    """Return the error for a request that every model was ruled out for; `out` says why each was.

    EgressDenied: no host of those that could may be contacted. NoModelAvailable: none exists, is in service or has the role, or
    those that could are not able right now (then with a retry-after) or too dear. QuotaExceeded: budgets leave enough for none.
    CapabilityMissing: none can do what is asked. ContextTooLong: the input is too long for all that can; `details` say which
    others could take it.
    """
    if not inputs.cards:
        return NoModelAvailable(
            "No model is configured or found.",
            hint="Start Ollama, put a .gguf file into the models folder, set OPENAI_API_KEY, or run `prefrontal doctor`.",
        )
    scope = scope_of(inputs, [])
    details: dict[str, object] = {"reasons": dict(out)}
    usable = [c for c in inputs.cards.values() if c.enabled and c.id in scope.models and (c.auto or inputs.role is not None)]
    if not usable:
        return _nobody(inputs, details)
    reach = inputs.reach
    if reach is not None:
        near = [card for card in usable if reach.refusal(url_for(reach, card)) is None]
        if not near:
            whys = dict.fromkeys([f"{card.id}: {reach.refusal(url_for(reach, card))}" for card in usable[:NAMED_AT_MOST]])
            return EgressDenied(f"No model that may be contacted can take this. {'; '.join(whys)}", details=details)
        usable = near
    musts = required_by(inputs)
    able = [c for c in usable if (inputs.assessment.needs.embedding or chats(c)) and not any(lacking(c, m) for m in musts)]
    if not able:
        return _incapable(inputs, usable, musts, details)
    if all(too_small(card, inputs.assessment.needs, inputs.caller_cap) for card in able):
        return _too_long(inputs, able, musts, details)
    paid = cheapest_over_budget([card.id for card in able], inputs) if inputs.allowances else []
    if paid:
        left = inputs.allowances[paid[0]]
        return QuotaExceeded(
            f"The budget '{left.budget}' does not leave enough for any model that could take this.",
            details={**details, "budget": left.budget, "models": paid},
        )
    listed = "; ".join(f"{name}: {why}" for name, why in out if name in scope.models)
    if any(condition_against(card, inputs.condition(card.id)) for card in able):
        return NoModelAvailable(f"No model can take this now. {listed}", retry_after_s=RETRY_AFTER_S, details=details)
    hint = "Raise x_prefrontal.max_cost_usd." if inputs.hints.max_cost_usd is not None else None
    return NoModelAvailable(f"No model can take this. {listed}", hint=hint, details=details)


def _nobody(inputs: PlanInputs, details: dict[str, object]) -> NoModelAvailable:
    if inputs.role is not None:
        return NoModelAvailable(
            f"No model in service has the role '{inputs.role}'.",
            hint="Add one under `roles:` or `models.*.roles`.",
            details=details,
        )
    if inputs.channel.models or inputs.channel.roles:
        return NoModelAvailable(
            f"The channel '{inputs.channel_name}' takes no model that is in service.",
            hint=f"See `routing.channels.{inputs.channel_name}`.",
            details=details,
        )
    return NoModelAvailable(
        "No configured model is in service for automatic work.",
        hint="Run `prefrontal doctor`: it says which key or setting each one lacks.",
        details=details,
    )


def _incapable(
    inputs: PlanInputs, usable: Sequence[ModelCard], musts: tuple[str, ...], details: dict[str, object]
) -> PrefrontalError:
    for name in musts:
        if all(lacking(card, name) for card in usable):
            elsewhere = _names([c for c in inputs.cards.values() if c.enabled and c.can(name)])
            named = f"These can, and have to be named: {elsewhere}."
            return CapabilityMissing(
                f"No model that may be used here can serve this: the request needs '{name}'.",
                param=CULPRIT.get(name, "x_prefrontal.needs"),
                hint=named if elsewhere else f"Add a model with the capability '{name}'.",
                details={**details, "capability": name},
            )
    if not musts:
        return NoModelAvailable("No configured model holds conversations.", hint="Add one that chats.", details=details)
    return CapabilityMissing(
        f"No model that may be used here can do all of this at once: {', '.join(musts)}.",
        param=CULPRIT.get(musts[0], "x_prefrontal.needs"),
        details={**details, "capability": musts[0]},
    )


def _too_long(
    inputs: PlanInputs, able: Sequence[ModelCard], musts: tuple[str, ...], details: dict[str, object]
) -> ContextTooLong:
    needs = inputs.assessment.needs
    largest = max(able, key=lambda card: card.context_tokens or 0)
    others = sorted(
        (
            card
            for card in inputs.cards.values()
            if card.enabled
            and card.context_tokens is not None
            and not too_small(card, needs, inputs.caller_cap)
            and not any(lacking(card, name) for name in musts)
        ),
        key=lambda card: (card.context_tokens or 0, card.id),
    )
    named = _names(others)
    asked = "" if inputs.caller_cap is None else f" with {inputs.caller_cap} for the answer"
    return ContextTooLong(
        f"The input of about {needs.input_tokens} tokens{asked} fits no model that may be used here; "
        f"the largest window is {largest.context_tokens} ('{largest.id}').",
        param="messages",
        hint=f"These could take it, and have to be named: {named}." if named else "No configured model could take it.",
        details={**details, "input_tokens": needs.input_tokens, "models": [card.id for card in others[:NAMED_AT_MOST]]},
    )


def _names(cards: Sequence[ModelCard]) -> str:
    return ", ".join([card.id for card in cards[:NAMED_AT_MOST]])
