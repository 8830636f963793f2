"""Typed decisions of one process: its decision types, and how a Python caller asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from prefrontal.app.outcomes import OutcomeDraft, Outcomes
from prefrontal.chat.request import ChatRequest
from prefrontal.config.schema_decisions import Decisions as Settings
from prefrontal.contracts.decision import (
    NO_CONTEXT,
    DecisionAnswer,
    DecisionContext,
    DecisionRequest,
    Question,
    StateKind,
    Tier,
)
from prefrontal.contracts.outcome import Origin, Outcome
from prefrontal.contracts.record import RequestRecord
from prefrontal.decisions.typed import Ask, Form, form_of
from prefrontal.decisions.types import DecisionType, Types, make_type
from prefrontal.decisions.wire.common import check_state
from prefrontal.errors import Conflict, InvalidRequest, PrefrontalError

T = TypeVar("T")

GROUP = 256
"""Decisions that share a record (assumed: some 100 KB; what a record costs is spread over so many)."""

MAX_FORMS = 1024
"""Python types that stay translated (assumed: a program asks fewer)."""


class Decision(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One decision: its value, and the whole answer with its record. probabilities: by value."""

    value: T
    probabilities: Mapping[Any, float]
    answer: DecisionAnswer
    record: RequestRecord

    @property
    def confidence(self) -> float:
        """How sure the distribution is, [0, 1]."""
        return self.answer.confidence

    @property
    def expectation(self) -> float | None:
        """Of a score the expected level from 0, of a yes_no P(yes)."""
        return self.answer.expectation

    @property
    def source(self) -> str:
        """Where it comes from: native, logprobs, votes, self_report, rule."""
        return self.answer.source


class DecisionItem(msgspec.Struct, frozen=True, kw_only=True):
    """One of many decisions: see `Prefrontal.decide_many`. tier: where to begin, whatever the policy says."""

    question: Any
    state: Any
    context: DecisionContext = NO_CONTEXT
    tier: Tier | None = None


DecidedItem = Decision[Any] | PrefrontalError
"""What comes of an item: the decision, or why it could not be made."""


class PreparedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item as it is asked, and the way back to its Python type."""

    request: DecisionRequest
    form: Form | None
    types: Types

    def decision(self, answers: tuple[DecisionAnswer, ...] | PrefrontalError, record: RequestRecord) -> DecidedItem:
        """Return what its caller gets."""
        return answers if isinstance(answers, PrefrontalError) else decision_of(answers[0], self.form, record)


def grouped(items: Iterable[DecisionItem], size: int = GROUP) -> Iterator[list[DecisionItem]]:
    """Yield the items in groups that share a record."""
    waiting = iter(items)
    while group := list(islice(waiting, size)):
        yield group


class DecisionDesk:
    """The decision types in use, and the translation of Python types. Belongs to one event loop."""

    def __init__(self) -> None:
        self._registered: dict[str, Callable[[Settings], DecisionType]] = {}
        self._types: list[tuple[Settings, Types]] = []
        self._forms: dict[Any, Form] = {}
        self.outcomes: Outcomes | None = None  # a `Prefrontal` sets its own

    def types(self, settings: Settings) -> Types:
        """Return the types of a configuration, with those registered in Python. Raises ConfigError."""
        for known, types in self._types:
            if known is settings:
                return types
        made = Types(settings, extra={name: make(settings) for name, make in self._registered.items()})
        self._types = [*self._types[-1:], (settings, made)]  # the one before stays for requests that began with it
        return made

    def register(
        self, name: str, question: Any, *, rule: Callable[..., Any] | None = None, samples: Sequence[Any] = (), **settings: Any
    ) -> None:
        """Register a decision type in Python: an `Enum`, a `Literal`, an `Ask` or a `Question`, with its rule.

        samples: states the rule is tried on now, twice each. settings: as of `decisions.types.*`: technique, template, votes,
        min_label_mass, deadline_s, models, tier, cache (`config.schema_tiers.TypeCache`), examples
        (`contracts.decision.Example`).

        Raises:
            Conflict: the name is taken. ConfigError: the rule is wrong. InvalidRequest: it is not a question.
        """
        if name in self._registered or any(name in types.registered for _, types in self._types):
            raise Conflict(f"There is a decision type '{name}' already.", param="name")
        if isinstance(question, Question):
            asked, own_rule = question, rule
        else:
            form = self.form(question)
            asked = form.question
            own_rule = form.rule
            if rule is not None:
                own_rule = form_of(_type_of(question), Ask(asked.instructions, rule=rule)).rule
        asked = msgspec.structs.replace(asked, name=name, type=name)

        def make(defaults: Settings) -> DecisionType:
            return make_type(name, asked, defaults, rule=own_rule, samples=samples, **settings)

        make(Settings())
        self._registered[name] = make
        self._types = []

    async def outcome(
        self,
        of: Decision[Any] | str,
        label: Any = None,
        *,
        question: int | str | None = None,
        option: int | None = None,
        model: str | None = None,
        reward: float | None = None,
        origin: Origin = "human",
    ) -> Outcome:
        """Keep what turned out to be right: of a `Decision`, or of any request by its record's id.

        label: the right answer, for a `Decision` a value of its type. question: which of several, by index or name. reward: -1 to
        1. model: of a routed request the one that should have been chosen. Raises NotFound, InvalidRequest, Conflict, StoreError.
        """
        if isinstance(of, Decision):
            members = list(of.probabilities)
            if label is not None:
                if label not in members:
                    raise InvalidRequest(f"{label!r} is none of the options.", param="label")
                option = members.index(label)
            record_id, label, question = of.record.id, None, of.answer.index
        else:
            record_id = of
        draft = OutcomeDraft(question=question, label=label, option=option, model=model, reward=reward, origin=origin)
        if self.outcomes is None:
            raise Conflict("Outcomes are kept by an open Prefrontal.")
        return (await self.outcomes.tell(record_id, [draft]))[0]

    def form(self, question: Any) -> Form:
        """Return the question that a Python type asks. Raises InvalidRequest."""
        if isinstance(question, Ask):
            return question.form()
        found = self._forms.get(question)
        if found is None:
            if len(self._forms) >= MAX_FORMS:
                self._forms.clear()
            found = self._forms[question] = form_of(question)
        return found

    def prepared(self, item: DecisionItem, settings: Settings, **options: Any) -> PreparedItem | PrefrontalError:
        """Return one of many as it is asked, or why it cannot be."""
        try:
            request, form, types = self.request(
                item.question, item.state, settings, context=item.context, tier=item.tier, **options
            )
        except InvalidRequest as error:
            return error
        return PreparedItem(request=request, form=form, types=types)

    def request(
        self,
        question: Any,
        state: Any,
        settings: Settings,
        *,
        model: str = "auto",
        context: DecisionContext = NO_CONTEXT,
        deadline_s: float | None = None,
        cache: bool = True,
        session: str | None = None,
        run: str | None = None,
        tier: Tier | None = None,
        most_tier: Tier = 3,
    ) -> tuple[DecisionRequest, Form | None, Types]:
        """Return the request that asks one question, the way back to its Python type, and the types it belongs to."""
        types = self.types(settings)
        form: Form | None = None
        if isinstance(question, str):
            asked = types.lookup(question)
        elif isinstance(question, Question):
            asked = question
        else:
            form = self.form(question)
            asked = form.question
            if form.rule is not None:
                types = types.with_rule(asked, form.rule)
        if deadline_s is not None and not deadline_s > 0:
            raise InvalidRequest("deadline_s must be above 0.", param="deadline_s")
        shown, kind = _state(state)
        check_state(shown, "state", settings.max_state_bytes)
        request = DecisionRequest(
            model=model,
            state=shown,
            state_kind=kind,
            questions=(asked,),
            context=context,
            deadline_s=deadline_s,
            cache=cache,
            session=session,
            run=run,
            tier=tier,
            most_tier=most_tier,
        )
        return request, form, types


def decision_of(answer: DecisionAnswer, form: Form | None, record: RequestRecord) -> Decision[Any]:
    """Return an answer as a Python caller sees it."""
    if form is None:
        members: tuple[Any, ...] = answer.values
        value: Any = answer.chosen
    else:
        members, value = form.members, form.value(answer.chosen)
    by_value = dict(zip(members, answer.probabilities, strict=True))
    return Decision(value=value, probabilities=by_value, answer=answer, record=record)


def _state(state: Any) -> tuple[Any, StateKind]:
    """Return a state as plain data. Raises InvalidRequest when it is not JSON."""
    if isinstance(state, str):
        return state, "text"
    if isinstance(state, ChatRequest):
        state = state.messages
    try:
        plain = msgspec.to_builtins(state)
        msgspec.json.encode(plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"A state is a text or JSON: {error}.", param="state") from None
    chat = isinstance(plain, list) and bool(plain) and all(isinstance(turn, dict) and "content" in turn for turn in plain)
    return plain, "messages" if chat else "json"


def _type_of(question: Any) -> Any:
    if isinstance(question, Ask):
        return getattr(question, "__orig_class__").__args__[0]  # noqa: B009 - typing sets it, and no checker knows it
    return question
