"""Programs written for the official Anthropic and OpenAI libraries run unchanged: helpers, tool runners, state, error classes."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from prefrontal.testing.faults import Fault

pytestmark = pytest.mark.asyncio(loop_scope="package")

ASIDE, ANSWER = "Let me look.", "It rains in Oslo."
HELLO: list[Any] = [{"role": "user", "content": "Weather?"}]


class Rain(pydantic.BaseModel):
    """The schema of a structured answer."""

    rains: bool


# --- Messages --------------------------------------------------------------------------------------------------------------


async def test_the_tool_runner_of_the_anthropic_library_runs_its_loop(house: Any) -> None:
    """The library calls the tool itself and returns with the final message; each turn went to the upstream."""
    asked: list[str] = []

    @anthropic.beta_async_tool
    async def weather(city: str) -> str:
        """Look up the weather.

        Args:
            city: The name of the city.
        """
        asked.append(city)
        return "RAIN-RESULT"

    since = len(house.sent)
    runner = house.claude.beta.messages.tool_runner(model="anthropic", max_tokens=500, tools=[weather], messages=HELLO)
    last = await runner.until_done()
    assert asked == ["Oslo"]
    assert last.content[0].text == ANSWER
    assert len(house.sent) - since == 2


async def test_the_stream_helper_of_the_anthropic_library(house: Any) -> None:
    """Text comes in pieces; the final message has usage, stop reason and our extension in the last delta."""
    extensions = []
    async with house.claude.messages.stream(model="ollama", max_tokens=500, messages=HELLO) as stream:
        pieces = [event.text async for event in stream if event.type == "text" or extensions.append(event)]
        final = await stream.get_final_message()
    assert len(pieces) > 1
    assert "".join(pieces) == final.content[0].text == ANSWER
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 7)
    told = next(event for event in extensions if event.type == "message_delta").x_prefrontal
    assert (told["model"], told["answered_by"]) == ("ollama", "model")


async def test_structured_output_through_the_anthropic_library(house: Any) -> None:
    """`messages.parse` gets its object from an engine of another maker."""
    found = await house.claude.messages.parse(
        model="openai-compatible", max_tokens=500, messages=[{"role": "user", "content": "STRUCTURED."}], output_format=Rain
    )
    assert found.parsed_output == Rain(rains=True)


async def test_counting_tokens(house: Any) -> None:
    """The engine's counter answers where there is one, an estimate where not; `auto` counts for the model it would take."""
    counted = await house.claude.messages.count_tokens(model="anthropic", messages=[{"role": "user", "content": "one two three"}])
    assert (counted.input_tokens, counted.x_prefrontal["counted_by"]) == (3, "engine")
    guessed = await house.claude.messages.count_tokens(model="gemini", messages=HELLO)
    assert guessed.input_tokens > 0
    assert guessed.x_prefrontal["counted_by"] == "estimate"
    routed = await house.claude.messages.count_tokens(model="auto", messages=HELLO)
    assert routed.input_tokens > 0


async def test_auto_and_reflexes_answer_messages(house: Any) -> None:
    """`auto` works in this dialect too: a sum needs no model, whole or streamed."""
    ask: dict[str, Any] = {"model": "auto", "max_tokens": 50, "messages": [{"role": "user", "content": "17.5% of 2,340?"}]}
    whole = await house.claude.messages.create(**ask)
    assert "409.5" in whole.content[0].text
    assert whole.x_prefrontal["answered_by"] == "tool"
    async with house.claude.messages.stream(**ask) as stream:
        assert await stream.get_final_text() == whole.content[0].text


async def test_a_claude_name_is_served_by_the_model_configured_under_it_and_by_no_other(house: Any) -> None:
    """Claude Code's names work when an entry of `models` has them; else the error names near ones."""
    found = await house.claude.messages.create(model="claude-haiku-4-5", max_tokens=500, messages=HELLO)
    assert (found.model, found.content[0].text) == ("claude-haiku-4-5", ANSWER)
    assert house.sent[-1].json["model"] == "qwen3-4b"
    with pytest.raises(anthropic.NotFoundError) as missing:
        await house.claude.messages.create(model="claude-haiku-4-5-20251001", max_tokens=500, messages=HELLO)
    assert missing.value.body["error"]["type"] == "not_found_error"
    assert "claude-haiku-4-5" in missing.value.body["error"]["message"]
    assert "claude-haiku-4-5" in missing.value.body["x_prefrontal"]["details"]["nearest"]


