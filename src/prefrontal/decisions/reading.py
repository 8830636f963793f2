"""What came back from a rung, made into a distribution. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from prefrontal.contracts.decision import DecisionAnswer, Question, Source
from prefrontal.decisions.distribution import confidence, expectation, from_logprobs, mode, normalised
from prefrontal.decisions.prepared import Prepared
from prefrontal.errors import ProviderMisbehaved

PART_LISTED = "label_not_listed"
"""Why an answer is degraded of which some label was not among the listed tokens: its probability is a bound."""


ALL = 0.9999
"""From this share on, a list made after a grammar holds nothing but codes; below, the grammar was not applied (assumed)."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution over the options in the question's order, with what is known of it. refusal: there is none."""

    probabilities: tuple[float, ...]
    source: Source
    label_mass: float | None = None
    upstream_confidence: float | None = None
    degraded: str | None = None
    refusal: bool = False


def answer_of(question: Question, reading: Reading, **known: Any) -> DecisionAnswer:
    """Return the answer that a reading gives; `known` are further fields of it."""
    values, probabilities = question.values, reading.probabilities
    return DecisionAnswer(
        index=question.index,
        id=question.id,
        name=question.name,
        kind=question.kind,
        values=values,
        probabilities=probabilities,
        chosen=values[mode(probabilities)],
        expectation=expectation(question.kind, probabilities),
        confidence=confidence(question.kind, probabilities),
        upstream_confidence=reading.upstream_confidence,
        label_mass=reading.label_mass,
        source=reading.source,
        type=question.type,
        refusal=reading.refusal,
        degraded=known.pop("degraded", None) or reading.degraded,
        **known,
    )


def distribution_of(weights: Sequence[float], what: str) -> tuple[float, ...]:
    """Return the weights an engine sent as a distribution. Raises ProviderMisbehaved: NaN, negative, all zero."""
    try:
        return normalised(weights)
    except ValueError as error:
        raise ProviderMisbehaved(f"The upstream's probabilities of {what} are none: {error}.") from None


def read_logprobs(prepared: Prepared, logprobs: dict[str, Any] | None) -> Reading | None:
    """Return the distribution in the log-probabilities of a chat answer; None when it lists none.

    The token that decides is looked for from the end, so that thinking or a space before it does no harm; a code counts with
    and without a space around it. Engines that list probabilities after their grammar give exactly the allowed codes; the mass
    they had before is then unknown. A list that holds other tokens too was made without the grammar, and is read as such.

    Raises:
        ProviderMisbehaved: tokens are listed and none of them is a code.
    """
    content = logprobs.get("content") if logprobs is not None else None
    entries = [entry for entry in content if isinstance(entry, dict)] if isinstance(content, list) else []
    entries = [entry for entry in entries if _listed(entry)]
    if not entries:
        return None
    decisive = [entry for entry in entries if str(entry.get("token", "")).strip() in prepared.codes]
    for entry in [*reversed(decisive), *reversed(entries)]:
        reading = _one_token(prepared, _listed(entry), post=isinstance(entry.get("top_probs"), list))
        if reading is not None:
            return reading
    raise ProviderMisbehaved("None of the offered answers is among the tokens the model considered.")


def _listed(entry: dict[str, Any]) -> list[Any]:
    post = entry.get("top_probs")
    listed = post if isinstance(post, list) else entry.get("top_logprobs")
    return listed if isinstance(listed, list) else []


def _one_token(prepared: Prepared, listed: list[Any], *, post: bool) -> Reading | None:
    field = "prob" if post else "logprob"
    found: dict[str, float] = {}
    floor: float | None = None
    for item in listed:
        value = item.get(field) if isinstance(item, dict) else None
        token = item.get("token") if isinstance(item, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(token, str) or math.isnan(value):
            continue
        probability = float(value) if post else math.exp(min(0.0, value))
        floor = probability if floor is None else min(floor, probability)
        code = token.strip()
        if code in prepared.codes:
            found[code] = found.get(code, 0.0) + probability
    if not found or sum(found.values()) <= 0.0:
        return None
    if post and sum(found.values()) > ALL:
        return Reading(probabilities=normalised([found.get(code, 0.0) for code in prepared.codes]), source="logprobs")
    logs = [math.log(found[code]) if found.get(code) else None for code in prepared.codes]
    probabilities, mass, bounded = from_logprobs(logs, math.log(floor) if floor else None)
    return Reading(probabilities=probabilities, source="logprobs", label_mass=mass, degraded=PART_LISTED if bounded else None)
