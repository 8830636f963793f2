"""How a model is scored for a task: a few parts in [0, 1], weighed by what the caller prefers. Pure, and every constant named."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping

import msgspec

from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.plan.cost import MILLION, rates
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.ties import tie_key

WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "balanced": {"quality": 0.30, "fit": 0.25, "cost": 0.20, "latency": 0.15, "load": 0.10},
    "quality": {"quality": 0.55, "fit": 0.25, "cost": 0.05, "latency": 0.05, "load": 0.10},
    "cost": {"quality": 0.15, "fit": 0.15, "cost": 0.55, "latency": 0.05, "load": 0.10},
    "latency": {"quality": 0.15, "fit": 0.15, "cost": 0.05, "latency": 0.50, "load": 0.15},
}
"""Weights by preference, each row sums to 1 (assumed; the learning room will fit them)."""

PRIORITY_STEP = 0.02
PRIORITY_MOST = 0.2
"""What one step of `priority` is worth, and the most it can be worth (assumed: it breaks ties and overrules no strength)."""

UNKNOWN_PART = 0.5
"""A quality, cost or latency nobody knows counts as the middle (assumed)."""

STRENGTH_GAIN = 0.35
WEAKNESS_LOSS = 0.45
"""Fit starts at the middle; a strength for the task type, declared or as a role, adds, a weakness takes more (assumed)."""

LATENCY_HALF_MS = 1500.0
"""First-token latency at which the latency part is a half (assumed: where people start to wait)."""

COST_HALF_USD = 0.004
"""Cost of one request at which the cost part is a half (assumed: about 1,000 tokens of a strong hosted model)."""

UNREADY_MS = 4000.0
"""What starting a local engine adds to its latency (assumed: a small model from disk)."""

TASK_WORDS: Mapping[str, frozenset[str]] = {
    "code": frozenset({"code", "coding", "coding_large_context", "programming"}),
    "math": frozenset({"math", "mathematics", "reasoning", "reasoning_heavy"}),
    "reasoning": frozenset({"reasoning", "reasoning_heavy", "logic", "planning"}),
    "multilingual": frozenset({"multilingual", "languages", "translation"}),
    "chat_writing": frozenset({"chat", "writing", "chat_writing", "creative"}),
    "knowledge_qa": frozenset({"knowledge", "knowledge_qa", "facts"}),
    "document_qa": frozenset({"documents", "document_qa", "long_context", "rag"}),
    "tool_call": frozenset({"tools", "tool_call", "agents", "tool_orchestration"}),
    "summarization": frozenset({"summarization", "summaries", "long_context"}),
    "vision": frozenset({"vision", "images"}),
}
"""Words in `strengths`, `weaknesses`, `tags` and roles that speak of a task type."""

_SPELLED = {
    task: words | {word.capitalize() for word in words} | {word.upper() for word in words} for task, words in TASK_WORDS.items()
}


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A model's score and its parts, both higher is better.

    `note` is for policies that rank by one thing: what the model has of it, as a phrase that follows "has" ("a cost of $0.01").
    """

    model: str
    score: float
    parts: dict[str, float]
    note: str = ""


def request_cost_usd(card: ModelCard, inputs: PlanInputs) -> float | None:
    """Return what this request would cost on `card`, nothing cached, with the caller's cap used up; None: no price is known."""
    input_usd, output_usd = rates(card, inputs.now_s)
    if input_usd is None or output_usd is None:
        return None
    needs = inputs.assessment.needs
    output = needs.output_tokens if inputs.caller_cap is None else inputs.caller_cap
    if card.max_output_tokens is not None:
        output = min(output, card.max_output_tokens)
    return (needs.input_tokens * input_usd + output * output_usd) / MILLION


def latency_ms(card: ModelCard, runtime: ModelRuntime) -> float | None:
    """Return the expected time to the first token: measured, else declared; plus the queue and a start if it is down."""
    base = runtime.first_token_ms if runtime.first_token_ms is not None else card.latency_ms
    if base is None and not runtime.queue_wait_ms and runtime.ready is not False:
        return None
    return (base or 0.0) + runtime.queue_wait_ms + (UNREADY_MS if runtime.ready is False else 0.0)