async def test_beta_headers_reach_an_upstream_of_this_wire_and_are_reported_elsewhere(house: Any) -> None:
    """The header goes through to Anthropic; another wire's answer says that it was dropped."""
    create = house.claude.beta.messages.with_raw_response.create
    await create(model="anthropic", max_tokens=500, messages=HELLO, betas=["context-1m-2025-08-07"])
    assert house.sent[-1].headers["anthropic-beta"] == "context-1m-2025-08-07"
    assert "anthropic-beta" not in house.sent[-1].json
    raw = await create(model="ollama", max_tokens=500, messages=HELLO, betas=["context-1m-2025-08-07"])
    assert raw.headers["x-prefrontal-dropped"] == "anthropic-beta=dropped"


async def test_thinking_of_another_maker_is_not_sent_to_claude(house: Any) -> None:
    """A conversation that moves from a local model to Claude leaves the local thinking behind, and says so."""
    first = await house.ask("messages", "openai-compatible", "THINK. Weather?", thinks=True, tools=True)
    assert first.signatures == ["prefrontal:llama.cpp:"]
    again = await house.ask("messages", "anthropic", "Weather?", tools=True, history=(first, "RAIN-RESULT"))
    assert again.dropped == "messages[].reasoning=dropped"
    assert [part["type"] for part in house.sent[-1].json["messages"][1]["content"]] == ["text", "tool_use"]


ANTHROPIC_ERRORS = [
    (400, anthropic.BadRequestError, "invalid_request_error"),
    (401, anthropic.InternalServerError, "api_error"),
    (429, anthropic.RateLimitError, "rate_limit_error"),
    (500, anthropic.InternalServerError, "api_error"),
    (529, anthropic.InternalServerError, "overloaded_error"),
]


@pytest.mark.parametrize(("status", "kind", "word"), ANTHROPIC_ERRORS)
async def test_an_upstreams_error_in_the_anthropic_librarys_classes(house: Any, status: int, kind: type, word: str) -> None:
    """The class follows our status, the word the cause; the request's id is where the library looks for it."""
    house.up.fail(Fault(kind="status", status=status))
    with pytest.raises(kind) as found:
        await house.claude.messages.create(model="anthropic", max_tokens=500, messages=HELLO)
    body = found.value.body
    assert (body["type"], body["error"]["type"]) == ("error", word)
    assert found.value.request_id == body["request_id"] == body["x_prefrontal"]["details"]["trace"]


async def test_an_empty_account_is_not_asked_again(house: Any) -> None:
    """An upstream's billing error keeps its word, and the library is told not to try again."""
    body = b'{"type":"error","error":{"type":"billing_error","message":"No credit."},"request_id":"req_up"}'
    house.up.fail(Fault(kind="status", status=402, body=body))
    with pytest.raises(anthropic.RateLimitError) as found:
        await house.claude.messages.create(model="anthropic", max_tokens=500, messages=HELLO)
    assert found.value.body["error"] == {"type": "billing_error", "message": "No credit."}
    assert found.value.response.headers["x-should-retry"] == "false"


async def test_a_wrong_key_and_a_wrong_field_in_the_words_of_the_route(house: Any) -> None:
    """401 and 400 have the envelope of the route that was called, whoever raises them."""
    with pytest.raises(anthropic.AuthenticationError) as wrong:
        await house.claude.with_options(api_key="sk-wrong").messages.create(model="auto", max_tokens=5, messages=HELLO)
    assert wrong.value.body["error"]["type"] == "authentication_error"
    with pytest.raises(anthropic.BadRequestError) as bad:
        await house.claude.messages.create(model="auto", max_tokens=5, messages=[])
    assert (bad.value.body["error"]["type"], bad.value.body["x_prefrontal"]["param"]) == ("invalid_request_error", "messages")
    with pytest.raises(anthropic.NotFoundError) as lost:
        await house.claude.get("/v1/messages/batches", cast_to=object)
    assert lost.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(openai.AuthenticationError) as other:
        await house.gpt.with_options(api_key="sk-wrong").responses.create(model="auto", input="Hi")
    assert other.value.code == "invalid_api_key"


