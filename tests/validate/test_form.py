"""Answers that were asked for as JSON: what passes, what is mended, what is wrong and where."""

from __future__ import annotations

from typing import Any

import pytest

from prefrontal.chat.blocks import Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.request import ChatRequest, ResponseFormat
from prefrontal.chat.response import ChatResponse, Choice
from prefrontal.contracts.verdict import Verdict
from prefrontal.validate.compiled import Schemas
from prefrontal.validate.extract import extract
from prefrontal.validate.judge import Judge
from prefrontal.validate.schema import check_form

SCHEMA = {"type": "object", "properties": {"k": {"enum": ["x", "y"]}}, "required": ["k"], "additionalProperties": False}


def asked(schema: dict[str, Any] | None = None, kind: Any = "json_schema") -> ChatRequest:
    """Return a request for JSON."""
    wanted = ResponseFormat(kind=kind, schema=SCHEMA if schema is None and kind == "json_schema" else schema)
    return ChatRequest(model="m", messages=(), response_format=wanted)


def judged(text: str, request: ChatRequest | None = None, **fields: Any) -> Verdict:
    """Return the verdict on a text."""
    return check_form(request or asked(), Choice(blocks=(Text(text=text),), **fields), Schemas())


def codes(verdict: Verdict) -> list[str]:
    """Return the codes of what was found."""
    return [finding.code for finding in verdict.findings]


@pytest.mark.parametrize("text", ['{"k":"x"}', ' {"k": "y"}\n'])
def test_bare_json_that_fits_passes_untouched(text: str) -> None:
    """White space around it is no fault."""
    verdict = judged(text)
    assert (verdict.passed, verdict.findings, verdict.mended) == (True, (), None)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('```json\n{"k":"x"}\n```', "fenced"),
        ('```\n{"k":"x"}\n```', "fenced"),
        ('Here you are:\n```json\n{"k":"x"}\n```\nAnything else?', "prose_around"),
        ('Sure! {"k":"x"}', "prose_around"),
        ('{"k":"x"} is the answer.', "prose_around"),
    ],
)
def test_words_and_fences_around_the_only_json_are_taken_away(text: str, code: str) -> None:
    """What is left is the value's own text; the record says that something was there."""
    verdict = judged(text)
    assert (verdict.passed, verdict.mended, codes(verdict)) == (True, '{"k":"x"}', [code])
    assert verdict.findings[0].severity == "warning"


@pytest.mark.parametrize(
    "text",
    ['{"k":"x"} or {"k":"y"}', '```json\n{"k":"x"}\n```\n```json\n{"k":"y"}\n```', 'Sure: {"k":"x"', "x", 'See [1]: {"k":"x"}'],
)
def test_nothing_is_chosen_closed_or_completed(text: str) -> None:
    """Where it is not clear which JSON is meant, or it is not whole, the answer does not pass and may be repaired."""
    verdict = judged(text)
    assert (verdict.passed, verdict.mended, verdict.repairable) == (False, None, True)


def test_each_fault_has_its_place_and_never_the_value() -> None:
    """Findings name rule and JSON pointer; what the model wrote is not in them."""
    schema = {"type": "object", "properties": {"a/b": {"type": "array", "items": {"type": "integer"}}}, "required": ["q"]}
    verdict = judged('{"a/b":[1,"secret"]}', asked(schema))
    assert sorted((f.code, f.where) for f in verdict.findings) == [("schema", ""), ("schema", "/a~1b/1")]
    assert "secret" not in str(verdict.findings)
    assert verdict.repairable
    assert "hidden" not in str(judged('{"k":"x","hidden":1}').findings)


def test_fenced_json_that_does_not_fit_says_both() -> None:
    """A fence is an error beside another one, so that the model is told to leave it out."""
    verdict = judged('```json\n{"k":"z"}\n```')
    assert codes(verdict) == ["fenced", "schema"]
    assert not verdict.passed


def test_a_cut_answer_is_not_worth_asking_again() -> None:
    """The same model would be cut again; an empty one may do better."""
    cut = judged('{"k":', finish_reason="length")
    assert (codes(cut), cut.repairable) == (["truncated"], False)
    empty = judged("")
    assert (codes(empty), empty.repairable) == (["empty"], True)


def test_a_refusal_is_an_answer() -> None:
    """Neither a refusal nor a filtered answer is held to the form; nor is a turn that calls a tool."""
    refused = check_form(asked(), Choice(blocks=(Refusal(text="No."),)), Schemas())
    assert (refused.passed, codes(refused)) == (True, ["refused"])
    assert judged("No.", finish_reason="content_filter").passed
    assert check_form(asked(), Choice(blocks=(ToolCall(id="1", name="t", arguments="{}"),)), Schemas()).passed


def test_json_mode_wants_an_object() -> None:
    """Any object passes, with or without a fence; a list or prose does not."""
    request = asked(kind="json_object")
    assert judged('{"any":1}', request).passed
    assert judged('```json\n{"any":1}\n```', request).mended == '{"any":1}'
    assert codes(judged("[1]", request)) == ["not_an_object"]
    assert codes(judged("one", request)) == ["not_json"]


def test_a_schema_may_ask_for_any_value() -> None:
    """Numbers, lists and null are values too; loose words with a number in them are not."""
    assert judged("3", asked({"type": "integer"})).passed
    assert not judged("It is 3", asked({"type": "integer"})).passed
    assert judged("null", asked({"type": "null"})).passed


def test_mending_keeps_the_thinking_and_drops_what_no_longer_fits() -> None:
    """The other blocks stay where they are; token log-probabilities of the old text go."""
    choice = Choice(blocks=(Reasoning(text="hm"), Text(text="a "), Text(text='{"k":"x"}')), logprobs={"content": []})
    found = Judge().judge(asked(), ChatResponse(choices=(choice,)), ())
    assert found.mended
    assert found.response.choices[0].blocks == (Reasoning(text="hm"), Text(text='{"k":"x"}'))
    assert found.response.choices[0].logprobs is None


def test_of_several_choices_each_must_hold() -> None:
    """The place says which does not; asking again would throw away the others."""
    choices = (Choice(index=0, blocks=(Text(text='{"k":"x"}'),)), Choice(index=1, blocks=(Text(text="{}"),)))
    found = Judge().judge(asked(), ChatResponse(choices=choices), ())
    assert (found.verdict.passed, found.verdict.repairable) == (False, False)
    assert found.verdict.findings[0].where == "/choices/1"


@pytest.mark.parametrize("text", ["[" * 5000, '{"a":' * 3000, "```json\n" * 400, "\ud800", "NaN", '{"a":1e999}'])
def test_odd_texts_never_raise(text: str) -> None:
    """Deep, broken and unpaired: each is judged."""
    extract(text)
    assert judged(text).passed is False
