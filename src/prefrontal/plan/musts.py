"""What rules a model out. Pure."""

from __future__ import annotations

from prefrontal.contracts.assessment import Needs
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.plan.inputs import PlanInputs

PROVEN_ONLY = frozenset({"vision", "audio", "files", "embedding"})
"""A model nobody vouches for is not sent these: an engine that cannot read an image answers nonsense or an error. For tools and
structured output the unknown gets the benefit of the doubt: most engines take them."""

SPOKEN = {
    "vision": "it does not read images",
    "audio": "it does not take audio",
    "files": "it does not take files",
    "tools": "it does not call tools",
    "structured_output": "it does not promise structured output",
    "thinking": "it does not think before it answers",
    "embedding": "it is not an embedding model",
}


def required(needs: Needs, *, must_think: bool, custom: tuple[str, ...]) -> tuple[str, ...]:
    """Return the capabilities the request cannot do without, by name, also ones the code does not know."""
    named = [name for name in ("vision", "audio", "files", "tools", "structured_output", "embedding") if getattr(needs, name)]
    if must_think:
        named.append("thinking")
    return (*named, *needs.custom, *custom)


def lacking(card: ModelCard, capability: str) -> str | None:
    """Return why the model lacks `capability`, or None when it has it (or may have it)."""
    can = card.can(capability)
    if can:
        return None
    if can is None and capability not in PROVEN_ONLY and capability in SPOKEN and capability != "thinking":
        return None
    why = SPOKEN.get(capability, f"it does not declare '{capability}'")
    return why if can is False else f"{why}, as far as is known"


def too_small(card: ModelCard, needs: Needs, caller_cap: int | None) -> str | None:
    """Return why the window is too small for the input and the answer, or None."""
    window = card.context_tokens
    if window is None:
        return None
    answer = caller_cap if caller_cap is not None else min(needs.output_tokens, window // 4)
    if needs.input_tokens + min(answer, card.max_output_tokens or answer) > window:
        return f"{needs.input_tokens} tokens of input and room for the answer do not fit its window of {window}"
    return None


def ruled_out(card: ModelCard, inputs: PlanInputs) -> str | None:
    """Return the reason why `card` cannot serve this request, or None when it can."""
    needs = inputs.assessment.needs
    if not card.enabled:
        return "it is switched off"
    if not card.auto and inputs.role is None:
        return "it takes no automatic work (auto: false)"
    if not needs.embedding and card.can("chat") is False:
        return "it does not chat"
    for name in required(needs, must_think=inputs.must_think, custom=inputs.hints.needs):
        why = lacking(card, name)
        if why is not None:
            return why
    why = too_small(card, needs, inputs.caller_cap)
    if why is not None:
        return why
    return _condition(inputs.condition(card.id))


def _condition(runtime: ModelRuntime) -> str | None:
    if runtime.spent_out:
        return "the daily spend limit for models found by their key is used up"
    if runtime.open:
        return "it failed repeatedly and is left alone for a moment"
    if runtime.full:
        return "its queue is full"
    return None
