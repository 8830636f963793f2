"""An answer that is held to a form, on its way through the machine: what is asked again, of whom, and at what cost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

import prefrontal
from prefrontal.app.library import Prefrontal
from prefrontal.clock import SystemClock
from prefrontal.errors import InvalidRequest, PrefrontalError, StructuredOutputInvalid
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.machine.context import LIBRARY
from prefrontal.providers.openai.request import parse_chat_request
from prefrontal.testing.answers import Answer, ScriptedCall
from prefrontal.testing.faults import Fault
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.scripted import ScriptedTransport, scripted_config

SCHEMA = {"type": "object", "properties": {"k": {"enum": ["x", "y"]}}, "required": ["k"], "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
GOOD, ODD, PROSE = '{"k":"x"}', '{"k":"z"}', "I would say x."


class Place:
    """A Prefrontal whose models say what `says` holds, one after the other; the last thing again and again."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.says: list[Answer | Fault | str] = []
        self.ledger = MemoryLedger()
        self.clock = SystemClock()
        self.transport = ScriptedTransport(self._say, clock=self.clock)
        self.pf: Prefrontal

    def _say(self, _request: Recorded) -> Answer | Fault | str:
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]

    async def open(self, *says: Answer | Fault | str, models: Any = ("m",), **settings: Any) -> Prefrontal:
        """Open it with what it says and with settings."""
        self.says = list(says)
        config = scripted_config(models, **{"limits": {"retries": {"attempts": 1}}, **settings})
        config.pop("records")
        opened = prefrontal.open(config, transport=self.transport, clock=self.clock, ledger=self.ledger)
        self.pf = await self._stack.enter_async_context(opened)
        return self.pf

    async def ask(self, model: str = "m", form: Any = FORM, **options: Any) -> Any:
        """Ask for the form."""
        return await self.pf.chat("Which?", model=model, response_format=form, **options)

    async def refused(self, model: str = "m", **options: Any) -> StructuredOutputInvalid:
        """Ask, and return the error that must come."""
        with pytest.raises(StructuredOutputInvalid) as error:
            await self.ask(model, **options)
        return error.value

    @property
    def record(self) -> Any:
        """The latest record."""
        return list(self.ledger._records.values())[-1]

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The bodies the models received."""
        return [request.json for request in self.transport.requests]


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    """The means to open one; it is closed at the end."""
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    async with AsyncExitStack() as stack:
        yield Place(stack)


def states(record: Any) -> str:
    """Return the states in short."""
    return " ".join(str(state) for state in record.states)


async def test_an_answer_that_holds_is_passed_on(place: Place) -> None:
    """One call; the verdict is in the record."""
    await place.open(GOOD)
    reply = await place.ask()
    assert reply.text == GOOD
    assert states(reply.record) == "INIT LLM_CALL VALIDATION SYNTHESIS COMPLETED"
    assert (reply.record.validation.passed, reply.record.validation.method) == (True, "field")
    assert len(place.sent) == 1


async def test_a_plain_request_does_not_pay_for_it(place: Place) -> None:
    """Without a form and without validators there is no such state and no verdict."""
    await place.open(PROSE)
    reply = await place.ask(form=None)
    assert states(reply.record) == "INIT LLM_CALL SYNTHESIS COMPLETED"
    assert reply.record.validation is None


async def test_a_fence_is_taken_away_without_asking_again(place: Place) -> None:
    """The caller gets bare JSON for one call; the record says what was mended."""
    await place.open(f"```json\n{GOOD}\n```")
    reply = await place.ask()
    assert (reply.text, len(place.sent)) == (GOOD, 1)
    assert reply.record.validation.mended
    assert [finding.code for finding in reply.record.validation.findings] == ["fenced"]


async def test_a_bad_answer_is_repaired_once_and_both_calls_are_paid(place: Place) -> None:
    """The model sees its answer and what is wrong with it; attempts, usage and cost add up."""
    price = {"price": {"input_usd": 1.0, "output_usd": 2.0}}
    first = Answer(text=ODD, input_tokens=100, output_tokens=10)
    await place.open(first, Answer(text=GOOD, input_tokens=150, output_tokens=20), models={"m": price})
    reply = await place.ask()
    assert reply.text == GOOD
    record = reply.record
    assert states(record) == "INIT LLM_CALL VALIDATION LLM_CALL VALIDATION SYNTHESIS COMPLETED"
    assert [(a.reason, a.error_code, a.outcome) for a in record.attempts] == [
        (None, "structured_output_invalid", "ok"),
        ("repair", None, "ok"),
    ]
    assert (record.usage.input_tokens, record.usage.output_tokens) == (250, 30)
    assert (reply.response.usage.input_tokens, reply.response.usage.output_tokens) == (250, 30)
    assert record.cost_usd == pytest.approx((250 * 1.0 + 30 * 2.0) / 1e6)
    assert (record.validation.repairs, record.validation.earlier[0].where) == (1, "/k")
    turns = place.sent[1]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == ODD
    assert "/k" in turns[2]["content"]
    assert place.sent[1]["response_format"] == place.sent[0]["response_format"]


async def test_one_that_cannot_be_repaired_is_a_clear_error(place: Place) -> None:
    """502 with the places of the faults; the caller sees the answer, the record does not hold its words."""
    await place.open('{"k":"zebra"}')
    error = await place.refused()
    assert (error.status, error.code, error.param, error.model) == (502, "structured_output_invalid", "response_format", "m")
    assert "at /k" in error.message
    assert "zebra" not in error.message
    assert error.details["answer"] == '{"k":"zebra"}'
    assert error.details["repairs"] == 1
    assert len(place.sent) == 2
    assert states(place.record) == "INIT LLM_CALL VALIDATION LLM_CALL VALIDATION FAILED"
    assert "zebra" not in str(place.record)
    assert place.record.error_code == "structured_output_invalid"
    assert place.record.usage.output_tokens > 0


@pytest.mark.parametrize(("repairs", "calls"), [(0, 1), (1, 2), (3, 4)])
async def test_how_often_it_is_repaired_is_a_setting(place: Place, repairs: int, calls: int) -> None:
    """`structured_output.repairs` bounds the calls."""
    await place.open(ODD, structured_output={"repairs": repairs})
    await place.refused()
    assert len(place.sent) == calls


async def test_the_next_model_of_the_plan_is_asked_where_that_is_wanted(place: Place) -> None:
    """First the repair, then the other model, with the caller's own request; without the setting it fails."""
    routing = {"policy": "primary_with_fallback", "primary": "a", "reflexes": {"enabled": False}}
    says = (ODD, ODD, GOOD)
    await place.open(*says, models=("a", "b"), routing=routing, structured_output={"escalate": True})
    reply = await place.ask("auto")
    assert [body["model"] for body in place.sent] == ["a", "a", "b"]
    assert len(place.sent[2]["messages"]) == 1
    assert [attempt.reason for attempt in reply.record.attempts] == [None, "repair", "escalation"]
    assert (reply.record.model, reply.record.validation.escalations) == ("b", 1)
    assert reply.record.usage.output_tokens == 3