async def test_the_anthropic_library_lists_models(house: Any) -> None:
    """In its own form, by pages when it asks for pages, with the names that OpenAI's list has; one by name too."""
    listed = [model async for model in house.claude.models.list()]
    names = [model.id async for model in house.gpt.models.list()]
    assert [model.id for model in listed] == names
    assert {model.type for model in listed} == {"model"}
    assert listed[0].created_at.year >= 2024
    assert [model.id async for model in house.claude.models.list(limit=2)] == names  # the library turns the pages itself
    backwards = await house.claude.models.list(limit=2, before_id=names[3])
    assert ([model.id for model in backwards.data], backwards.has_more) == (names[1:3], True)
    assert (await house.claude.models.retrieve("gemini")).display_name == "gemini"
    with pytest.raises(anthropic.BadRequestError):
        await house.claude.models.list(limit=0)


# --- Responses -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["openai-compatible", "anthropic", "gemini", "ollama"])
async def test_a_conversation_goes_on_by_the_id_of_its_last_response(house: Any, model: str) -> None:
    """The tool's result alone is sent; question, thinking, text and call come from the store, streamed or not."""
    tool: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
    create = house.gpt.responses.create
    first = await create(model=model, input="THINK. Weather?", tools=[tool], reasoning={"effort": "high"}, max_output_tokens=2000)
    call = next(item for item in first.output if item.type == "function_call")
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "RAIN-RESULT"}
    async with house.gpt.responses.stream(model=model, input=[result], tools=[tool], previous_response_id=first.id) as stream:
        second = await stream.get_final_response()
    assert (second.output_text, second.previous_response_id) == (ANSWER, first.id)
    third = await create(model=model, input="And tomorrow?", previous_response_id=second.id)
    assert third.status == "completed"
    sent = house.sent[-1].json
    turns = sent.get("messages") or sent["contents"]
    said = json.dumps(turns)
    assert [mark in said for mark in ("THINK. Weather?", ASIDE, "RAIN-RESULT", ANSWER, "And tomorrow?")] == [True] * 5
    if model == "anthropic":
        assert turns[1]["content"][0] == {"type": "thinking", "thinking": "A tool knows.", "signature": "mock-signature"}


@pytest.mark.parametrize("model", ["openai-compatible", "anthropic", "gemini", "ollama"])
async def test_freeform_tools_work_with_every_upstream(house: Any, model: str) -> None:
    """A tool whose input is text: the client sees its own kind of call, whole and streamed, and its output reaches the model."""
    grammar = {"type": "grammar", "syntax": "regex", "definition": "ls.*"}
    tool: Any = {"type": "custom", "name": "shell", "description": "Runs a command.", "format": grammar}
    raw = await house.gpt.responses.with_raw_response.create(model=model, input="List.", tools=[tool])
    assert "tools[].format=dropped" in raw.headers["x-prefrontal-dropped"]
    assert "ls.*" in json.dumps(house.sent[-1].json)
    whole = raw.parse()
    call = next(item for item in whole.output if item.type == "custom_tool_call")
    assert (call.name, call.input, whole.tools[0].type) == ("shell", "ls -l", "custom")
    kinds = []
    async with house.gpt.responses.stream(model=model, input="List.", tools=[tool]) as stream:
        kinds = [event.type async for event in stream]
        streamed = await stream.get_final_response()
    assert [item.input for item in streamed.output if item.type == "custom_tool_call"] == ["ls -l"]
    assert "response.custom_tool_call_input.done" in kinds
    assert "response.function_call_arguments.delta" not in kinds
    result: Any = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "RAIN-RESULT"}
    by_state: Any = {"input": [result], "previous_response_id": whole.id}
    by_hand: Any = {"input": [{"role": "user", "content": "List."}, *whole.to_dict()["output"], result], "store": False}
    for ask in (by_state, by_hand):
        again = await house.gpt.responses.create(model=model, tools=[tool], **ask)
        said = json.dumps(house.sent[-1].json)
        assert "ls -l" in said
        assert "RAIN-RESULT" in said
        assert again.status == "completed"


async def test_stored_responses_are_read_and_deleted_by_their_own_key_alone(house: Any) -> None:
    """A response is there for the key it was made with, until it is deleted; then nothing goes on from it."""
    made = await house.gpt.responses.create(model="ollama", input="Weather?", metadata={"project": "tea"})
    found = await house.gpt.responses.retrieve(made.id)
    assert found.to_dict() == made.to_dict()
    other = house.gpt.with_options(api_key="sk-two")
    with pytest.raises(openai.NotFoundError):
        await other.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        await other.responses.create(model="ollama", input="And?", previous_response_id=made.id)
    await house.gpt.responses.delete(made.id)
    for gone in (house.gpt.responses.retrieve(made.id), house.gpt.responses.delete(made.id)):
        with pytest.raises(openai.NotFoundError):
            await gone
    with pytest.raises(openai.NotFoundError) as lost:
        await house.gpt.responses.create(model="ollama", input="And?", previous_response_id=made.id)
    assert lost.value.param == "previous_response_id"


