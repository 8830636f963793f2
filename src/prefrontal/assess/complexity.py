"""How hard a request is, as one number in [0, 1]: a weighted sum of things that can be counted.

The score orders requests; it is no probability. It is computed from :class:`Factors` alone, never falls when any factor
but ``easy_words`` rises, and never rises with ``easy_words``. The weights say how much each factor may add at most;
what they predict, and how well, is measured in ``docs/assessment.md``.
"""

from __future__ import annotations

from math import log2
from typing import Final

import msgspec

from prefrontal.contracts.assessment import TaskType

BASE: Final[dict[TaskType, float]] = {
    "math": 0.30,
    "reasoning": 0.32,
    "code": 0.26,
    "tool_call": 0.14,
    "multilingual": 0.14,
    "document_qa": 0.12,
    "vision": 0.12,
    "summarization": 0.08,
    "chat_writing": 0.06,
    "knowledge_qa": 0.06,
}
"""Start value by task type (assumed; the order agrees with the share of questions on which large models beat small ones)."""

LENGTH_WEIGHT: Final = 0.20
"""At most this for length (measured: length alone orders questions better than chance, see docs/assessment.md)."""
LENGTH_UNIT_CHARS: Final = 120
"""Length is counted in doublings of this many characters (assumed: one sentence)."""
LENGTH_FULL_CHARS: Final = 16_000
"""Length from which more adds nothing (assumed: some 4,000 tokens)."""

NUMBERS_WEIGHT: Final = 0.12
NUMBERS_FULL: Final = 10
"""Numbers given: each is a quantity to keep track of (measured: helps on exam questions)."""

HARD_WEIGHT: Final = 0.20
HARD_FULL: Final = 4
"""Different words of proof, design and analysis (assumed)."""

CONSTRAINT_WEIGHT: Final = 0.10
CONSTRAINT_FULL: Final = 8
"""Different words that state a condition on the answer (assumed)."""

FORMAL_WEIGHT: Final = 0.14
FORMAL_FULL: Final = 6
"""Different terms of mathematics, physics and logic (measured: helps on exam questions)."""

STEP_WEIGHT: Final = 0.06
STEP_FULL: Final = 4
"""Different words that order several steps (assumed)."""

QUESTION_WEIGHT: Final = 0.05
QUESTION_FULL: Final = 4
"""Question marks (assumed: several questions are more work than one)."""

SYMBOL_WEIGHT: Final = 0.06
"""Formulas, typeset mathematics, code or an error report in the text (assumed)."""

TURN_WEIGHT: Final = 0.05
TURN_FULL: Final = 20
"""Messages before this one, in doublings (assumed: a long conversation carries more to respect)."""

TOOL_WEIGHT: Final = 0.06
TOOL_FULL: Final = 32
"""Tools to choose from, in doublings (assumed)."""

EASY_WEIGHT: Final = 0.10
EASY_FULL: Final = 2
"""Words that ask for little: a greeting, thanks, "briefly" (assumed); subtracted."""


class Factors(msgspec.Struct, frozen=True, kw_only=True):
    """What the score is made of; all counts are at least 0."""

    task_type: TaskType
    n_chars: int = 0
    numbers: int = 0
    hard_words: int = 0
    constraints: int = 0
    formal_terms: int = 0
    steps: int = 0
    questions: int = 0
    symbols: bool = False
    earlier_turns: int = 0
    tools: int = 0
    easy_words: int = 0


def complexity(factors: Factors) -> float:
    """Return the score, in [0, 1]; see the module's first paragraph for what it promises."""
    total = (
        BASE[factors.task_type]
        + LENGTH_WEIGHT * _doublings(factors.n_chars / LENGTH_UNIT_CHARS, LENGTH_FULL_CHARS / LENGTH_UNIT_CHARS)
        + NUMBERS_WEIGHT * _share(factors.numbers, NUMBERS_FULL)
        + HARD_WEIGHT * _share(factors.hard_words, HARD_FULL)
        + CONSTRAINT_WEIGHT * _share(factors.constraints, CONSTRAINT_FULL)
        + FORMAL_WEIGHT * _share(factors.formal_terms, FORMAL_FULL)
        + STEP_WEIGHT * _share(factors.steps, STEP_FULL)
        + QUESTION_WEIGHT * _share(factors.questions, QUESTION_FULL)
        + SYMBOL_WEIGHT * factors.symbols
        + TURN_WEIGHT * _doublings(factors.earlier_turns, TURN_FULL)
        + TOOL_WEIGHT * _doublings(factors.tools, TOOL_FULL)
        - EASY_WEIGHT * _share(factors.easy_words, EASY_FULL)
    )
    return min(1.0, max(0.0, total))


def _share(count: int, full: int) -> float:
    return count / full if count < full else 1.0


def _doublings(amount: float, full: float) -> float:
    return log2(1 + amount) / log2(1 + full) if amount < full else 1.0
