"""A plan in sentences: why the first model is first, and why each other lost. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefrontal.contracts.plan import Candidate
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.musts import required_by
from prefrontal.plan.ranking import Ranking
from prefrontal.plan.scores import Scored, weigh

BEHIND: Mapping[str, str] = {
    "quality": "its answers are thought less good",
    "fit": "it suits this kind of task less",
    "cost": "it costs more",
    "latency": "its first token comes later",
    "load": "it is busier",
    "priority": "its priority is lower",
}
"""What a person reads when a model is behind in one part of the score."""

TOLD = 2
"""How many parts a sentence names at most (assumed: more is not read)."""

TELLING = 0.0005
"""A weighted difference below this explains nothing (assumed: it rounds to nothing)."""


def candidates(ranking: Ranking, inputs: PlanInputs) -> tuple[Candidate, ...]:
    """Return every model, the best first, each with its score and why it lost; the best has no such reason."""
    if not ranking.ranked:
        return tuple([Candidate(model=name, score=0.0, eligible=False, lost=why) for name, why in ranking.ruled_out])
    best = ranking.ranked[0]
    weights = weigh(inputs)
    lead = [(best.parts.get(part, 0.0), weights.get(part, 1.0), part, phrase) for part, phrase in BEHIND.items()]
    listed = [_candidate(best, None)]
    listed.extend([_candidate(other, _lost(best, other, lead, ranking.put_first)) for other in ranking.ranked[1:]])
    listed.extend([Candidate(model=name, score=0.0, eligible=False, lost=why) for name, why in ranking.ruled_out])
    return tuple(listed)


def _candidate(scored: Scored, lost: str | None) -> Candidate:
    # parts in [0, 1] are shown to a thousandth; arithmetic is four times as fast as round(), and this runs for every model
    parts = scored.parts
    if not scored.note:
        parts = {name: (value * 1000.0 + 0.5) // 1.0 / 1000.0 for name, value in parts.items()}
    return Candidate(model=scored.model, score=round(scored.score, 3), eligible=True, lost=lost, parts=parts)


def _lost(best: Scored, other: Scored, lead: Sequence[tuple[float, float, str, str]], put_first: str | None) -> str:
    """Return the sentence that says why `other` is not the first; `lead` is the best's parts with weights and phrases."""
    if put_first is not None and other.score >= best.score:
        return f"the rule {put_first} puts '{best.model}' first, which scores {best.score:.2f} against {other.score:.2f}"
    if best.note and other.note:
        return f"it has {other.note}; '{best.model}' has {best.note}"
    if other.score == best.score:
        return f"it scores {other.score:.2f} like '{best.model}', which comes first by its name"
    text = f"it scores {other.score:.2f}, '{best.model}' {best.score:.2f}"
    parts = other.parts
    gaps = []
    for value, weight, part, phrase in lead:
        gap = (value - parts.get(part, 0.0)) * weight
        if gap > TELLING:
            gaps.append((gap, phrase))
    if not gaps:
        return text
    if len(gaps) > 1:
        gaps.sort(reverse=True)
    return f"{text}: {' and '.join([phrase for _, phrase in gaps[:TOLD]])}"


def why_first(ranking: Ranking, inputs: PlanInputs) -> str:
    """Return the sentence that says why the first model is the first."""
    ranked: Sequence[Scored] = ranking.ranked
    first = ranked[0]
    if len(ranked) == 1:
        return f"'{first.model}' is the only model that can take this"
    if ranking.put_first is not None:
        return f"'{first.model}' comes first of {len(ranked)} by the rule {ranking.put_first}"
    if first.note:
        return f"'{first.model}' comes first of {len(ranked)}: it has {first.note}"
    parts = ", ".join([f"{name} {value:.2g}" for name, value in sorted(first.parts.items(), key=lambda p: -p[1])])
    return f"'{first.model}' scores best of {len(ranked)} with {first.score:.2f}, preferring {inputs.prefer}: {parts}"


def assessed(inputs: PlanInputs) -> str:
    """Return the reading of the task as one line."""
    seen = inputs.assessment
    needs = required_by(inputs)
    tail = f"; needs {', '.join(needs)}" if needs else ""
    return (
        f"{seen.task_type}, complexity {seen.complexity:.2f}, about {seen.needs.input_tokens} tokens in "
        f"(confidence {seen.confidence:.2f}){tail}"
    )
