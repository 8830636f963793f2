"""What lens readings change in a plan: the task, its effort, and the reasons a person reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from prefrontal.contracts.assessment import TASK_TYPES, Assessment
from prefrontal.contracts.lens import LensReading
from prefrontal.contracts.plan import Reason

LONG_ANSWER_TOKENS = 2048
"""Output kept free for an answer that a lens expects to be long (assumed: three pages)."""


def refined(assessment: Assessment, readings: Sequence[LensReading]) -> Assessment:
    """Return the assessment with what lenses saw: a model's word on the task replaces that of the rules.

    What the request itself holds (tools, images, a form) is a fact, and no lens changes it. A formula changes nothing here, for
    that of the task is the rules.
    """
    for reading in readings:
        if reading.source != "fallback":
            assessment = _with(assessment, reading)
    return msgspec.structs.replace(assessment, lens=tuple(readings))


def _with(assessment: Assessment, reading: LensReading) -> Assessment:
    effects, needs = reading.effects, assessment.needs
    if effects.task_type is None and effects.complexity is None and effects.thinking is None and not effects.long_answer:
        return assessment
    task_type = next((known for known in TASK_TYPES if known == effects.task_type), assessment.task_type)
    thinking = needs.thinking if effects.thinking is None else effects.thinking
    output = max(needs.output_tokens, LONG_ANSWER_TOKENS) if effects.long_answer else needs.output_tokens
    return msgspec.structs.replace(
        assessment,
        task_type=task_type,
        complexity=assessment.complexity if effects.complexity is None else effects.complexity,
        needs=msgspec.structs.replace(needs, thinking=thinking, output_tokens=output),
        origin="lens",
        signals=(*assessment.signals, f"lens {reading.name}"),
    )


def risk_of(hinted: float | None, readings: Sequence[LensReading]) -> float | None:
    """Return the risk that counts: the highest anybody names."""
    named = [reading.effects.risk for reading in readings if reading.effects.risk is not None]
    if hinted is not None:
        named.append(hinted)
    return max(named) if named else None


def integration_of(readings: Sequence[LensReading]) -> float | None:
    """Return how much of the task lies between domains; None: no lens says."""
    named = [reading.effects.integration for reading in readings if reading.effects.integration is not None]
    return max(named) if named else None


def lens_reasons(readings: Sequence[LensReading]) -> tuple[Reason, ...]:
    """Return what each lens saw, who says so, and what went wrong."""
    return tuple([Reason(rule=f"lens {one.name}", effect=f"{_who(one)}: {one.summary}") for one in readings])


def _who(one: LensReading) -> str:
    if one.source == "fallback":
        return "its formula" if one.finding is None else f"its formula, as no model answers ({one.finding})"
    return f"'{one.model}'" + (", read before" if one.source == "cache" else f" in {one.latency_ms:.0f} ms")
