"""Cases as lines of the files that trainers read. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import Message
from prefrontal.contracts.decision import Question
from prefrontal.decisions.prepared import Prepared
from prefrontal.decisions.training.cases import Case
from prefrontal.decisions.wording import Form

RowFormat = Literal["chat", "decision", "preference"]
Prepare = Callable[[Question], Prepared]
"""Makes a question ready as models are asked it, so that what is trained on is what will be asked."""


def row_of(case: Case, form: RowFormat, prepare: Prepare, answer_form: Form = "code") -> dict[str, Any] | None:
    """Return a case as one line; None where it has none: a preference needs a wrong answer beside the right one."""
    if form == "decision":
        return decision_row(case)
    prepared = prepare(case.question)
    prompt = [_turn(message) for message in prepared.messages(answer_form, case.state)]
    right = {"role": "assistant", "content": prepared.answer(answer_form, case.option)}
    if form == "chat":
        return {"messages": [*prompt, right], "meta": _meta(case, prepared)}
    if case.answered is None or case.answered == case.option:
        return None
    wrong = {"role": "assistant", "content": prepared.answer(answer_form, case.answered)}
    return {"prompt": prompt, "chosen": [right], "rejected": [wrong], "meta": _meta(case, prepared)}


def decision_row(case: Case) -> dict[str, Any]:
    """Return a case with all that is known of it but whose it is."""
    question = case.question
    fields: dict[str, Any] = {
        "kind": question.kind,
        "type": question.type,
        "instructions": question.instructions,
        "options": [_option(one.value, one.description) for one in question.options],
        "state": case.state,
        "answer": question.values[case.option],
        "origin": case.origin,
        "teacher": case.teacher,
        "model": case.model,
        "answered": None if case.answered is None else question.values[case.answered],
        "source": case.source,
        "probabilities": list(case.probabilities) or None,
        "reward": case.reward,
        "role": case.context.role,
        "signals": case.context.signals or None,
        "reason": case.reason,
        "terms": list(case.terms) or None,
        "group": group_of(case),
        "at_s": case.at_s or None,
    }
    if case.router is not None:
        fields = {"query": case.state, **case.router, **fields}
        del fields["state"]
    return {name: value for name, value in fields.items() if value is not None}


def group_of(case: Case) -> str:
    """Return whose a case is, without saying who."""
    return hashlib.blake2b(case.group.encode(), digest_size=4, person=b"training").hexdigest() if case.group else ""


def _meta(case: Case, prepared: Prepared) -> dict[str, Any]:
    return {
        "type": case.question.type,
        "kind": case.question.kind,
        "origin": case.origin,
        "teacher": case.teacher,
        "prompt_version": prepared.version,
        "group": group_of(case),
    }


def _turn(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": "\n".join([one.text for one in message.blocks if isinstance(one, Text)])}


def _option(value: str | bool, description: str | None) -> dict[str, Any]:
    return {"value": value} if description is None else {"value": value, "description": description}


def line_of(row: dict[str, Any]) -> bytes:
    """Return a row as a line of JSON."""
    return msgspec.json.encode(row) + b"\n"
