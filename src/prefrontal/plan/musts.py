"""What rules a model out. Pure."""

from __future__ import annotations

import re

from prefrontal.contracts.assessment import Needs
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import url_for
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.plan.inputs import PlanInputs

NAMED_NEEDS = ("vision", "audio", "files", "tools", "structured_output", "embedding")
"""The needs that are flags of an assessment, in the order they are reported."""

TRUSTED = frozenset({"tools", "structured_output"})
"""Where nobody knows, these get the benefit of the doubt: most engines take them. Anything else a model must be known for: an
engine that cannot read an image answers nonsense or an error."""

SPOKEN = {
    "vision": "it does not read images",
    "audio": "it does not take audio",
    "files": "it does not take files",
    "tools": "it does not call tools",
    "structured_output": "it does not promise structured output",
    "thinking": "it does not think before it answers",
    "embedding": "it is not an embedding model",
}

EMBEDDING_WORDS = frozenset({"embed", "embedding", "embeddings"})
"""Words of a name that say what a model is for."""

_WORD = re.compile(r"[a-z]+")

ESTIMATE_SLACK = 1.25
"""Where no window is large enough, one that is short by at most this factor is tried: tokens were estimated, and the engine
counts exactly (assumed: the error of an estimate nobody has corrected yet)."""

ROOM_SHARE = 4
"""An answer of unknown length is given at most this fraction of the window (assumed: 1/4)."""


def required(needs: Needs, *, must_think: bool, custom: tuple[str, ...]) -> tuple[str, ...]:
    """Return the capabilities the request cannot do without, by name, each once, also ones the code does not know."""
    named = [name for name in NAMED_NEEDS if getattr(needs, name)]
    if must_think:
        named.append("thinking")
    if not needs.custom and not custom:
        return tuple(named)
    return tuple(dict.fromkeys((*named, *needs.custom, *custom)))


def required_by(inputs: PlanInputs) -> tuple[str, ...]:
    """Return the capabilities this request cannot do without."""
    return required(inputs.assessment.needs, must_think=inputs.must_think, custom=inputs.hints.needs)


def lacking(card: ModelCard, capability: str) -> str | None:
    """Return why the model lacks `capability`, or None when it has it (or may have it)."""
    can = card.can(capability)
    if can or (can is None and capability in TRUSTED):
        return None
    why = SPOKEN.get(capability)
    if why is None:
        return f"it does not declare '{capability}'" if can is None else f"it declares that it has no '{capability}'"
    return f"{why}, as far as is known" if can is None else why


def too_small(card: ModelCard, needs: Needs, caller_cap: int | None, *, slack: float = 1.0) -> str | None:
    """Return why the window is too small for the input and the answer, or None; an unknown window is large enough."""
    window = card.context_tokens
    if window is None:
        return None
    answer = caller_cap if caller_cap is not None else min(needs.output_tokens, window // ROOM_SHARE)
    if card.max_output_tokens is not None:
        answer = min(answer, card.max_output_tokens)
    if needs.input_tokens + answer <= window * slack:
        return None
    return f"about {needs.input_tokens:,} tokens of input and {answer:,} for the answer do not fit its window of {window:,}"


def ruled_out(card: ModelCard, inputs: PlanInputs, *, musts: tuple[str, ...] | None = None, slack: float = 1.0) -> str | None:
    """Return the reason why `card` cannot serve this request, or None when it can.

    musts: `required_by(inputs)`, for a caller that asks for many cards. slack: how much too small a window may be.
    """
    if not card.enabled:
        return "it is switched off"
    if not card.auto and inputs.role is None:
        return "it takes no automatic work (auto: false)"
    if inputs.reach is not None and (why := inputs.reach.refusal(url_for(inputs.reach, card))) is not None:
        return why
    needs = inputs.assessment.needs
    if not needs.embedding and not chats(card):
        return "it does not chat"
    for name in required_by(inputs) if musts is None else musts:
        why = lacking(card, name)
        if why is not None:
            return why
    why = too_small(card, needs, inputs.caller_cap, slack=slack)
    if why is not None:
        return why
    return condition_against(card, inputs.condition(card.id))


def chats(card: ModelCard) -> bool:
    """Return whether the model holds conversations.

    Whoever says so of ``chat`` is believed. Otherwise a model does not when its engine or the shipped facts say that it embeds,
    or when the file says that and nothing speaks for more: its only role is ``embedding``, or its name is that of such a model.
    """
    can = card.can("chat")
    if can is not None or not card.can("embedding"):
        return can is not False
    declared = card.capabilities["embedding"].origin == "config"
    return declared and card.roles != ("embedding",) and not named_for_vectors(card.wire_name)


def named_for_vectors(wire_name: str) -> bool:
    """Return whether a model's name says that it makes vectors."""
    return not EMBEDDING_WORDS.isdisjoint(_WORD.findall(wire_name.lower()))


def condition_against(card: ModelCard, runtime: ModelRuntime) -> str | None:
    """Return what in a model's present condition rules it out, or None; most of it passes with time."""
    if runtime.spent_out:
        if card.price.output_usd is None:
            return "it was found only by its key, and without a known price its spend cannot be limited: name it in the registry"
        return "the daily spend limit for models found only by their key is used up"
    if runtime.open:
        return "it failed repeatedly and is left alone for a moment"
    if runtime.full:
        return "its queue is full"
    return None
