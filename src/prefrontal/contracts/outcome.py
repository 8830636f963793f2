"""What turned out to be right: the true answers to decisions, the worth of routed answers, and the calibrators fitted to them."""

from __future__ import annotations

from typing import Literal

import msgspec

from prefrontal.contracts.decision import Kind, Source

Origin = Literal["human", "observed", "model"]
"""Who says so: a person, what happened afterwards, or a larger model (which can be wrong, and is marked as such everywhere)."""

Bucket = Literal["2", "3-5", "6-10", "11+"]
"""How many options a question has (specified: the ranges that engines calibrate by)."""

REQUEST = -1
"""In the place of a question's index: the outcome is of the whole routed request."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What turned out about one answer. It belongs to a record and ends with it; it holds no words.

    question: the index of the decision's question, or `REQUEST`. option: the index of the right option (None: unknown).
    model: of a routed request, the model that should have been chosen (None: unknown). reward: how good the answer was, from -1
    to 1 (None: not said). at_s: Unix time at which it was told.
    """

    record_id: str
    question: int = 0
    option: int | None = None
    model: str | None = None
    reward: float | None = None
    origin: Origin = "human"
    at_s: float = 0.0


class Slot(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What one calibrator holds for: a model, the wording it was asked in (empty: its own route), kind, options and source."""

    model: str
    prompt_version: str = ""
    kind: Kind
    bucket: Bucket
    source: Source

    @property
    def text(self) -> str:
        """The slot for people."""
        return " · ".join([self.model, self.prompt_version or "own route", self.kind, f"{self.bucket} options", self.source])


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """How good distributions are, on labelled answers.

    accuracy: share whose most probable option is right. nll: mean negative log-likelihood of the right option, nats. brier: mean
    squared distance from the right answer, [0, 2]. ece: mean gap between stated and true share, over ten bins of the top
    probability. sure, sure_wrong: answers with a top probability of at least `decisions.calibration.SURE`, and the wrong of them.
    """

    count: int
    accuracy: float
    nll: float
    brier: float
    ece: float
    sure: int = 0
    sure_wrong: int = 0


class Calibrator(msgspec.Struct, frozen=True, kw_only=True):
    """A temperature for one slot; never changed once made, so an answer's `calibrator` says what was done to it.

    temperature: probabilities are raised to 1/temperature and made to sum to 1: above 1 they become flatter. fitted, held_out:
    labelled answers it was fitted to and judged on. before, after: of those held out. made_s: Unix time. active: whether it is
    applied.
    """

    id: str
    slot: Slot
    version: int
    temperature: float
    made_s: float
    fitted: int
    held_out: int
    before: Measures
    after: Measures
    active: bool = True
