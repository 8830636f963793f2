"""A plan in sentences: why the first model is first, and why each other lost. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefrontal.contracts.plan import Candidate
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.musts import required_by
from prefrontal.plan.ranking import Ranking
from prefrontal.plan.scores import Scored, weigh
from prefrontal.plan.ties import tie_reason

BEHIND: Mapping[str, str] = {
    "quality": "its answers are thought less good",
    "fit": "it suits this kind of task less",
    "cost": "it is expected to cost more",
    "latency": "its first token is expected later",
    "load": "it is busier",
    "priority": "its priority is lower",
}
"""What a person reads when a model is behind in one part of the score; "expected", as what nobody knows counts as the middle."""

Lead = list[tuple[float, float, str, str]]
"""For each part of the score: the best's value, its weight, its name, and the phrase for whoever has less."""

TOLD = 2
"""How many parts a sentence names at most (assumed: more is not read)."""

TELLING = 0.0005
"""A weighted difference below this explains nothing (assumed: it rounds to nothing)."""


def candidates(ranking: Ranking, lead: Lead, inputs: PlanInputs) -> tuple[Candidate, ...]:
    """Return every model, the best first, with its score and why it lost; the best, whose `lead` it is, has no such reason."""
    best = ranking.ranked[0]
    listed = [_candidate(best, None)]
    listed.extend([_candidate(other, _lost(best, other, lead, ranking.put_first, inputs)) for other in ranking.ranked[1:]])
    listed.extend([Candidate(model=name, score=0.0, eligible=False, lost=why) for name, why in ranking.ruled_out])
    return tuple(listed)


def _candidate(scored: Scored, lost: str | None) -> Candidate:
    # parts in [0, 1] are shown to a thousandth; arithmetic is four times as fast as round(), and this runs for every model
    parts = scored.parts
    if not scored.note:
        parts = {name: (value * 1000.0 + 0.5) // 1.0 / 1000.0 for name, value in parts.items()}
    return Candidate(model=scored.model, score=round(scored.score, 3), eligible=True, lost=lost, parts=parts)


def _lost(best: Scored, other: Scored, lead: Lead, put_first: str | None, inputs: PlanInputs) -> str:
    """Return the sentence that says why `other` is not the first; `lead` is the best's parts with weights and phrases."""
    ours, theirs = told_apart(best.score, other.score)
    if put_first is not None and other.score >= best.score:
        return f"the rule {put_first} puts '{best.model}' first, which scores {ours} against {theirs}"
    if best.note and other.note:
        return f"it has {other.note}; '{best.model}' has {best.note}"
    if other.score == best.score:
        why = tie_reason(inputs.cards[best.model], inputs.cards[other.model], inputs.prefer)
        return f"it scores {theirs} like '{best.model}', which comes first: {why}"
    behind = _behind(other, lead)
    cold = inputs.condition(other.model).ready is False and inputs.condition(best.model).ready is not False
    return f"it scores {theirs}, '{best.model}' {ours}{behind}{'; it would have to be loaded first' if cold else ''}"


def lead_of(best: Scored, inputs: PlanInputs) -> Lead:
    """Return the best's parts with their weights and what is said of whoever has less."""
    weights = weigh(inputs)
    return [(best.parts.get(part, 0.0), weights.get(part, 1.0), part, phrase) for part, phrase in BEHIND.items()]


def _behind(other: Scored, lead: Lead) -> str:
    """Return in what `other` is behind most, after a colon; nothing when no part tells."""
    parts = other.parts
    gaps = []
    for value, weight, part, phrase in lead:
        gap = (value - parts.get(part, 0.0)) * weight
        if gap > TELLING:
            gaps.append((gap, phrase))
    if len(gaps) > 1:
        gaps.sort(reverse=True)
    return f": {' and '.join([phrase for _, phrase in gaps[:TOLD]])}" if gaps else ""


def told_apart(one: float, two: float) -> tuple[str, str]:
    """Return two scores as people read them: to a hundredth, and to a thousandth where that alone tells them apart.

    They are rounded to a thousandth first, as the scores of the candidates are, so that no place shows another figure.
    """
    one, two = round(one, 3), round(two, 3)
    digits = 3 if one != two and f"{one:.2f}" == f"{two:.2f}" else 2
    return f"{one:.{digits}f}", f"{two:.{digits}f}"


def why_first(ranking: Ranking, inputs: PlanInputs, lead: Lead) -> str:
    """Return the sentence that says why the first model, whose `lead` it is, is the first."""
    ranked: Sequence[Scored] = ranking.ranked
    first = ranked[0]
    if len(ranked) == 1:
        return f"'{first.model}' is the only model that can take this"
    if ranking.put_first is not None:
        return f"'{first.model}' comes first of {len(ranked)} models because the rule {ranking.put_first} puts it there"
    if first.note:
        return f"'{first.model}' comes first of {len(ranked)} models: it has {first.note}"
    second = max(ranked[1:], key=lambda scored: scored.score)
    ours, theirs = told_apart(first.score, second.score)
    if first.score == second.score:
        why = tie_reason(inputs.cards[first.model], inputs.cards[second.model], inputs.prefer)
        return f"'{first.model}' comes first of {len(ranked)} models with {ours}, as much as '{second.model}' has: {why}"
    behind = _behind(second, lead)
    return (
        f"'{first.model}' scores best of {len(ranked)} models with {ours} (preference: {inputs.prefer}); "
        f"next is '{second.model}' with {theirs}{behind}"
    )


def assessed(inputs: PlanInputs) -> str:
    """Return the reading of the task as one sentence."""
    seen = inputs.assessment
    needs = required_by(inputs)
    tail = f"; it needs {', '.join(needs)}".replace("_", " ") if needs else ""
    return (
        f"the prompt reads as {seen.task_type.replace('_', ' ')} (confidence {seen.confidence:.2f}), "
        f"complexity {seen.complexity:.2f} of 1, about {seen.needs.input_tokens:,} tokens{tail}"
    )
