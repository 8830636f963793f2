"""How well a model decides, on cases with known answers: what was asked, and the figures of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from prefrontal.contracts.decision import NO_CONTEXT, YES_NO, DecisionContext, Kind, Option, Question
from prefrontal.contracts.outcome import Measures
from prefrontal.decisions.calibration import Labelled, measure
from prefrontal.decisions.training.cases import ROUTE_INSTRUCTIONS, Case
from prefrontal.errors import InvalidRequest


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One case as one model answered it.

    answered None: a rule had to. expectation: of a score. form: whether its bare answer was in the form asked for (None: not
    looked at). terms_found: of the case's terms those in its reasons (None: not asked).
    """

    case: Case
    answered: int | None
    probabilities: tuple[float, ...] = ()
    expectation: float | None = None
    form: bool | None = None
    terms_found: int | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one model. A share is None where no case tells it.

    action_accuracy: share of cases whose chosen option is right; a rule's answer counts as wrong. priority_reasoning: of two
    cases of the same score with different right levels, how often the higher has the higher expectation. format_compliance:
    share of bare answers that the validator takes, without mending. terminology: share of the expected terms in the reasons.
    answered: share answered by the model and not by a rule. calibration: of its distributions.
    """

    model: str
    cases: int
    answered: float
    action_accuracy: float
    priority_reasoning: float | None = None
    format_compliance: float | None = None
    terminology: float | None = None
    calibration: Measures | None = None


METRICS = (
    ("action accuracy", "action_accuracy"),
    ("priority reasoning", "priority_reasoning"),
    ("format compliance", "format_compliance"),
    ("terminology", "terminology"),
    ("answered by the model", "answered"),
)
"""The shares of a report, as they are called."""


def report_of(model: str, trials: Sequence[Trial]) -> Report:
    """Return the figures of one model. Raises InvalidRequest: there is no trial."""
    if not trials:
        raise InvalidRequest("There are no cases to judge by.", param="cases")
    by_model = [one for one in trials if one.answered is not None]
    labelled = [Labelled(probabilities=one.probabilities, option=one.case.option) for one in by_model if one.probabilities]
    formed = [one.form for one in trials if one.form is not None]
    expected = sum([len(one.case.terms) for one in trials if one.terms_found is not None])
    found = sum([one.terms_found or 0 for one in trials])
    return Report(
        model=model,
        cases=len(trials),
        answered=len(by_model) / len(trials),
        action_accuracy=sum([one.answered == one.case.option for one in trials]) / len(trials),
        priority_reasoning=concordance(trials),
        format_compliance=sum(formed) / len(formed) if formed else None,
        terminology=found / expected if expected else None,
        calibration=measure(labelled) if labelled else None,
    )


def concordance(trials: Sequence[Trial]) -> float | None:
    """Return how often two cases of one score are ordered as their right levels are; ties count half. None: there is no pair."""
    by_question: dict[tuple[Any, ...], list[Trial]] = {}
    for one in trials:
        question = one.case.question
        if question.kind == "score" and one.expectation is not None:
            by_question.setdefault((question.instructions, question.options), []).append(one)
    right, pairs = 0.0, 0
    for members in by_question.values():
        for place, first in enumerate(members):
            for second in members[place + 1 :]:
                if first.case.option != second.case.option:
                    low, high = sorted((first, second), key=lambda one: one.case.option)
                    assert low.expectation is not None
                    assert high.expectation is not None
                    pairs += 1
                    right += 1.0 if high.expectation > low.expectation else 0.5 if high.expectation == low.expectation else 0.0
    return right / pairs if pairs else None


def terms_in(text: str, terms: Sequence[str]) -> int:
    """Return how many of the terms stand in a text as words of their own, whatever their case."""
    return sum([re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text, re.IGNORECASE) is not None for term in terms])


def case_of(row: Mapping[str, Any]) -> Case:
    """Return a line of an export in decision form as a case. Raises InvalidRequest."""
    try:
        kind: Kind = msgspec.convert(row.get("kind", "choice"), Kind)
        options = tuple([msgspec.convert(one, Option) for one in row.get("options", ())])
        if kind == "yes_no" and not options:
            options = YES_NO
        instructions = str(row.get("instructions", ROUTE_INSTRUCTIONS))
        question = Question(kind=kind, instructions=instructions, options=options, type=row.get("type"), name=row.get("type"))
        state, answer = row.get("state", row.get("query")), row["answer"]
        option = [(type(value), value) for value in question.values].index((type(answer), answer))
        context = DecisionContext(role=row.get("role"), signals=row.get("signals") or {}) if "role" in row else NO_CONTEXT
        terms = tuple([str(term) for term in row.get("terms") or ()])
    except (msgspec.ValidationError, KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"That is no case in decision form: {error}.", hint="`--format decision` writes them.") from None
    if state is None or len(options) < 2:
        raise InvalidRequest("A case has a state and at least two options.", hint="`--format decision` writes them.")
    return Case(
        question=question,
        state=state if isinstance(state, str) else msgspec.json.encode(state).decode(),
        option=option,
        origin="observed",
        context=context,
        terms=terms,
    )


def read_cases(data: bytes) -> list[Case]:
    """Return the cases of a file of lines. Raises InvalidRequest naming the line."""
    found = []
    for number, text in enumerate(data.splitlines(), 1):
        if not text.strip():
            continue
        try:
            row = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"Line {number} is no JSON object: {error}.", param=f"line {number}") from None
        try:
            found.append(case_of(row))
        except InvalidRequest as error:
            raise InvalidRequest(f"Line {number}: {error.message}", param=f"line {number}", hint=error.hint) from None
    return found


def table(reports: Sequence[Report]) -> list[tuple[str, ...]]:
    """Return the figures by metric, a column a report; of two reports a last one with the difference."""
    rows = [(name, *[_share(getattr(one, field)) for one in reports]) for name, field in METRICS]
    calibrations = [one.calibration for one in reports]
    for name, field in (("ECE", "ece"), ("NLL", "nll"), ("Brier", "brier")):
        rows.append((name, *["–" if one is None else f"{getattr(one, field):.3f}" for one in calibrations]))
    wrong = ["–" if one is None else f"{one.sure_wrong} of {one.sure}" for one in calibrations]
    rows.append(("wrong at 0.9 and above", *wrong))
    if len(reports) != 2:
        return rows
    shown = []
    for row, (_, field) in zip(rows, METRICS, strict=False):
        before, after = getattr(reports[0], field), getattr(reports[1], field)
        shown.append((*row, "–" if before is None or after is None else f"{after - before:+.1%}"))
    return [*shown, *[(*row, "") for row in rows[len(METRICS) :]]]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
