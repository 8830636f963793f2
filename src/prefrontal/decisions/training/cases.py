"""One solved case: a question about a state with its right answer, from a record and its outcome. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from prefrontal.contracts.decision import NO_CONTEXT, DecisionAnswer, DecisionContext, Option, Question
from prefrontal.contracts.outcome import Outcome
from prefrontal.contracts.plan import Candidate
from prefrontal.contracts.record import RequestRecord
from prefrontal.decisions.prepared import CODES

LabelOrigin = Literal["human", "observed", "model", "synthetic"]
TRUTHS: frozenset[LabelOrigin] = frozenset({"human", "observed"})
"""Labels that say what is right; the others say what a model thought, and are only ever trained on."""

TRUST: tuple[LabelOrigin, ...] = ("human", "observed", "model", "synthetic")
"""Whose label stands where several were given for the same case, the first of them that is there."""

NO_CONTENT = "content was not kept"
NO_OPTION = "the right answer is not known"
IMAGES = "the state has images"
TOO_MANY = "more options than codes"
CUT = "the state was cut in the record"

ROUTE_INSTRUCTIONS = "Which model should answer this request?"
"""The question that the choice of a model is told as."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A question about a state, and the index of its right option.

    group: whose it is (agent, else session, else key); cases of one group never lie on both sides of a split. origin: who says
    what is right; teacher: the model that does (for ``model`` and ``synthetic``). answered: the option that `model` chose then.
    at_s: Unix time; 0 of synthetic ones. terms: words that a good reason has. router: of the choice of a model, what was known.
    """

    question: Question
    state: str
    option: int
    origin: LabelOrigin
    record_id: str = ""
    at_s: float = 0.0
    group: str = ""
    teacher: str | None = None
    model: str | None = None
    answered: int | None = None
    source: str | None = None
    probabilities: tuple[float, ...] = ()
    reward: float | None = None
    context: DecisionContext = NO_CONTEXT
    reason: str | None = None
    terms: tuple[str, ...] = ()
    router: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """What is asked of what, as a digest: equal for cases that differ in spaces only."""
        question = self.question
        asked = (question.kind, question.instructions, question.options, re.sub(r"\s+", " ", self.state).strip())
        return hashlib.blake2b(msgspec.json.encode(asked), digest_size=12).hexdigest()


class Skipped(msgspec.Struct, frozen=True):
    """Why a record gives no case."""

    why: str


def decision_case(record: RequestRecord, place: int, outcome: Outcome | None) -> Case | Skipped:
    """Return the case of one answer of a decision record. outcome None: the answer itself is the label, of origin ``model``."""
    answer = record.decisions[place]
    option = answer.values.index(answer.chosen) if outcome is None else outcome.option
    if option is None:
        return Skipped(NO_OPTION)
    content = record.content
    asked = None if content is None else content.get("decision")
    if content is None or not isinstance(asked, dict):
        return Skipped(NO_CONTENT)
    state = _state_of(content)
    if isinstance(state, Skipped):
        return state
    try:
        question = msgspec.convert(asked["questions"], tuple[Question, ...])[answer.index]
        context = msgspec.convert(asked.get("context", {}), DecisionContext)
    except (msgspec.ValidationError, KeyError, IndexError, TypeError):
        return Skipped(CUT)
    if len(question.options) > len(CODES):
        return Skipped(TOO_MANY)
    if question.media:
        return Skipped(IMAGES)
    by_model = outcome is None or outcome.origin == "model"
    return Case(
        question=msgspec.structs.replace(question, index=0, id="0"),
        state=state,
        option=option,
        origin="model" if outcome is None else outcome.origin,
        record_id=record.id,
        at_s=record.started_s,
        group=context.agent or record.session or record.key_id or "",
        teacher=answer.model if outcome is None else ("told" if by_model else None),
        model=None if outcome is None else answer.model,
        answered=None if outcome is None else answer.values.index(answer.chosen),
        source=answer.source,
        probabilities=answer.probabilities,
        reward=None if outcome is None else outcome.reward,
        context=context,
    )


def router_case(record: RequestRecord, outcome: Outcome) -> Case | Skipped:
    """Return the choice of a model as a case: the query is the state, the models that could have answered are the options."""
    if record.content is None:
        return Skipped(NO_CONTENT)
    state = _state_of(record.content, last=True)
    if isinstance(state, Skipped):
        return state
    plan, chosen = record.plan, record.model
    names = [one.model for one in plan.candidates if one.eligible] if plan is not None else []
    names = sorted(dict.fromkeys([*names, *[name for name in (chosen, outcome.model) if name is not None]]))
    good = outcome.reward is not None and outcome.reward > 0
    right = outcome.model or (chosen if good else None)
    if right is None or len(names) < 2 or len(names) > len(CODES):
        return Skipped(NO_OPTION)
    question = Question(
        kind="choice", instructions=ROUTE_INSTRUCTIONS, options=tuple([Option(value=name) for name in names]), name="route"
    )
    return Case(
        question=question,
        state=state,
        option=names.index(right),
        origin=outcome.origin,
        record_id=record.id,
        at_s=record.started_s,
        group=record.session or record.key_id or "",
        teacher="told" if outcome.origin == "model" else None,
        model=chosen,
        answered=None if chosen is None else names.index(chosen),
        source=plan.policy if plan is not None else None,
        reward=outcome.reward,
        router=_router_fields(record, outcome, names),
    )


def _router_fields(record: RequestRecord, outcome: Outcome, names: list[str]) -> dict[str, Any]:
    assessment, plan = record.assessment, record.plan
    scores = {one.model: one for one in plan.candidates} if plan is not None else {}
    others = [name for name in names if name != record.model]
    return {
        "features": None if assessment is None else msgspec.to_builtins(assessment),
        "complexity": None if assessment is None else assessment.complexity,
        "channel": record.channel,
        "effort": record.effort_score,
        "tools": [record.tool] if record.tool else [],
        "tools_needed": assessment is not None and assessment.needs.tools,
        "chosen": record.model,
        "counterfactual": [_considered(name, scores.get(name)) for name in others],
        "outcome": {"reward": outcome.reward, "better_model": outcome.model, "origin": outcome.origin},
        "cost_usd": record.cost_usd,
        "duration_ms": record.duration_ms,
    }


def _considered(name: str, found: Candidate | None) -> dict[str, Any]:
    return {"model": name, "score": None if found is None else found.score, "lost": None if found is None else found.lost}


def _state_of(content: dict[str, Any], *, last: bool = False) -> str | Skipped:
    """Return the text of the messages of a record's content, or of the last of its user."""
    messages = content.get("messages")
    if not isinstance(messages, list):  # a longer one is kept as a text that was cut
        return Skipped(CUT if messages else NO_CONTENT)
    turns = [turn for turn in messages if isinstance(turn, dict) and (not last or turn.get("role") == "user")]
    blocks = [block for turn in (turns[-1:] if last else turns) for block in turn.get("blocks", ()) if isinstance(block, dict)]
    if any("text" not in block for block in blocks):
        return Skipped(IMAGES)
    text = "\n".join([str(block["text"]) for block in blocks])
    return text if text.strip() else Skipped(NO_CONTENT)


