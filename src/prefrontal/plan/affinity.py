"""Whether a conversation should stay on the model that has its prompt cached. Pure."""

from __future__ import annotations

from prefrontal.plan.inputs import Stay
from prefrontal.plan.scores import Scored

FULL_CACHE_TOKENS = 8000
"""From this many cached tokens on, the cache counts fully: reading them again costs seconds or cents (assumed)."""

CACHE_FACTOR = 3.0
"""How much a full cache multiplies the gain a move must bring (assumed)."""

TABLE_GAIN = 0.3
"""What the task table's word for another model counts as gain: between a young cache and a full one (assumed)."""

LEAST_SCORE = 0.05
"""A gain is a share of the current model's score, which counts as at least this (assumed: a tiny score makes no move huge)."""


def needed_gain(stay: Stay, min_gain: float) -> float:
    """Return the share by which another model's score must be higher to leave: grows with what is cached."""
    fullness = min(1.0, max(0, stay.cached_tokens) / FULL_CACHE_TOKENS)
    return min_gain * (1.0 + (CACHE_FACTOR - 1.0) * fullness)


def keep(
    ranked: list[Scored], stay: Stay | None, min_gain: float, *, preferred: frozenset[str] = frozenset()
) -> tuple[list[Scored], str | None]:
    """Return the ranking with the conversation's model first when leaving is not worth it, and the sentence that says so.

    The ranking is unchanged when there is no such model, it cannot serve, or the best is better by more than the needed gain.
    `preferred` are the models the task table names: leaving for one of them counts as `TABLE_GAIN` besides its score.
    """
    if stay is None or not ranked or ranked[0].model == stay.model:
        return ranked, None
    best = ranked[0]
    here = next((s for s in ranked if s.model == stay.model), None)
    if here is None:
        return ranked, None
    gain = (best.score - here.score) / max(here.score, LEAST_SCORE)
    if best.model in preferred and here.model not in preferred:
        gain += TABLE_GAIN
    needed = needed_gain(stay, min_gain)
    if gain > needed:
        text = f"moves off '{stay.model}': '{best.model}' is better by {gain:.0%}, more than the {needed:.0%} its cache is worth"
        return ranked, text
    what = "stays on" if stay.by == "session" else "begins like another request, so it goes to"
    text = (
        f"{what} '{stay.model}': about {stay.cached_tokens} tokens are cached there, "
        f"and moving would gain {max(0.0, gain):.0%} of the {needed:.0%} it would have to"
    )
    return [here, *(s for s in ranked if s.model != stay.model)], text