async def test_nothing_is_kept_that_was_not_to_be_stored(house: Any) -> None:
    """`store: false` keeps nothing, whole or streamed, and says so in the answer."""
    whole = await house.gpt.responses.create(model="ollama", input="Weather?", store=False)
    async with house.gpt.responses.stream(model="ollama", input="Weather?", store=False) as stream:
        streamed = await stream.get_final_response()
    for response in (whole, streamed):
        assert response.store is False
        with pytest.raises(openai.NotFoundError):
            await house.gpt.responses.retrieve(response.id)


async def test_items_of_stored_responses_may_be_named_instead_of_sent(house: Any) -> None:
    """An item reference stands for the item with that id."""
    first = await house.gpt.responses.create(model="ollama", input="Weather?")
    named: Any = [{"role": "user", "content": "Weather?"}, {"type": "item_reference", "id": first.output[-1].id}]
    again: Any = {"role": "user", "content": "And tomorrow?"}
    await house.gpt.responses.create(model="ollama", input=[*named, again])
    assert [turn["content"] for turn in house.sent[-1].json["messages"]] == ["Weather?", ANSWER, "And tomorrow?"]
    with pytest.raises(openai.NotFoundError) as lost:
        await house.gpt.responses.create(model="ollama", input=[{"type": "item_reference", "id": "msg_unknown_3"}, again])
    assert lost.value.param == "input[0].id"
    for odd in ("msg_x_²", "msg_x_" + "1" * 5000):  # digits, but no number that can be read
        with pytest.raises(openai.NotFoundError):
            await house.gpt.responses.create(model="ollama", input=[{"type": "item_reference", "id": odd}, again])
    with pytest.raises(openai.BadRequestError, match="referred to"):
        await house.gpt.responses.create(model="ollama", input=[*(named[1:] * 1001), again])


async def test_structured_output_through_the_openai_library(house: Any) -> None:
    """`responses.parse` and the stream helper get their object, also from Claude."""
    ask: dict[str, Any] = {"model": "anthropic", "input": "STRUCTURED.", "text_format": Rain}
    assert (await house.gpt.responses.parse(**ask)).output_parsed == Rain(rains=True)
    async with house.gpt.responses.stream(**ask) as stream:
        assert (await stream.get_final_response()).output_parsed == Rain(rains=True)


async def test_thinking_as_a_summary_when_the_client_wants_one(house: Any) -> None:
    """A client that asks for a summary is given the thinking in that form, in the stream's events too."""
    ask: dict[str, Any] = {"model": "ollama", "input": "THINK. Weather?", "reasoning": {"effort": "high", "summary": "auto"}}
    async with house.gpt.responses.stream(**ask) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_response()
    assert "response.reasoning_summary_text.delta" in kinds
    assert "response.reasoning_text.delta" not in kinds
    assert final.output[0].summary[0].text == "A tool knows."


async def test_auto_and_counts_in_responses(house: Any) -> None:
    """A reflex answers here too; the input is counted without asking a model."""
    answer = await house.gpt.responses.create(model="auto", input="17.5% of 2,340?")
    assert "409.5" in answer.output_text
    counted = await house.gpt.responses.input_tokens.count(model="openai-compatible", input="one two three")
    assert counted.input_tokens > 0


async def test_the_record_says_what_the_dialect_could_not_carry(house: Any) -> None:
    """What was asked for in vain stands in the header, in the answer and in the record."""
    raw = await house.gpt.responses.with_raw_response.create(
        model="ollama", input="Weather?", truncation="auto", tools=[{"type": "web_search"}]
    )
    named = {"truncation=dropped", "tools[].web_search=dropped"}
    assert named <= set(raw.headers["x-prefrontal-dropped"].split(", "))
    record: Any = await house.gpt.get(f"/traces/{raw.headers['x-prefrontal-trace']}", cast_to=object)
    assert named <= {f"{entry['field']}={entry['action']}" for entry in record["dropped"]}
    assert (record["dialect"], record["route"]) == ("responses", "/v1/responses")
