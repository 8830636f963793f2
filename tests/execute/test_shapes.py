"""How each wire is told the form of an answer, and what refusals and prose teach about it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

import prefrontal
from prefrontal.app.library import Prefrontal
from prefrontal.chat.request import ChatRequest, ResponseFormat
from prefrontal.config.reload import Current
from prefrontal.errors import PrefrontalError, ProviderRejected
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.structured import methods_for, refuses_form
from prefrontal.testing.answers import Answer, ScriptedCall
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.faults import Fault
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.scripted import ScriptedTransport, scripted_config

SCHEMA = {"type": "object", "properties": {"k": {"enum": ["x", "y"]}}, "required": ["k"], "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
GOOD, PROSE = '{"k":"x"}', "I would say x."
ROOT = "http://scripted.invalid"

MODELS: dict[str, dict[str, Any]] = {
    "compatible": {"profile": "openai-compatible"},
    "openai": {"profile": "openai", "model": "gpt-5.1", "key": "k"},
    "vllm": {"profile": "vllm"},
    "sglang": {"profile": "sglang"},
    "tgi": {"profile": "tgi"},
    "llamacpp": {"profile": "llamacpp"},
    "deepseek": {"profile": "deepseek", "model": "deepseek-v4-flash", "key": "k"},
    "ollama": {"profile": "ollama", "endpoint": ROOT},
    "anthropic": {"profile": "anthropic", "endpoint": ROOT, "model": "claude-sonnet-4-5", "key": "k"},
    "gemini": {"profile": "gemini", "endpoint": ROOT, "model": "gemini-2.5-pro", "key": "k"},
}


def method_of(body: dict[str, Any]) -> str:
    """Return how a body tells the form."""
    tools = json.dumps(body.get("tools") or "")
    config = body.get("generationConfig") or {}
    if "give_answer" in tools:
        return "tool"
    for name in ("structured_outputs", "json_schema", "grammar", "format"):
        if name in body:
            return name
    if "format" in (body.get("output_config") or {}):
        return "output_config"
    if "responseJsonSchema" in config:
        return "responseJsonSchema"
    if "response_format" in body:
        return str(body["response_format"]["type"])
    return "prompt" if "JSON Schema" in json.dumps(body) else "nothing"


class Place:
    """Models of every profile, whose answers depend on how they were told: `honours` says which ways work for them."""

    def __init__(self) -> None:
        self.clock = FakeClock(auto=True)
        self.honours: set[str] = set()
        self.refuses: set[str] = set()
        self.transport = ScriptedTransport(self._say, clock=self.clock)
        self.pf: Prefrontal

    def _say(self, request: Recorded) -> Answer | Fault | str:
        way = method_of(request.json)
        if way in self.refuses:
            field = {"json_schema": "response_format"}.get(way, way)
            return Fault(kind="status", status=400, message=f"This {field} is not supported by this model")
        if way not in self.honours:
            return PROSE
        if way == "tool":
            return Answer(text="Here.", tool_calls=(ScriptedCall(name="give_answer", arguments={"k": "x"}),))
        return GOOD

    async def ask(self, model: str, **options: Any) -> Any:
        """Ask for the form; return the reply or the error."""
        try:
            return await self.pf.chat("Which?", model=model, response_format=FORM, **options)
        except PrefrontalError as error:
            return error

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The requests for an answer; probes and counts are not among them."""
        found = [request.json for request in self.transport.requests if request.json and not request.path.endswith("/show")]
        return [body for body in found if "messages" in body or "contents" in body]

    @property
    def ways(self) -> list[str]:
        """How each request told the form."""
        return [method_of(body) for body in self.bodies]


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    """All of them, opened."""
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    made = Place()
    settings = {"limits": {"retries": {"attempts": 1}}, "structured_output": {"memory_ttl_s": 100}}
    async with AsyncExitStack() as stack:
        opened = prefrontal.open(scripted_config(MODELS, **settings), transport=made.transport, clock=made.clock)
        made.pf = await stack.enter_async_context(opened)
        yield made


