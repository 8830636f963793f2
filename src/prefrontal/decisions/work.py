"""One decision request on its way: what is asked, of whom, within which bounds, and what came of each question."""

from __future__ import annotations

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.decision import DecisionAnswer, DecisionRequest, Question
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.asks import Shown
from prefrontal.decisions.reading import Reading
from prefrontal.decisions.types import DecisionType
from prefrontal.errors import PrefrontalError
from prefrontal.execute.call import Call
from prefrontal.execute.journal import Journal

LOW_MASS, REFUSED, TIMEOUT, NO_MODEL = "low_label_mass", "refused", "timeout", "no_model"
"""Codes of `Failure` besides those of errors."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A question of a request with its type."""

    question: Question
    type: DecisionType


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a question has no answer yet. reading: what came all the same and is not good enough. refused: the model declined."""

    code: str
    error: PrefrontalError | None = None
    reading: Reading | None = None
    model: str | None = None
    attempts: int = 0
    cost_usd: float | None = 0.0


Outcome = DecisionAnswer | Failure


class Work(msgspec.Struct, kw_only=True):
    """One request being decided.

    call: what all its calls have in common: bounds, deadline, purse, trace. chat: the state as one chat message, for estimates.
    outcomes: by the questions' index.
    """

    request: DecisionRequest
    asked: tuple[Asked, ...]
    cards: tuple[ModelCard, ...]
    chat: ChatRequest
    shown: Shown
    call: Call
    journal: Journal
    parallel: int = 8
    without_rule: str = "uniform"
    outcomes: dict[int, Outcome] = {}

    def open(self) -> list[Asked]:
        """Return the questions that have no answer."""
        return [one for one in self.asked if not isinstance(self.outcomes.get(one.question.index), DecisionAnswer)]
