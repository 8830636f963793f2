"""The dialects A, B and C towards upstreams: questions → a body, and the body that comes back → readings. Pure.

A body holds all questions; the answers are returned in the questions' order, None where the upstream left one out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from prefrontal.chat.usage import Usage
from prefrontal.contracts.decision import DecisionDialect, DecisionRequest, Question
from prefrontal.decisions.distribution import uniform
from prefrontal.decisions.reading import Reading, distribution_of
from prefrontal.decisions.state import state_json, state_text
from prefrontal.decisions.wire.common import url_of
from prefrontal.errors import CapabilityMissing, ProviderMisbehaved
from prefrontal.providers.common import count_of

Readings = list[Reading | None]

BATCH = 64
"""Most questions sent in one body (specified: transformers takes 64)."""


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """One dialect: where it lives below the base URL, and its two translations."""

    path: str
    render: Callable[[DecisionRequest, Sequence[Question], str], dict[str, Any]]
    parse: Callable[[Any, Sequence[Question]], tuple[Readings, Usage | None]]


# -- A: System One -----------------------------------------------------------------------------------------------------


def render_a(request: DecisionRequest, questions: Sequence[Question], model: str) -> dict[str, Any]:
    """Return the body of ``/systemone``. Raises CapabilityMissing for a choice that holds both true and "true"."""
    body = {
        "model": model,
        "state": state_json(request),
        "questions": {question.id: _question_a(question) for question in questions},
    }
    if request.media:
        body["images"] = [url_of(one.image) for one in request.media]
    return body


def _question_a(question: Question) -> dict[str, Any]:
    told: dict[str, Any] = {"instructions": question.instructions}
    if question.kind == "yes_no":
        told["type"] = "noul"
        if any(option.description for option in question.options):
            told["criteria"] = {"true": question.options[0].description, "false": question.options[1].description}
    elif question.kind == "score":
        told["type"] = "score"
        told["criteria"] = [_words(str(option.value), option.description) for option in question.options]
    else:
        told["type"] = "choice"
        told["criteria"] = {_key(option.value): option.description for option in question.options}
        if len(told["criteria"]) != len(question.options):
            raise CapabilityMissing("This dialect cannot tell the option true from the option 'true'.", param="questions")
    return told


def parse_a(raw: Any, questions: Sequence[Question]) -> tuple[Readings, Usage | None]:
    """Return the readings. Raises ProviderMisbehaved."""
    answers = _object(_object(raw, "the answer").get("answers"), "the answers")
    found: Readings = []
    for question in questions:
        answer = answers.get(question.id)
        found.append(None if answer is None else _answer_a(_object(answer, question.id), question))
    usage = raw.get("usage")
    return found, _usage(usage, "input_tokens", "output_tokens")


def _answer_a(answer: Mapping[str, Any], question: Question) -> Reading:
    if question.kind == "yes_no":
        yes = _number(answer.get("noul"), question.id)
        return Reading(probabilities=_yes(yes, question.id), source="native", label_mass=_mass(answer, "x_label_mass"))
    told = _object(answer.get("probabilities"), question.id)
    keys = [str(n) for n in range(len(question.options))] if question.kind == "score" else [_key(v) for v in question.values]
    return Reading(
        probabilities=distribution_of([_number(told.get(key), question.id) for key in keys], question.id),
        source="native",
        upstream_confidence=_maybe(answer.get("confidence")),
        label_mass=_mass(answer, "x_label_mass"),
    )


# -- B: OpenAI Decisions -----------------------------------------------------------------------------------------------


def render_b(request: DecisionRequest, questions: Sequence[Question], model: str) -> dict[str, Any]:
    """Return the body of ``/decisions`` as OpenAI has it."""
    body: dict[str, Any] = {
        "model": model,
        "input": _input_b(request),
        "questions": [_question_b(question) for question in questions],
    }
    if request.dialect == "openai" and request.extra:
        body.update(request.extra)
    return body


def _input_b(request: DecisionRequest) -> Any:
    if request.dialect == "openai" or (request.state_kind == "text" and not request.media):
        return request.state
    parts: list[dict[str, Any]] = []
    if request.state_kind == "json":
        parts.append({"type": "input_json", "data": request.state})
    else:
        parts.append({"type": "input_text", "text": state_text(request)})
    for one in request.media:
        parts.append({"type": "input_text", "text": one.ref})
        parts.append({"type": "input_image", "image_url": url_of(one.image), "detail": one.image.detail or "auto"})
    return [{"type": "message", "role": "user", "content": parts}]


def _question_b(question: Question) -> dict[str, Any]:
    told: dict[str, Any] = {"instructions": question.instructions, "name": question.id}
    if question.kind == "yes_no":
        yes, no = question.options
        said = [f"{word} means: {one.description}" for word, one in (("True", yes), ("False", no)) if one.description]
        told["instructions"] = "\n".join([text for text in (question.instructions, *said) if text])
        return {**told, "type": "predicate"}
    field, kind, name = ("levels", "score", "label") if question.kind == "score" else ("choices", "choice", "value")
    told[field] = [
        {name: option.value} if option.description is None else {name: option.value, "description": option.description}
        for option in question.options
    ]
    return {**told, "type": kind}


def parse_b(raw: Any, questions: Sequence[Question]) -> tuple[Readings, Usage | None]:
    """Return the readings, refusals among them. Raises ProviderMisbehaved."""
    answers = _object(raw, "the answer").get("answers")
    if not isinstance(answers, list) or len(answers) != len(questions):
        raise ProviderMisbehaved("The upstream did not answer every question.")
    found: Readings = [
        _answer_b(_object(answer, question.id), question) for answer, question in zip(answers, questions, strict=True)
    ]
    return found, _usage(raw.get("usage"), "input_tokens", "output_tokens")


def _answer_b(answer: Mapping[str, Any], question: Question) -> Reading:
    if answer.get("type") == "refusal":
        return Reading(probabilities=uniform(len(question.options)), source="native", refusal=True)
    if question.kind == "yes_no":
        yes = _number(answer.get("probability"), question.id)
        return Reading(probabilities=_yes(yes, question.id), source="native")
    listed = answer.get("probabilities")
    told: dict[tuple[type, Any], Any] = {}
    for item in listed if isinstance(listed, list) else ():
        value = _object(item, question.id).get("value")
        if isinstance(value, str | bool | int):
            told[type(value), value] = item.get("probability")
    wanted = list(range(len(question.options))) if question.kind == "score" else list(question.values)
    weights = [_number(told.get((type(value), value)), question.id) for value in wanted]
    return Reading(
        probabilities=distribution_of(weights, question.id),
        source="native",
        upstream_confidence=_maybe(answer.get("confidence")),
    )


# -- C: SGLang's own ---------------------------------------------------------------------------------------------------


def render_c(request: DecisionRequest, questions: Sequence[Question], model: str) -> dict[str, Any]:
    """Return the body of SGLang's ``/decisions``, which is another than OpenAI's."""
    body: dict[str, Any] = {
        "model": model,
        "input": state_text(request),
        "questions": [_question_c(question) for question in questions],
    }
    if request.media:
        body["images"] = [{"url": url_of(one.image)} for one in request.media]
    return body


def _question_c(question: Question) -> dict[str, Any]:
    told: dict[str, Any] = {"id": question.id, "type": question.kind, "question": question.instructions}
    if question.kind == "choice":
        told["options"] = [{"name": _key(option.value), "description": option.description or ""} for option in question.options]
    elif question.kind == "score":
        told["levels"] = [_words(str(option.value), option.description) for option in question.options]
    elif question.options[0].description or question.options[1].description:
        told["yes"], told["no"] = (option.description or "" for option in question.options)
    return told


def parse_c(raw: Any, questions: Sequence[Question]) -> tuple[Readings, Usage | None]:
    """Return the readings with their label mass. Raises ProviderMisbehaved."""
    answers = _object(_object(raw, "the answer").get("answers"), "the answers")
    found: Readings = []
    for question in questions:
        answer = answers.get(question.id)
        found.append(None if answer is None else _answer_c(_object(answer, question.id), question))
    return found, _usage(raw.get("usage"), "prompt_tokens", "completion_tokens")


def _answer_c(answer: Mapping[str, Any], question: Question) -> Reading:
    told = _object(answer.get("probabilities"), question.id)
    if question.kind == "yes_no":
        keys = ["yes", "no"]
    elif question.kind == "score":
        keys = [str(n) for n in range(len(question.options))]
    else:
        keys = [_key(value) for value in question.values]
    weights = [_number(told.get(key), question.id) for key in keys]
    return Reading(probabilities=distribution_of(weights, question.id), source="native", label_mass=_mass(answer, "label_mass"))


# -- all ---------------------------------------------------------------------------------------------------------------


def _words(label: str, description: str | None) -> str:
    return label if description is None else f"{label}: {description}"


def _key(value: str | bool) -> str:
    return value if isinstance(value, str) else "true" if value else "false"


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProviderMisbehaved(f"The upstream's answer has no object where {what} should be.")
    return value


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ProviderMisbehaved(f"The upstream's answer gives no probability for an option of {what}.")
    return float(value)


def _yes(value: float, what: str) -> tuple[float, ...]:
    if not 0.0 <= value <= 1.0:
        raise ProviderMisbehaved(f"The upstream's probability of {what} is {value}.")
    return (value, 1.0 - value)


def _maybe(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None


def _mass(answer: Mapping[str, Any], field: str) -> float | None:
    value = _maybe(answer.get(field))
    return None if value is None or not 0.0 <= value <= 1.0 + 1e-6 else min(1.0, value)


def _usage(usage: Any, input_field: str, output_field: str) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    details = usage.get("input_tokens_details")
    details = details if isinstance(details, dict) else {}
    read, write = count_of(details.get("cached_tokens")), count_of(details.get("cache_write_tokens"))
    return Usage(
        uncached_input_tokens=max(0, count_of(usage.get(input_field)) - read - write),
        cache_read_tokens=read,
        cache_write_tokens=write,
        output_tokens=count_of(usage.get(output_field)),
        source="reported",
    )


UPSTREAMS: dict[DecisionDialect, Upstream] = {
    "systemone": Upstream(path="/systemone", render=render_a, parse=parse_a),
    "openai": Upstream(path="/decisions", render=render_b, parse=parse_b),
    "sglang": Upstream(path="/decisions", render=render_c, parse=parse_c),
}