FIRST = {
    "compatible": "json_schema",
    "openai": "json_schema",
    "vllm": "json_schema",
    "sglang": "json_schema",
    "tgi": "json_schema",
    "llamacpp": "json_schema",
    "deepseek": "json_object",
    "ollama": "format",
    "anthropic": "output_config",
    "gemini": "responseJsonSchema",
}
THEN = {
    "compatible": ["tool", "prompt"],
    "openai": ["tool", "prompt"],
    "vllm": ["structured_outputs", "tool", "prompt"],
    "sglang": ["tool", "prompt"],
    "tgi": ["grammar", "prompt"],
    "llamacpp": ["json_schema", "tool", "prompt"],
    "deepseek": ["prompt"],
    "ollama": ["prompt"],
    "anthropic": ["tool", "prompt"],
    "gemini": ["tool", "prompt"],
}


@pytest.mark.parametrize("model", MODELS)
async def test_each_wire_is_told_in_the_field_it_honours(place: Place, model: str) -> None:
    """One call, in the profile's own field."""
    place.honours = {FIRST[model]}
    reply = await place.ask(model)
    assert reply.text == GOOD
    assert place.ways == [FIRST[model]]
    assert reply.record.attempts[0].form_method == "field"


@pytest.mark.parametrize("model", [name for name in MODELS if name not in ("llamacpp",)])
async def test_an_engine_that_ignores_every_field_ends_at_the_prompt(place: Place, model: str) -> None:
    """After two answers of prose in a row the next request uses the next way, until one works; then it stays with it."""
    place.honours = {"prompt"}
    for _ in THEN[model]:
        error = await place.ask(model)
        assert error.code == "structured_output_invalid"
    assert place.ways == [way for way in [FIRST[model], *THEN[model][:-1]] for _ in range(2)]
    reply = await place.ask(model)
    assert reply.text == GOOD
    assert place.ways[-1] == "prompt"
    assert reply.record.validation.method == "prompt"


@pytest.mark.parametrize("model", ["compatible", "anthropic", "gemini", "vllm", "openai"])
async def test_the_answer_tool_is_text_to_the_caller(place: Place, model: str) -> None:
    """Whole and streamed: the arguments are the text, the call is gone, and the end is an ordinary one."""
    place.honours, place.refuses = {"tool"}, {FIRST[model], "structured_outputs"}
    reply = await place.ask(model)
    assert (reply.text, reply.response.choices[0].finish_reason) == (GOOD, "stop")
    assert len(reply.response.choices[0].blocks) == 1
    pieces = [piece async for piece in place.pf.stream("Which?", model=model, response_format=FORM)]
    assert "".join(piece.text for piece in pieces if piece.kind == "content") == GOOD
    assert not any(piece.kind == "tool" for piece in pieces)


async def test_a_refused_field_is_told_otherwise_within_the_same_request(place: Place) -> None:
    """The caller sees no error; the record has the refused attempt; the next request begins with what works."""
    place.honours, place.refuses = {"tool"}, {"json_schema"}
    reply = await place.ask("compatible")
    assert reply.text == GOOD
    assert [(a.form_method, a.outcome) for a in reply.record.attempts] == [("field", "error"), ("tool", "ok")]
    await place.ask("compatible")
    assert place.ways == ["json_schema", "tool", "tool"]


async def test_what_was_learnt_is_forgotten_after_its_time(place: Place) -> None:
    """The engine may have been mended: the first way is tried again."""
    place.honours, place.refuses = {"tool"}, {"json_schema"}
    await place.ask("compatible")
    await place.clock.advance(101)
    place.honours, place.refuses = {"json_schema"}, set()
    assert (await place.ask("compatible")).text == GOOD
    assert place.ways[-1] == "json_schema"


async def test_one_answer_of_prose_teaches_nothing(place: Place) -> None:
    """A model may slip: a good answer between two slips begins the count anew."""
    place.honours = set()
    script = iter([PROSE, GOOD, PROSE, GOOD])
    place.transport.script = lambda _request: next(script)
    await place.ask("compatible")
    await place.ask("compatible")
    assert place.ways == ["json_schema"] * 4


async def test_each_model_learns_for_itself(place: Place) -> None:
    """What one engine ignores, another may honour."""
    place.refuses, place.honours = {"json_schema"}, {"tool", "format"}
    await place.ask("compatible")
    assert (await place.ask("ollama")).text == GOOD
    assert place.ways == ["json_schema", "tool", "format"]