def taught_by(answer: DecisionAnswer, teachers: Iterable[str], least: float) -> bool:
    """Return whether an answer may teach: of a named model or of ``tier:N`` and above, and at least so sure."""
    if answer.source == "rule" or answer.model is None or answer.refusal or answer.degraded or answer.confidence < least:
        return False
    for teacher in teachers:
        tier = teacher.removeprefix("tier:")
        if (teacher == answer.model) or (tier != teacher and tier.isdigit() and answer.tier >= int(tier)):
            return True
    return False


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """Cases without repetitions. repeated: how many were left out; disputed: keys whose equally trusted labels differ."""

    cases: tuple[Case, ...]
    repeated: int
    disputed: int


def merged(cases: Iterable[Case]) -> Merged:
    """Return one case for each question about a state: the most trusted label, of equally trusted ones the newest.

    Of two choices of a model for the same query the one with the higher reward is right, and the other was the wrong answer.
    """
    by_key: dict[str, list[Case]] = {}
    for case in cases:
        by_key.setdefault(case.key, []).append(case)
    found: list[Case] = []
    disputed = 0
    for several in by_key.values():
        several.sort(key=lambda case: (TRUST.index(case.origin), -case.at_s, case.record_id))
        first = _rewarded(several) or several[0]
        equals = [case for case in several if case.origin == first.origin]
        disputed += len({case.option for case in equals}) > 1 and first.router is None
        found.append(first)
    found.sort(key=lambda case: (case.at_s, case.record_id, case.key))
    return Merged(cases=tuple(found), repeated=sum([len(several) - 1 for several in by_key.values()]), disputed=disputed)


def _rewarded(several: list[Case]) -> Case | None:
    """Return the better of two choices of a model, told as the mistake of the worse; None where rewards do not tell."""
    known = [case for case in several if case.router is not None and case.reward is not None and case.answered is not None]
    if len(known) < 2:
        return None
    known.sort(key=lambda case: (case.reward or 0.0, case.at_s))
    worst, best = known[0], known[-1]
    if worst.reward == best.reward or worst.answered == best.answered or best.answered is None:
        return None
    return msgspec.structs.replace(worst, option=best.answered, at_s=max(worst.at_s, best.at_s))
