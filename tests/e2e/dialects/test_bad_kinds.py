"""The same mistakes in each dialect: a 400 (or what fits) in its own envelope, with the path of the field in its own words.

A row is a kind of mistake; a column is how a dialect's client makes it and what its field is called there.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="package")

PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
HI: list[Any] = [{"role": "user", "content": "hi"}]
GOOD: dict[str, dict[str, Any]] = {
    "chat": {"model": "ollama", "messages": HI},
    "responses": {"model": "ollama", "input": HI},
    "messages": {"model": "ollama", "max_tokens": 50, "messages": HI},
}
OBJECT, BANANA = {"type": "object"}, {"type": "banana"}
NEVER = ("Traceback", 'File "', "site-packages", "msgspec", "0x7f")

Column = tuple[dict[str, Any], str | None]
Row = tuple[Column, Column, Column]


def each(fields: dict[str, Any], param: str | None) -> Row:
    """A row whose fields are called the same in all three."""
    return ((fields, param), (fields, param), (fields, param))


def turns(content: Any, where: str = "") -> Row:
    """A row about the one turn there is."""
    item = content if isinstance(content, dict) and "role" in content else {"role": "user", "content": content}
    return (
        ({"messages": [item]}, f"messages[0]{where}"),
        ({"input": [item]}, f"input[0]{where}"),
        ({"messages": [item]}, f"messages[0]{where}"),
    )


def parts(chat: Any, responses: Any, messages: Any, *where: str) -> Row:
    """A row about the one part of the one turn."""
    columns = zip(("messages", "input", "messages"), (chat, responses, messages), where, strict=True)
    one, two, three = [({name: [{"role": "user", "content": [part]}]}, f"{name}[0].content[0]{at}") for name, part, at in columns]
    return one, two, three


def tools(chat: Any, responses: Any, messages: Any, *where: str) -> Row:
    """A row about the one tool."""
    one, two, three = [({"tools": [tool]}, f"tools[0]{at}") for tool, at in zip((chat, responses, messages), where, strict=True)]
    return one, two, three


def cap(value: Any) -> Row:
    """A row about the output cap."""
    return (
        ({"max_tokens": value}, "max_tokens"),
        ({"max_output_tokens": value}, "max_output_tokens"),
        ({"max_tokens": value}, "max_tokens"),
    )


def form(schema: Any) -> Row:
    """A row about the schema of the answer."""
    chat = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    responses = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    messages = {"format": {"type": "json_schema", "schema": schema}}
    return (
        ({"response_format": chat}, "response_format.json_schema.schema"),
        ({"text": responses}, "text.format.schema"),
        ({"output_config": messages}, "output_config.format.schema"),
    )


FILE = "file:///srv/secret.png"
CALL = {"type": "function", "function": {"name": 7, "arguments": "{}"}, "id": "c"}

FIELDS: dict[str, Row] = {
    "model a number": each({"model": 7}, "model"),
    "model empty": each({"model": ""}, "model"),
    "no turns": (({"messages": None}, "messages"), ({"input": None}, "input"), ({"messages": None}, "messages")),
    "turns a number": (({"messages": 7}, "messages"), ({"input": 7}, "input"), ({"messages": 7}, "messages")),
    "turns empty": (({"messages": []}, "messages"), ({"input": []}, "input"), ({"messages": []}, "messages")),
    "a turn that is a number": (
        ({"messages": [7]}, "messages[0]"),
        ({"input": [7]}, "input[0]"),
        ({"messages": [7]}, "messages[0]"),
    ),
    "unknown role": turns({"role": "boss", "content": "x"}, ".role"),
    "content a number": turns(7, ".content"),
    "content null": turns(None, ".content"),
    "a part that is a number": parts(7, 7, 7, "", "", ""),
    "a part without a type": parts({"text": "x"}, {"text": "x"}, {"text": "x"}, ".type", ".type", ""),
    "text a number": parts(
        {"type": "text", "text": 7}, {"type": "input_text", "text": 7}, {"type": "text", "text": 7}, ".text", ".text", ".text"
    ),
    "an image that is a number": parts(
        {"type": "image_url", "image_url": 7},
        {"type": "input_image", "image_url": 7},
        {"type": "image", "source": 7},
        *(".image_url", ".image_url", ".source"),
    ),
    "an image that is a file of the server": parts(
        {"type": "image_url", "image_url": {"url": FILE}},
        {"type": "input_image", "image_url": FILE},
        {"type": "image", "source": {"type": "url", "url": FILE}},
        *(".image_url.url", ".image_url", ".source.url"),
    ),
    "a tool's result without its call": (
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]},
            "messages[0].content[0].tool_use_id",
        ),
    ),
    "a call whose name is a number": (
        ({"messages": [{"role": "assistant", "tool_calls": [CALL]}]}, "messages[0].tool_calls[0].function.name"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": 7, "arguments": "{}"}]}, "input[0].name"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": 7, "input": {}}]}]},
            "messages[0].content[0].name",
        ),
    ),
    "a negative cap": cap(-5),
    "a cap that is a word": cap("many"),
    "half a token": cap(1.5),
    "a cap beyond all numbers": cap(2**70),
    "temperature a word": each({"temperature": "hot"}, "temperature"),
    "top_p a list": each({"top_p": []}, "top_p"),
    "stream a word": each({"stream": "yes"}, "stream"),
    "tools an object": each({"tools": {}}, "tools"),
    "a tool that is a number": each({"tools": [7]}, "tools[0]"),
    "a tool without a name": tools(
        {"type": "function", "function": {}},
        {"type": "function"},
        {"input_schema": OBJECT},
        *(".function.name", ".name", ".name"),
    ),
    "a tool whose name is a list": tools(
        {"type": "function", "function": {"name": []}},
        {"type": "function", "name": []},
        {"name": [], "input_schema": OBJECT},
        *(".function.name", ".name", ".name"),
    ),
    "a tool whose schema is none": tools(
        {"type": "function", "function": {"name": "f", "parameters": BANANA}},
        {"type": "function", "name": "f", "parameters": BANANA},
        {"name": "f", "input_schema": BANANA},
        *(".function.parameters", ".parameters", ".input_schema"),
    ),
    "unknown tool_choice": (
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice.type"),
    ),
    "a chosen tool without a name": (
        ({"tool_choice": {"type": "function"}}, "tool_choice.function.name"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ),
    "an answer schema that is none": form(BANANA),
    "an answer schema that is a number": form(7),
    "unknown effort": (
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"reasoning": {"effort": "enormous"}}, "reasoning.effort"),
        ({"output_config": {"effort": "enormous"}}, "output_config.effort"),
    ),
    "thinking a number": (({"thinking": 7}, "thinking"), ({"reasoning": 7}, "reasoning"), ({"thinking": 7}, "thinking")),
    "metadata a list": each({"metadata": []}, "metadata"),
    "a hint misspelt": each({"x_prefrontal": {"efort": 1}}, "x_prefrontal.efort"),
    "a hint out of range": each({"x_prefrontal": {"effort": 7}}, "x_prefrontal.effort"),
    "hints that are a list": each({"x_prefrontal": []}, "x_prefrontal"),
}

ONLY: dict[str, tuple[str, dict[str, Any], int, str, str]] = {  # kind → (dialect, fields, status, code, param)
    "no answers": ("chat", {"n": 0}, 400, "invalid_request", "n"),
    "a stop that is a number": ("chat", {"stop": 7}, 400, "invalid_request", "stop"),
    "stops that are numbers": ("messages", {"stop_sequences": [7]}, 400, "invalid_request", "stop_sequences"),
    "instructions a number": ("responses", {"instructions": 7}, 400, "invalid_request", "instructions"),
    "a system prompt that is a number": ("messages", {"system": 7}, 400, "invalid_request", "system"),
    "a response nobody knows": ("responses", {"previous_response_id": "resp_no"}, 404, "not_found", "previous_response_id"),
    "in the background": ("responses", {"background": True}, 400, "invalid_request", "background"),
    "a budget that is a word": (
        "messages",
        {"thinking": {"type": "enabled", "budget_tokens": "much"}},
        *(400, "invalid_request", "thinking.budget_tokens"),
    ),
}

BODIES: dict[str, tuple[Any, str]] = {  # kind → (what becomes of a good body, words of the message)
    "nothing": (lambda _body: b"", "not valid JSON"),
    "half an object": (lambda body: body[: len(body) // 2], "not valid JSON"),
    "an array": (lambda body: b"[" + body + b"]", "must be a JSON object"),
    "a byte order mark": (lambda body: b"\xef\xbb\xbf" + body, "not valid JSON"),
    "UTF-16": (lambda body: body.decode().encode("utf-16"), "not valid JSON"),
    "bytes that are no UTF-8": (lambda body: body.replace(b'"hi"', b'"\xff"'), "not valid JSON"),
    "half a surrogate": (lambda body: body.replace(b'"hi"', b'"\\ud800"'), "not valid JSON"),
    "a bare line end in a string": (lambda body: body.replace(b'"hi"', b'"h\ni"'), "not valid JSON"),
    "not a number": (lambda body: body[:-1] + b',"temperature":NaN}', "not valid JSON"),
    "a number beyond all numbers": (lambda body: body[:-1] + b',"temperature":1e400}', "not valid JSON"),
    "far too deep": (lambda body: body[:-1] + b',"x":' + b"[" * 50_000, "not valid JSON"),
}


def check(dialect: str, answer: httpx.Response, status: int, code: str, param: str | None) -> str:
    """Fail unless the answer is the dialect's own error with this content; return its message."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert not [word for word in NEVER if word in answer.text]
    if dialect == "messages":
        assert set(body) == {"type", "error", "request_id", "x_prefrontal"}
        assert set(body["error"]) == {"type", "message"}
        assert body["error"]["type"] == ("not_found_error" if status == 404 else "invalid_request_error")
        found = (body["x_prefrontal"].get("code"), body["x_prefrontal"].get("param"))
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}
        found = (body["error"]["code"], body["error"]["param"])
    assert found == (code, param), answer.text
    message: str = body["error"]["message"]
    return message


