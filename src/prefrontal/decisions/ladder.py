"""Which ways of getting an answer there are, and in which order a model is asked. Pure."""

from __future__ import annotations

from collections.abc import Set
from typing import Literal

import msgspec

from prefrontal.contracts.decision import Technique
from prefrontal.errors import (
    CapabilityMissing,
    ContextTooLong,
    PrefrontalError,
    ProviderError,
    ProviderMisbehaved,
    ProviderRejected,
    ThinkingAteCap,
)

Rung = Literal["native", "grammar", "logprobs", "votes", "self_report"]
RUNGS: tuple[Rung, ...] = ("native", "grammar", "logprobs", "votes", "self_report")
"""From the most to the least trusted; below all of them stands the rule."""

NO_ROUTE = frozenset({404, 405, 501})
"""Statuses that say that an engine has no such route, or not for this model."""

UNABLE = ("not supported", "unsupported", "does not support", "not a decision model", "not enabled", "not single tokens")
"""Words by which engines say that they cannot do what was asked, whatever the request holds."""

TOP_LOGPROBS = 20
"""Most tokens listed with their log-probability (specified by OpenAI's schema)."""


class Ability(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an engine before it is asked.

    dialect: it is said to speak a decision dialect. post_sampling: it can list probabilities after a grammar was applied.
    logprobs: its wire carries log-probabilities.
    """

    dialect: str | None = None
    post_sampling: bool = False
    logprobs: bool = True


def rungs(ability: Ability, technique: Technique, votes: int, unable: Set[str]) -> tuple[Rung, ...]:
    """Return the rungs to climb down, best first. `unable` are those the engine is known not to have.

    The technique ``json`` asks for JSON from the start; ``chain_of_thought`` cannot use the native route, which takes no reasons.
    """
    found: list[Rung] = []
    if ability.dialect is not None and technique != "chain_of_thought":
        found.append("native")
    if technique != "json":
        if ability.post_sampling:
            found.append("grammar")
        if ability.logprobs:
            found.append("logprobs")
    if votes > 1:
        found.append("votes")
    found.append("self_report")
    return tuple([rung for rung in found if rung not in unable])


class Fall(msgspec.Struct, frozen=True, kw_only=True):
    """What an error on a rung means. down: try the next rung of the same model. remember: the engine never has this rung."""

    down: bool
    remember: bool = False


STAY = Fall(down=False)
DOWN = Fall(down=True)
NEVER = Fall(down=True, remember=True)


def after(rung: Rung, error: PrefrontalError) -> Fall:
    """Return what an error on `rung` means.

    Outages, timeouts, limits and budgets are no matter of the rung; the caller's faults are none either. What remains is an
    engine that cannot do what was asked, which is remembered where its words say so.
    """
    if isinstance(error, CapabilityMissing):
        return NEVER
    if isinstance(error, ContextTooLong) or not isinstance(error, ProviderError):
        return STAY
    if isinstance(error, ProviderMisbehaved | ThinkingAteCap):
        return DOWN
    if error.upstream_status in NO_ROUTE:
        return NEVER if rung == "native" else STAY
    if not isinstance(error, ProviderRejected) or error.details.get("code") is not None:
        return STAY
    words = error.message.lower()
    return NEVER if any(word in words for word in UNABLE) else DOWN


def says_unable(status: int, words: str) -> bool:
    """Return whether an answer of a decision route says that there is none here."""
    return status in NO_ROUTE or (status in (400, 422) and any(word in words.lower() for word in UNABLE))