async def test_it_is_shown_where_people_look(place: Place) -> None:
    """`explain` says how the model would be told, and what that was learnt from."""
    assert place.pf.machine.parts.executor.shapes.shown(place.pf.registry.cards["compatible"]) == {
        "method": "field",
        "field": "response_format",
    }
    place.honours, place.refuses = {"tool"}, {"json_schema"}
    await place.ask("compatible")
    found = await place.pf.explain("Which?", model="compatible", response_format=FORM)
    assert found.form is not None
    assert (found.form["method"], found.form["learnt"]) == ("tool", "refused")
    assert 0 < found.form["forgotten_in_s"] <= 100
    assert (await place.pf.explain("Which?", model="compatible")).form is None


async def test_a_new_revision_is_another_model(place: Place) -> None:
    """What was learnt goes with the model that taught it, and with a reload that changes something."""
    import msgspec

    parts = place.pf.machine.parts
    place.honours, place.refuses = {"tool"}, {"json_schema"}
    await place.ask("compatible")
    card = place.pf.registry.cards["compatible"]
    shapes = parts.executor.shapes
    assert shapes.learnt(card) is not None
    parts.runtime.configure(dict(place.pf.registry.cards), default_limit=8, default_queue=8)
    assert shapes.learnt(card) is not None
    newer = {**place.pf.registry.cards, "compatible": msgspec.structs.replace(card, version="2")}
    parts.runtime.configure(newer, default_limit=8, default_queue=8)
    assert shapes.learnt(card) is None
    await place.ask("compatible")
    parts.runtime.forget_forms()
    assert shapes.learnt(card) is None
    assert Current is not None


async def test_the_callers_tools_stay_beside_the_answers(place: Place) -> None:
    """With tools the model must call one of them or give the answer; where the caller forces a tool, that is the turn."""
    place.honours, place.refuses = {"tool"}, {"json_schema"}
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    await place.ask("compatible", tools=tools)
    body = place.bodies[-1]
    assert [tool["function"]["name"] for tool in body["tools"]] == ["look", "give_answer"]
    assert body["tool_choice"] == "required"
    await place.ask("compatible", tools=tools, tool_choice="required")
    assert [tool["function"]["name"] for tool in place.bodies[-1]["tools"]] == ["look"]


def rejected(message: str, status: int = 400, param: str | None = None) -> ProviderRejected:
    """Return a refusal."""
    return ProviderRejected(message, upstream_status=status, param=param)


@pytest.mark.parametrize(
    ("error", "about"),
    [
        (rejected("This response_format type is unavailable now"), True),
        (rejected("Unknown field: output_config"), True),
        (rejected('Invalid JSON payload received. Unknown name "responseJsonSchema": Cannot find field.'), True),
        (rejected("tool_choice required is not supported in thinking mode"), True),
        (rejected("json_schema is unsupported", 422), True),
        (rejected("Invalid schema for response_format 'answer': 'additionalProperties' is required to be supplied"), False),
        (rejected("This model's context is too long"), False),
        (rejected("temperature is not supported"), False),
        (rejected("response_format not supported", 403), False),
    ],
)
def test_only_a_refusal_of_the_field_is_one(error: ProviderRejected, about: bool) -> None:
    """A bad schema is the caller's, and other fields are others' business."""
    assert refuses_form(error) is about


def test_ways_depend_on_the_form_and_the_model() -> None:
    """The tool needs a schema of an object; JSON mode without a schema is a prompt where the wire has none."""
    profiles = load_profiles()
    from prefrontal.contracts.model import ModelCard

    card = ModelCard(id="m", profile="anthropic", provider="p", wire_name="m")

    def ways(profile: str, **fields: Any) -> tuple[str, ...]:
        request = ChatRequest(model="m", messages=(), response_format=ResponseFormat(**fields))
        return methods_for(request, profiles[profile], card)

    assert ways("anthropic", kind="json_schema", schema=SCHEMA) == ("field", "tool", "prompt")
    assert ways("anthropic", kind="json_schema", schema={"type": "array"}) == ("field", "prompt")
    assert ways("anthropic", kind="json_object") == ("prompt",)
    assert ways("ollama", kind="json_object") == ("field", "prompt")
    assert ways("transformers", kind="json_schema", schema=SCHEMA) == ("prompt",)