async def test_without_the_setting_the_other_model_is_left_alone(place: Place) -> None:
    """A stronger model costs more: it is not asked unless configured."""
    await place.open(ODD, models=("a", "b"), routing={"policy": "primary_with_fallback", "primary": "a"})
    await place.refused("auto")
    assert {body["model"] for body in place.sent} == {"a"}


async def test_a_repair_that_cannot_be_made_says_so(place: Place) -> None:
    """The upstream fails at the second call: the error is still that the answer does not hold, with the other's code."""
    await place.open(ODD, Fault(kind="status", status=500))
    error = await place.refused()
    assert error.details["repair_failed"] == "upstream_error"
    assert error.details["answer"] == ODD
    assert [attempt.outcome for attempt in place.record.attempts] == ["ok", "error"]


async def test_a_budget_that_leaves_nothing_for_a_repair_is_not_overrun(place: Place) -> None:
    """The repair is reserved like any call: refused, it is not made."""
    price = {"price": {"input_usd": 0.0, "output_usd": 1_000_000.0}, "max_output_tokens": 10}
    budgets = [{"name": "day", "scope": "global", "window": "day", "usd": 12}]
    await place.open(Answer(text=ODD, output_tokens=9), models={"m": price}, budgets=budgets)
    error = await place.refused(max_tokens=10)
    assert error.details["repair_failed"] == "insufficient_quota"
    assert len(place.sent) == 1
    assert place.record.cost_usd == pytest.approx(9.0)


async def test_no_repair_after_the_deadline(place: Place) -> None:
    """The caller's time counts for all rounds together."""
    await place.open(Answer(text=ODD, delay_s=0.05))
    options = {"x_prefrontal": {"deadline_s": 0.06}}
    with pytest.raises(PrefrontalError):
        await place.ask(**options)
    assert len(place.sent) <= 2
    assert place.record.duration_ms < 1000