@pytest_asyncio.fixture(loop_scope="package", scope="module")
async def http(house: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key that is right."""
    async with httpx.AsyncClient(base_url=house.url, headers={"authorization": "Bearer sk-one"}) as found:
        yield found


async def post(http: httpx.AsyncClient, dialect: str, body: bytes, **headers: str) -> httpx.Response:
    """Send a body to the route of a dialect."""
    return await http.post(PATHS[dialect], content=body, headers=headers)


@pytest.mark.parametrize("dialect", PATHS)
async def test_wrong_fields_are_named_in_the_words_of_the_dialect(http: httpx.AsyncClient, house: Any, dialect: str) -> None:
    """Each kind is refused with its path, streamed or not, and none of them reaches the upstream."""
    column, before = list(PATHS).index(dialect), len(house.sent)
    for kind, row in FIELDS.items():
        fields, param = row[column]
        for more in ({}, {"stream": True}):
            body = {name: value for name, value in {**GOOD[dialect], **more, **fields}.items() if value is not None}
            message = check(dialect, await post(http, dialect, json.dumps(body).encode()), 400, "invalid_request", param)
            assert message, kind
    assert len(house.sent) == before


@pytest.mark.parametrize("dialect", PATHS)
async def test_bodies_that_are_no_requests(http: httpx.AsyncClient, dialect: str) -> None:
    """Each kind is refused with a sentence about the body as a whole."""
    good = json.dumps(GOOD[dialect]).encode()
    for kind, (change, words) in BODIES.items():
        answer = await post(http, dialect, change(good))
        assert words in check(dialect, answer, 400, "invalid_request", None), kind
    packed = await post(http, dialect, gzip.compress(good), **{"content-encoding": "gzip"})
    assert "gzip" in check(dialect, packed, 415, "invalid_request", None)
    long = json.dumps({**GOOD[dialect], "model": "m" * 5000}).encode()
    check(dialect, await post(http, dialect, long), 404, "model_not_found", "model")


@pytest.mark.parametrize("kind", ONLY)
async def test_mistakes_of_one_dialect(http: httpx.AsyncClient, kind: str) -> None:
    """What only one dialect has a field for."""
    dialect, fields, status, code, param = ONLY[kind]
    check(dialect, await post(http, dialect, json.dumps({**GOOD[dialect], **fields}).encode()), status, code, param)


def all_three(fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The same fields in each dialect."""
    return dict.fromkeys(PATHS, fields)


UNUSUAL: dict[str, dict[str, dict[str, Any]]] = {
    "both caps": {"chat": {"max_tokens": 5, "max_completion_tokens": 9}},
    "a thousand stops": {"chat": {"stop": ["x"] * 1000}, "messages": {"stop_sequences": ["x"] * 1000}},
    "a session with control characters": all_three({"x_prefrontal": {"session": "a\x00\r\nb"}}),
    "a negative temperature": all_three({"temperature": -1}),
    "a choice of a tool that is not there": {"chat": {"tool_choice": {"type": "function", "function": {"name": "g"}}}},
    "nested, but not too deep": all_three({"metadata_of_mine": json.loads("[" * 300 + "]" * 300)}),
}


@pytest.mark.parametrize("kind", UNUSUAL)
async def test_what_is_for_the_upstream_to_judge_is_left_to_it(http: httpx.AsyncClient, kind: str) -> None:
    """Ranges and combinations differ between makers: they are passed on, and the answer comes."""
    for dialect, fields in UNUSUAL[kind].items():
        answer = await post(http, dialect, json.dumps({**GOOD[dialect], **fields}).encode())
        assert answer.status_code == 200, answer.text


async def test_there_are_enough_kinds() -> None:
    """At least 24 kinds a dialect."""
    for dialect in PATHS:
        own = sum(found[0] == dialect for found in ONLY.values())
        assert len(FIELDS) + len(BODIES) + 2 + own >= 24
