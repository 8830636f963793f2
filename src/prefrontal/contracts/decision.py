"""Typed decisions: a question with a known set of answers, and what is known about each of them.

One form for every dialect. Answers carry a whole distribution, so confidence means the same whoever decided.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.chat.blocks import Image
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.contracts.resilience import Priority

Kind = Literal["choice", "score", "yes_no"]
Source = Literal["native", "logprobs", "votes", "self_report", "rule"]
StateKind = Literal["text", "json", "messages"]
Technique = Literal["constrained", "few_shot", "chain_of_thought", "json"]
DecisionDialect = Literal["systemone", "openai", "sglang"]
Value = str | bool
Tier = Literal[1, 2, 3]

ROUTINE, CONTEXTUAL, COMPLEX = 1, 2, 3
"""The tiers: what follows known rules, what needs the situation understood, what is new, creative or between several."""

SOURCES: tuple[Source, ...] = ("native", "logprobs", "votes", "self_report", "rule")
"""Where a distribution may come from, the most trusted first."""

MAX_QUESTIONS = 128
"""Questions of one request (specified: what every known engine of this kind takes or more)."""

MAX_OPTIONS = 255
"""Options of one choice (specified by the OpenAI dialect)."""

LEVELS = (2, 10)
"""Fewest and most levels of a score (specified: the range that all engines share)."""


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One possible answer. For a score: one level, `value` its label; for yes_no: ``True`` and ``False``."""

    value: Value
    description: str | None = None


YES_NO = (Option(value=True), Option(value=False))


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A solved case that is shown to a model: a state, the answer (one of the options' values) and why, if that is known."""

    state: str
    answer: Value
    reason: str | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question of a request.

    index: its place, which identifies it; names may repeat or be missing. id: the caller's key for it, else ``str(index)``.
    options: of a choice in the caller's order; of a score the levels from the lowest; of yes_no `YES_NO`, perhaps described.
    type: the registered decision type it is of (None: made for this request). media: refs of the request's media it speaks of.
    """

    index: int = 0
    id: str = "0"
    name: str | None = None
    kind: Kind
    instructions: str = ""
    options: tuple[Option, ...]
    type: str | None = None
    media: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[Value, ...]:
        """The possible answers in order."""
        return tuple([option.value for option in self.options])


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """An image the state or a question speaks of by `ref`."""

    ref: str
    image: Image


class DecisionContext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the caller knows of the situation, for routing to tiers and for rules.

    agent: who decides; role: as what. signals: measures of complexity by name, any numbers. creativity, multi_agent, novel:
    properties of the situation.
    """

    agent: str | None = None
    role: str | None = None
    signals: dict[str, float] = {}
    creativity: bool = False
    multi_agent: bool = False
    novel: bool = False


NO_CONTEXT = DecisionContext()


class DecisionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Questions about one state.

    state: a text, any JSON value, or a list of messages, as `state_kind` says. model: a model's name, ``auto``, or ``role/NAME``.
    instructions: for all questions. deadline_s: from arrival. cache: False asks and stores nothing there.
    run: the run it belongs to, whose budget it is charged to (None: no run). tier: where to begin, whatever the policy says;
    most_tier: no higher than this.
    data_class, priority: as for any request. dialect: the route it came by (``library``: none). extra: fields to pass on to an
    upstream of the same dialect.
    """

    model: str = "auto"
    state: Any
    state_kind: StateKind = "text"
    questions: tuple[Question, ...]
    instructions: str = ""
    media: tuple[Media, ...] = ()
    context: DecisionContext = NO_CONTEXT
    run: str | None = None
    tier: Tier | None = None
    most_tier: Tier = 3
    deadline_s: float | None = None
    cache: bool = True
    dialect: Literal["systemone", "openai", "library"] = "library"
    session: str | None = None
    data_class: str | None = None
    priority: Priority | None = None
    metadata: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None


class DecisionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question.

    probabilities: one an option in the options' order, each in [0, 1], together 1. chosen: the value of the most probable option
    (of a score: its label). expectation: of a score the probability-weighted level counted from 0, of yes_no P(yes), of a choice
    None. confidence: [0, 1] by `decisions.distribution`, whatever an upstream says; that is kept in `upstream_confidence`.
    label_mass: probability the model gave to the options before they were made to sum to 1 (None: unknown).
    source: where the distribution comes from. degraded: why it is worse than asked for (None: it is not). fallback: the code of
    what went wrong when a rule had to answer. refusal: the model declined; the probabilities are then those of the fallback.
    tier: the one whose model answered; 0: a rule, or a model outside of tiers. tier_reason: why it began where it began, and why
    it went on (``type``, ``creativity``, ``type, low_confidence``). degraded_by: what kept it from a better tier
    (``agent_allowance``, ``insufficient_quota``, the code of an outage). similar: answered from the cache by a state that means
    the same. calibrator: what made the probabilities honest (None: nothing did); raw: those before it, where there was one.
    attempts: calls made for it. cost_usd: its share; None: unknown.
    """

    index: int
    id: str
    name: str | None = None
    kind: Kind
    values: tuple[Value, ...]
    probabilities: tuple[float, ...]
    chosen: Value
    expectation: float | None = None
    confidence: float
    upstream_confidence: float | None = None
    label_mass: float | None = None
    source: Source
    model: str | None = None
    type: str | None = None
    cached: bool = False
    similar: bool = False
    tier: int = 0
    tier_reason: str | None = None
    degraded_by: str | None = None
    calibrator: str | None = None
    raw: tuple[float, ...] | None = None
    prompt_version: str | None = None
    attempts: int = 0
    cost_usd: float | None = None
    degraded: str | None = None
    fallback: str | None = None
    refusal: bool = False
    finding: str | None = None


class DecisionResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Every question's answer, in the questions' order. model: the one that answered, or ``rule``."""

    model: str
    answers: tuple[DecisionAnswer, ...]
    usage: Usage = UNKNOWN_USAGE
