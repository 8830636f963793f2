"""The form an answer was asked for: JSON, and JSON that fits a schema."""

from __future__ import annotations

from prefrontal.chat.blocks import ToolCall
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import Choice
from prefrontal.contracts.verdict import PASSED, Finding, Verdict, verdict_of
from prefrontal.validate.compiled import Schemas
from prefrontal.validate.extract import Extracted, extract

REFUSED = frozenset({"refusal", "content_filter"})
"""Ends of an answer that are no attempt at one."""

UNFORMED = frozenset({"not_json", "fenced", "prose_around"})
"""Findings that show that nothing held the model to JSON."""


def asks_for_form(request: ChatRequest) -> bool:
    """Return whether the request asks for JSON."""
    return request.response_format is not None and request.response_format.kind != "text"


def check_form(request: ChatRequest, choice: Choice, schemas: Schemas) -> Verdict:
    """Return whether the answer is the JSON that `response_format` asks for.

    A refusal is not judged, nor is a turn that calls the caller's tools. Fences and prose around the one JSON value, where that
    is their only fault, are taken away: `Verdict.mended` is the value's own text. Raises InvalidRequest for a schema that cannot
    be used.
    """
    wanted = request.response_format
    if wanted is None or wanted.kind == "text":
        return PASSED
    if choice.refusal is not None or choice.finish_reason in REFUSED:
        return Verdict(passed=True, findings=(_note("refused", "The model declined to answer."),))
    text = choice.text
    if not text.strip() and any(isinstance(block, ToolCall) for block in choice.blocks):
        return PASSED
    found = extract(text)
    if found is None:
        return _no_json(choice, text)
    problems: tuple[Finding, ...] = ()
    if wanted.kind == "json_object":
        if not isinstance(found.value, dict):
            problems = (_error("not_an_object", "The answer is JSON, but no object."),)
    elif wanted.schema is not None:
        problems = schemas.get(wanted.schema).findings(found.value)
    around = _around(found, fatal=bool(problems))
    return verdict_of((*around, *problems), mended=found.text if around and not problems else None)


def _no_json(choice: Choice, text: str) -> Verdict:
    if choice.finish_reason == "length":
        told = "The answer was cut at its output cap before the JSON was complete."
        return verdict_of((Finding(code="truncated", severity="error", message=told),))
    if not text.strip():
        return verdict_of((_error("empty", "The answer is empty."),))
    return verdict_of((_error("not_json", "The answer is not JSON."),))


def _around(found: Extracted, *, fatal: bool) -> tuple[Finding, ...]:
    """Return what stood around the JSON: told as an error beside others, as a warning when taking it away mends the answer."""
    if found.around == "nothing":
        return ()
    code, what = ("fenced", "a code fence") if found.around == "fence" else ("prose_around", "other words")
    message = f"The JSON stands in {what}."
    return (Finding(code=code, severity="error" if fatal else "warning", message=message, repairable=True),)


def _error(code: str, message: str) -> Finding:
    return Finding(code=code, severity="error", message=message, repairable=True)


def _note(code: str, message: str) -> Finding:
    return Finding(code=code, severity="info", message=message)
