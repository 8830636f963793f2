"""Validators for any answer, and those of other packages: what they see, and what happens when they trip."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from prefrontal.chat.blocks import Refusal, Text, ToolCall
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, Tool
from prefrontal.chat.response import ChatResponse, Choice
from prefrontal.contracts.verdict import Finding, Verdict
from prefrontal.validate.judge import Judge
from prefrontal.validate.plugins import BUILTIN, discover_validators
from prefrontal.validate.repair import MAX_QUOTED, repair_request

TOOL = Tool(name="weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
REQUEST = ChatRequest(model="m", messages=(Message(role="user", blocks=(Text(text="hi"),)),), tools=(TOOL,))


def verdict(name: str, *blocks: Any, request: ChatRequest = REQUEST, judge: Judge | None = None, **fields: Any) -> Verdict:
    """Return what one validator says of an answer with these blocks."""
    answer = ChatResponse(choices=(Choice(blocks=blocks, **fields),))
    return (judge or Judge()).judge(request, answer, (name,)).verdict


def call(name: str = "weather", arguments: str = '{"city":"Oslo"}') -> ToolCall:
    """Return a tool call."""
    return ToolCall(id="c1", name=name, arguments=arguments)


def test_calls_that_fit_their_tools_pass() -> None:
    """A known name with arguments that satisfy the schema."""
    assert verdict("tools", call()).passed
    assert verdict("tools", Text(text="no call")).passed


@pytest.mark.parametrize(
    ("block", "code", "where"),
    [
        (call("wether"), "unknown_tool", "/tool_calls/0"),
        (call(arguments="{city"), "bad_arguments", "/tool_calls/0/arguments"),
        (call(arguments="[]"), "bad_arguments", "/tool_calls/0/arguments"),
        (call(arguments='{"city":1}'), "bad_arguments", "/tool_calls/0/arguments/city"),
        (call(arguments=""), "bad_arguments", "/tool_calls/0/arguments"),
    ],
)
def test_a_call_that_does_not_fit_says_where(block: ToolCall, code: str, where: str) -> None:
    """Unknown names, arguments that are no JSON object, and those that the schema refuses; each may be repaired."""
    found = verdict("tools", block)
    assert [(f.code, f.where) for f in found.findings] == [(code, where)]
    assert found.repairable


def test_a_tool_whose_schema_cannot_be_used_judges_nothing() -> None:
    """The caller's tool is the caller's; its calls pass with a warning."""
    odd = Tool(name="odd", parameters={"$ref": "http://127.0.0.1:9/x"})
    request = ChatRequest(model="m", messages=(), tools=(odd,))
    found = verdict("tools", call("odd"), request=request)
    assert (found.passed, [f.code for f in found.findings]) == (True, ["schema_unusable"])


def test_format_wants_a_whole_answer() -> None:
    """Empty and cut answers do not pass; refusals and calls do."""
    assert [f.code for f in verdict("format", Text(text="  ")).findings] == ["empty"]
    cut = verdict("format", Text(text="So"), finish_reason="length")
    assert ([f.code for f in cut.findings], cut.repairable) == (["truncated"], False)
    assert verdict("format", call()).passed
    assert verdict("format", Refusal(text="No.")).passed


def polite(_request: ChatRequest, choice: Choice) -> Verdict:
    """Refuse an answer without a please."""
    if "please" in choice.text:
        return Verdict(passed=True)
    return Verdict(passed=False, repairable=True, findings=(Finding(code="rude", severity="error", repairable=True),))


def tripping(_request: ChatRequest, _choice: Choice) -> Verdict:
    """Raise."""
    raise RuntimeError("oops")


def test_a_validator_of_another_package_is_heard() -> None:
    """Its findings count; what it says depends on the answer."""
    judge = Judge({"polite": polite})
    assert not verdict("polite", Text(text="go"), judge=judge).passed
    assert verdict("polite", Text(text="go, please"), judge=judge).passed


def test_a_validator_that_trips_fails_no_answer() -> None:
    """One that raises, returns something else, or is not there is a warning; the others still judge."""
    judge = Judge({"bad": tripping, "odd": lambda _request, _choice: True, "polite": polite})  # type: ignore[dict-item]
    answer = ChatResponse(choices=(Choice(blocks=(Text(text="go, please"),)),))
    found = judge.judge(REQUEST, answer, ("bad", "odd", "gone", "polite")).verdict
    assert found.passed
    assert [f.code for f in found.findings] == ["validator_failed", "validator_failed", "validator_unknown"]


def test_one_that_refuses_without_a_finding_is_believed() -> None:
    """The finding then bears its name."""
    judge = Judge({"mute": lambda _request, _choice: Verdict(passed=False)})
    assert [f.code for f in verdict("mute", Text(text="x"), judge=judge).findings] == ["mute"]


class _Point:
    """An entry point."""

    def __init__(self, name: str, what: Any) -> None:
        self.name, self.value, self._what = name, f"package:{name}", what

    def load(self) -> Any:
        if isinstance(self._what, Exception):
            raise self._what
        return self._what


def test_entry_points_are_loaded_and_broken_ones_said() -> None:
    """A good one is there by its name; one that does not load, is no function, or takes a name is reported."""
    points: list[Any] = [
        _Point("polite", polite),
        _Point("polite", tripping),
        _Point("broken", ImportError("no")),
        _Point("number", 3),
        *[_Point(name, polite) for name in BUILTIN],
    ]
    found = discover_validators(points)
    assert found.by_name == {"polite": polite}
    assert [one.name for one in found.broken] == ["polite", "broken", "number", *BUILTIN]
    assert discover_validators([]).by_name == {}
    assert isinstance(EntryPoint("a", "b", "c"), EntryPoint)


def test_the_model_is_shown_its_answer_and_what_is_wrong() -> None:
    """As a turn of its own, then the findings; the template is versioned data."""
    answer = ChatResponse(choices=(Choice(blocks=(Text(text='{"k":"z"}'),)),))
    told = repair_request(REQUEST, answer, (Finding(code="schema", severity="error", where="/k", message="not one of"),))
    assert [message.role for message in told.messages] == ["user", "assistant", "user"]
    assert told.messages[1].blocks == (Text(text='{"k":"z"}'),)
    last = told.messages[2].blocks[0]
    assert isinstance(last, Text)
    assert "- /k: not one of" in last.text
    assert told.tools == REQUEST.tools


def test_calls_and_very_long_answers_are_quoted() -> None:
    """A call cannot stand as a turn without its result; a long answer is cut. Braces in an answer are no template."""
    for blocks in ((call(),), (Text(text="{{answer}} " * MAX_QUOTED),), ()):
        told = repair_request(REQUEST, ChatResponse(choices=(Choice(blocks=blocks),)), ())
        assert [message.role for message in told.messages] == ["user", "user"]
        last = told.messages[1].blocks[0]
        assert isinstance(last, Text)
        assert len(last.text) < MAX_QUOTED + 500
    assert ResponseFormat(kind="text").kind == "text"
