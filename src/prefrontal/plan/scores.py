"""How a model is scored for a task: a few parts in [0, 1], weighed by what the caller prefers. Pure, and every constant named."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.plan.cost import window_at
from prefrontal.plan.inputs import PlanInputs

WEIGHTS = {
    "balanced": {"quality": 0.30, "fit": 0.25, "cost": 0.20, "latency": 0.15, "load": 0.10},
    "quality": {"quality": 0.55, "fit": 0.25, "cost": 0.05, "latency": 0.05, "load": 0.10},
    "cost": {"quality": 0.15, "fit": 0.15, "cost": 0.55, "latency": 0.05, "load": 0.10},
    "latency": {"quality": 0.15, "fit": 0.15, "cost": 0.05, "latency": 0.50, "load": 0.15},
}
"""Weights by preference, each row sums to 1 (assumed; the learning room will fit them)."""

PRIORITY_STEP = 0.02
"""What one step of `priority` is worth, capped at +-0.2 (assumed: breaks ties, does not overrule a missing strength)."""

UNKNOWN_QUALITY = 0.5
UNKNOWN_PART = 0.5
"""A quality, cost or latency nobody knows counts as the middle (assumed)."""

STRENGTH_GAIN = 0.35
WEAKNESS_LOSS = 0.45
"""Fit starts at the middle; a declared strength for the task type adds, a weakness takes more (assumed)."""

LATENCY_HALF_MS = 1500.0
"""First-token latency at which the latency part is a half (assumed: where people start to wait)."""

COST_HALF_USD = 0.004
"""Cost of one request at which the cost part is a half (assumed: about 1,000 tokens of a strong hosted model)."""

UNREADY_MS = 4000.0
"""What starting a local engine adds to its latency (assumed: a small model from disk)."""

TASK_WORDS = {
    "code": ("code", "coding", "programming"),
    "math": ("math", "mathematics", "reasoning"),
    "reasoning": ("reasoning", "logic", "planning"),
    "multilingual": ("multilingual", "languages", "translation"),
    "chat_writing": ("chat", "writing", "chat_writing", "creative"),
    "knowledge_qa": ("knowledge", "knowledge_qa", "facts"),
    "document_qa": ("documents", "document_qa", "long_context", "rag"),
    "tool_call": ("tools", "tool_call", "agents", "tool_orchestration"),
    "summarization": ("summarization", "summaries", "long_context"),
    "vision": ("vision", "images"),
}
"""Words in `strengths`, `weaknesses` and `tags` that speak of a task type."""


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A model's score with its parts, both higher is better."""

    model: str
    score: float
    parts: dict[str, float]


def request_cost_usd(card: ModelCard, inputs: PlanInputs) -> float | None:
    """Return what this request would cost on `card` at most; None when no price is known."""
    price = window_at(card.price, inputs.now_s)
    input_usd = price.input_usd if price.input_usd is not None else card.price.input_usd
    output_usd = price.output_usd if price.output_usd is not None else card.price.output_usd
    if input_usd is None or output_usd is None:
        return 0.0 if card.self_hosted else None
    needs = inputs.assessment.needs
    output = inputs.caller_cap or needs.output_tokens
    return (needs.input_tokens * input_usd + output * output_usd) / 1_000_000


def latency_ms(card: ModelCard, runtime: ModelRuntime) -> float | None:
    """Return the expected time to the first token: measured, else declared; plus the queue and a start if it is down."""
    base = runtime.first_token_ms if runtime.first_token_ms is not None else card.latency_ms
    if base is None and not runtime.queue_wait_ms and runtime.ready is not False:
        return None
    return (base or 0.0) + runtime.queue_wait_ms + (UNREADY_MS if runtime.ready is False else 0.0)


def fit(card: ModelCard, task_type: str) -> float:
    """Return how well the model's declared strengths and weaknesses suit the task type, in [0, 1]."""
    words = TASK_WORDS.get(task_type, (task_type,))
    value = 0.5
    if any(word in card.strengths or word in card.tags for word in words):
        value += STRENGTH_GAIN
    if any(word in card.weaknesses for word in words):
        value -= WEAKNESS_LOSS
    return min(1.0, max(0.0, value))


def quality(card: ModelCard) -> float:
    """Return the declared quality in [0, 1]; without one, a guess from the price (dearer is better, on a log scale)."""
    if card.quality is not None:
        return card.quality
    output_usd = card.price.output_usd
    if not output_usd:
        return UNKNOWN_QUALITY
    return min(0.95, max(0.2, 0.55 + 0.15 * math.log10(output_usd)))


def _falling(value: float | None, half: float) -> float:
    return UNKNOWN_PART if value is None else half / (half + max(0.0, value))


def score(card: ModelCard, inputs: PlanInputs) -> Scored:
    """Return the model's score: the weighted parts, where hard tasks lean on quality and easy ones on cost and latency."""
    runtime = inputs.condition(card.id)
    weights = WEIGHTS.get(inputs.prefer, WEIGHTS["balanced"])
    complexity = inputs.assessment.complexity
    parts = {
        "quality": quality(card),
        "fit": fit(card, inputs.assessment.task_type),
        "cost": _falling(request_cost_usd(card, inputs), COST_HALF_USD),
        "latency": _falling(latency_ms(card, runtime), LATENCY_HALF_MS),
        "load": 1.0 - runtime.occupancy,
    }
    lean = {"quality": 0.5 + complexity, "cost": 1.5 - complexity, "latency": 1.5 - complexity}
    total = weight = 0.0
    for name, share in weights.items():
        effective = share * lean.get(name, 1.0)
        total += effective * parts[name]
        weight += effective
    value = total / weight + max(-0.2, min(0.2, card.priority * PRIORITY_STEP))
    parts = {name: round(part, 3) for name, part in parts.items()}
    if card.priority:
        parts["priority"] = round(card.priority * PRIORITY_STEP, 3)
    return Scored(model=card.id, score=round(value, 4), parts=parts)


def best_first(scored: Sequence[Scored]) -> list[Scored]:
    """Return them by falling score; equal scores by name, so that a plan is the same every time."""
    return sorted(scored, key=lambda s: (-s.score, s.model))