def task_words(task_type: str) -> frozenset[str]:
    """Return the words that speak of a task type, also capitalised; one the table does not know speaks for itself."""
    return _SPELLED.get(task_type) or frozenset((task_type,))


def fit(card: ModelCard, words: frozenset[str], *, has_role: bool = False) -> float:
    """Return how well declared strengths, weaknesses and roles suit a task spoken of by `words`, in [0, 1]."""
    value = 0.5
    if has_role or not (words.isdisjoint(card.strengths) and words.isdisjoint(card.tags) and words.isdisjoint(card.roles)):
        value += STRENGTH_GAIN
    if not words.isdisjoint(card.weaknesses):
        value -= WEAKNESS_LOSS
    return min(1.0, max(0.0, value))


def quality(card: ModelCard) -> float:
    """Return the declared quality in [0, 1]; without one, a guess from the price (dearer is better, on a log scale)."""
    if card.quality is not None:
        return card.quality
    output_usd = card.price.output_usd
    if not output_usd:
        return UNKNOWN_PART
    return min(0.95, max(0.2, 0.55 + 0.15 * math.log10(output_usd)))


def falling(value: float | None, half: float) -> float:
    """Return 1 at 0, a half at `half`, towards 0 beyond; the middle for what nobody knows."""
    return UNKNOWN_PART if value is None else half / (half + max(0.0, value))


def weigh(inputs: PlanInputs) -> dict[str, float]:
    """Return the weight of each part here, summing to 1: hard tasks lean on quality, easy ones on cost and latency."""
    complexity = min(1.0, max(0.0, inputs.assessment.complexity))
    lean = {"quality": 0.5 + complexity, "cost": 1.5 - complexity, "latency": 1.5 - complexity}
    row = WEIGHTS.get(inputs.prefer, WEIGHTS["balanced"])
    leaned = {name: share * lean.get(name, 1.0) for name, share in row.items()}
    total = sum(leaned.values())
    return {name: share / total for name, share in leaned.items()}


def scores(cards: Iterable[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Return the score of each card in the order given: the weighted parts plus what its priority is worth, never below 0."""
    w = weigh(inputs)
    w_quality, w_fit, w_cost, w_latency, w_load = (w[name] for name in ("quality", "fit", "cost", "latency", "load"))
    words = task_words(inputs.assessment.task_type)
    in_role = {model for role in words if role in inputs.roles for model in inputs.roles[role]}
    found: list[Scored] = []
    for card in cards:
        runtime = inputs.condition(card.id)
        parts = {
            "quality": quality(card),
            "fit": fit(card, words, has_role=card.id in in_role),
            "cost": falling(request_cost_usd(card, inputs), COST_HALF_USD),
            "latency": falling(latency_ms(card, runtime), LATENCY_HALF_MS),
            "load": 1.0 - runtime.occupancy,
        }
        value = (
            w_quality * parts["quality"]
            + w_fit * parts["fit"]
            + w_cost * parts["cost"]
            + w_latency * parts["latency"]
            + w_load * parts["load"]
        )
        if card.priority:
            parts["priority"] = max(-PRIORITY_MOST, min(PRIORITY_MOST, card.priority * PRIORITY_STEP))
            value += parts["priority"]
        found.append(Scored(model=card.id, score=max(0.0, value), parts=parts))
    return found


def score(card: ModelCard, inputs: PlanInputs) -> Scored:
    """Return the score of one model; see `scores`."""
    return scores((card,), inputs)[0]


def best_first(scored: Iterable[Scored], inputs: PlanInputs) -> list[Scored]:
    """Return them by falling score; equal scores by what `tie_key` knows, names last, so that a plan is the same every time."""
    found = sorted(scored, key=lambda s: (-s.score, s.model))
    if any(one.score == two.score for one, two in itertools.pairwise(found)):
        prefer = inputs.prefer
        found.sort(key=lambda s: (-s.score, tie_key(inputs.cards[s.model], prefer)))
    return found