async def test_refusals_and_tool_turns_are_not_repaired(place: Place) -> None:
    """A model that declines, and one that first wants to look something up, is passed on as it is."""
    await place.open(Answer(text="", tool_calls=(ScriptedCall(name="look", arguments={}),)))
    reply = await place.ask(tools=[{"type": "function", "function": {"name": "look"}}])
    assert reply.record.validation.passed
    place.says = [Answer(text="No.", finish="content_filter")]
    reply = await place.ask()
    assert (reply.text, len(place.sent)) == ("No.", 2)
    assert [finding.code for finding in reply.record.validation.findings] == ["refused"]


async def test_a_cut_answer_says_that_the_cap_is_too_small(place: Place) -> None:
    """It is not asked again with the same cap."""
    await place.open(Answer(text='{"k":', finish="length"))
    error = await place.refused(max_tokens=2)
    assert "cut" in error.message
    assert error.hint == "Raise the output cap."
    assert len(place.sent) == 1


async def test_a_schema_that_cannot_be_used_asks_nobody(place: Place) -> None:
    """400 at the caller's field, before any call."""
    await place.open(GOOD)
    remote = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"$ref": "http://127.0.0.1:9/x"}}}
    with pytest.raises(InvalidRequest):
        await place.ask(form=remote)
    assert place.sent == []


async def test_validation_can_be_switched_off(place: Place) -> None:
    """Then what the engine says is what the caller gets."""
    await place.open(PROSE, structured_output={"validate": False})
    reply = await place.ask()
    assert (reply.text, reply.record.validation) == (PROSE, None)


async def test_configured_validators_hold_every_answer(place: Place) -> None:
    """`tools` sends a call that does not fit back to the model, quoted, because a call cannot stand without its result."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "required": ["q"]}}}
    bad = Answer(text="", tool_calls=(ScriptedCall(name="look", arguments={}),))
    good = Answer(text="", tool_calls=(ScriptedCall(name="look", arguments={"q": 1}),))
    await place.open(bad, good, structured_output={"validators": ["tools", "format"]})
    reply = await place.ask(form=None, tools=[tool])
    assert json.loads(reply.response.choices[0].blocks[-1].arguments) == {"q": 1}
    assert "look({})" in place.sent[1]["messages"][-1]["content"]
    place.says = ["fine"]
    assert (await place.ask(form=None)).record.validation.passed


# -- streams -----------------------------------------------------------------------------------------------------------------


async def streamed(place: Place) -> tuple[str, Any, PrefrontalError | None]:
    """Return the text of a stream, its extension and the error it ended with."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Which?"}], "response_format": FORM, "stream": True}
    request = parse_chat_request(json.dumps(body).encode())
    source, text, error = None, "", None
    try:
        source = await place.pf.open_stream(request, LIBRARY)
        while chunks := await source.read():
            text += "".join(chunk.text for chunk in chunks)
    except PrefrontalError as caught:
        error = caught
    finally:
        if source is not None:
            await source.aclose()
    return text, None if source is None else source.extension(), error


async def test_a_stream_is_passed_on_and_judged_at_its_end(place: Place) -> None:
    """What holds ends as ever, with the verdict beside the cost."""
    await place.open(GOOD)
    text, extension, error = await streamed(place)
    assert (text, error) == (GOOD, None)
    assert extension["validation"]["passed"] is True
    assert states(place.record) == "INIT LLM_CALL VALIDATION SYNTHESIS COMPLETED"


@pytest.mark.parametrize("said", [ODD, PROSE, f"```json\n{GOOD}\n```"])
async def test_a_stream_that_does_not_hold_ends_with_an_error(place: Place, said: str) -> None:
    """It was shown, so it is neither mended nor repaired: the client is told."""
    await place.open(said)
    text, extension, error = await streamed(place)
    assert text == said
    assert isinstance(error, StructuredOutputInvalid)
    assert extension["validation"]["passed"] is False
    assert states(place.record) == "INIT LLM_CALL VALIDATION FAILED"
    assert len(place.sent) == 1


async def test_a_held_stream_shows_only_what_holds(place: Place) -> None:
    """`stream: hold` waits, repairs, and streams the good answer; the attempts are the same as of a whole one."""
    await place.open(PROSE, GOOD, structured_output={"stream": "hold"})
    text, extension, error = await streamed(place)
    assert (text, error) == (GOOD, None)
    assert extension["validation"]["repairs"] == 1
    assert (place.record.stream, len(place.record.attempts)) == (True, 2)


async def test_a_held_stream_that_fails_shows_nothing(place: Place) -> None:
    """The error comes before the first chunk, as a status."""
    await place.open(ODD, structured_output={"stream": "hold"})
    text, extension, error = await streamed(place)
    assert (text, extension) == ("", None)
    assert isinstance(error, StructuredOutputInvalid)
