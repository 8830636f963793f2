"""Whether a conversation should stay on the model that has its prompt cached. Pure."""

from __future__ import annotations

from prefrontal.plan.inputs import Stay
from prefrontal.plan.scores import Scored

FULL_CACHE_TOKENS = 8000
"""From this many cached tokens on, the cache counts fully: reading them again costs seconds or cents (assumed)."""

CACHE_FACTOR = 3.0
"""How much a full cache multiplies the gain a move must bring (assumed)."""


def needed_gain(stay: Stay, min_gain: float) -> float:
    """Return the share by which another model's score must be higher to leave: grows with what is cached."""
    fullness = min(1.0, stay.cached_tokens / FULL_CACHE_TOKENS)
    return min_gain * (1.0 + (CACHE_FACTOR - 1.0) * fullness)


def keep(ranked: list[Scored], stay: Stay | None, min_gain: float) -> tuple[list[Scored], str | None]:
    """Return the ranking with the conversation's model first when leaving is not worth it, and the sentence that says so.

    The ranking is unchanged when there is no such model, it cannot serve, or the best is better by more than the needed gain.
    """
    if stay is None or not ranked or ranked[0].model == stay.model:
        return ranked, None
    here = next((s for s in ranked if s.model == stay.model), None)
    if here is None:
        return ranked, None
    gain = (ranked[0].score - here.score) / max(here.score, 1e-6)
    needed = needed_gain(stay, min_gain)
    if gain > needed:
        return (
            ranked,
            f"moved off '{stay.model}': '{ranked[0].model}' is better by {gain:.0%}, more than the {needed:.0%} its cache is worth",
        )
    others = [s for s in ranked if s.model != stay.model]
    text = f"stays on '{stay.model}': about {stay.cached_tokens} tokens are cached there and moving would gain only {max(0.0, gain):.0%}"
    return [here, *others], text
