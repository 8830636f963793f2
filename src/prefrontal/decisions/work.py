"""One decision request on its way: what is asked, of whom, within which bounds, and what came of each question."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.config.schema_tiers import Batching, Tiers
from prefrontal.contracts.decision import DecisionAnswer, DecisionRequest, Question
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.asks import Shown
from prefrontal.decisions.reading import Reading
from prefrontal.decisions.tiers import Route, Step, Visit, following
from prefrontal.decisions.types import DecisionType
from prefrontal.errors import PrefrontalError
from prefrontal.execute.call import Call
from prefrontal.execute.journal import Journal
from prefrontal.ledger.purse import Purse

NO_BATCHING = Batching()

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


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """The tiers of one request. barred: those without a model; most: none above it; digest: of all that."""

    rules: Tiers
    cards: Mapping[int, tuple[ModelCard, ...]]
    barred: Mapping[int, str]
    most: int = 3
    digest: bytes = b""
    every: tuple[ModelCard, ...] = ()


class Progress(msgspec.Struct, kw_only=True):
    """How far one question has come through the tiers. best: the surest answer that is not sure enough."""

    route: Route
    visits: list[Visit] = []
    step: Step | None = None
    best: DecisionAnswer | None = None
    over: bool = False


class Place(msgspec.Struct, frozen=True):
    """Where the answers of one question lie, by the models it begins with. leads: others wait for what we find."""

    one: Asked
    names: tuple[str, ...]
    cards: tuple[ModelCard, ...]
    room: bytes
    leads: bool = False


class Work(msgspec.Struct, kw_only=True):
    """One request being decided.

    call: what all its calls have in common: bounds, deadline, purse, trace. chat: the state as one chat message, for estimates.
    outcomes: by the questions' index. ways: the tiers (None: `cards` are asked as they stand); progress: through them. run: whose
    budget and allowances count; run_purse: pays for what costs money then. tenant: who shares cached answers; private: nothing of
    this caller's is kept. held: questions that somebody else is asking already. places: in the cache (None: not worked out yet).
    """

    request: DecisionRequest
    asked: tuple[Asked, ...]
    cards: tuple[ModelCard, ...]
    chat: ChatRequest
    shown: Shown
    call: Call
    journal: Journal
    longest_s: float = 0.0
    parallel: int = 8
    without_rule: str = "uniform"
    outcomes: dict[int, Outcome] = {}
    ways: Ways | None = None
    progress: dict[int, Progress] = {}
    run: str | None = None
    run_purse: Purse | None = None
    tenant: str = ""
    private: bool = False
    held: set[int] = set()
    batching: Batching = NO_BATCHING
    places: dict[int, Place] | None = None

    def open(self) -> list[Asked]:
        """Return the questions that have no answer and are ours to ask."""
        return [
            one
            for one in self.asked
            if not isinstance(self.outcomes.get(one.question.index), DecisionAnswer) and one.question.index not in self.held
        ]

    def first_cards(self, one: Asked) -> tuple[ModelCard, ...]:
        """Return the models that a question begins with."""
        if self.ways is None:
            return self.cards
        progress = self.progress[one.question.index]
        step = progress.step or following(progress.route, (), self.ways.barred, most=self.ways.most)
        return () if step.tier is None else self.ways.cards[step.tier]

    def paying(self, card: ModelCard) -> Work:
        """Return the work as this model is asked: a run pays for models that cost money, and outcomes are the same."""
        if self.run_purse is None or free(card):
            return self
        return msgspec.structs.replace(self, call=msgspec.structs.replace(self.call, purse=self.run_purse))


def free(card: ModelCard) -> bool:
    """Return whether calls of a model cost nothing, whatever they use."""
    return card.self_hosted and not card.price.input_usd and not card.price.output_usd
