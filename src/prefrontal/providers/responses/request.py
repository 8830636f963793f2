"""Requests of ``POST /v1/responses``: body → struct → body is the identity on valid input; and the chat request they stand for.

What this dialect asks of the server and not of a model (`store`, `previous_response_id`, `include` …) stays beside the chat
request. What nothing here can do is refused, or is handed on in `extra`, where every upstream's translation reports it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import NO_HINTS, NO_SAMPLING, ChatRequest, Message, ResponseFormat, Sampling, Tool, ToolChoice
from prefrontal.errors import InvalidRequest
from prefrontal.providers.hints import FIELD as HINTS_FIELD
from prefrontal.providers.hints import parse_hints
from prefrontal.providers.openai.check import bad_value, decode_object, missing, need_count, need_object, need_string, wrong_type
from prefrontal.providers.openai.tools import check_schema
from prefrontal.providers.responses.freeform import as_function, has_grammar
from prefrontal.providers.responses.items import join_turns, parse_items, render_items
from prefrontal.providers.responses.parts import DIALECT

LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"
_NOT_HERE = {
    "background": "Answers are given at once or streamed, not in the background.",
    "conversation": "There are no conversation objects here; 'previous_response_id' continues a conversation.",
    "prompt": "There are no stored prompts here; send the text.",
}
_ANSWERED = frozenset(
    {"store", "previous_response_id", "include", "truncation", "background", "stream_options", "prompt_cache_key"}
)
"""Fields whose meaning the gateway itself gives them, so that no upstream has to."""


class ResponsesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    `chat` has one message an input item and no instructions; `chat_request` makes of it what a model is asked. `form` says how
    `input` was written. `own` holds verbatim every top-level field, or part of one, that has no place elsewhere.
    """

    chat: ChatRequest
    form: str = "items"
    instructions: str | None = None
    previous_id: str | None = None
    store: bool = True
    include: tuple[str, ...] = ()
    own: dict[str, Any] = {}

    @property
    def seals(self) -> bool:
        """Whether the client wants its thinking sealed, to keep the conversation itself."""
        return ENCRYPTED in self.include

    @property
    def summarises(self) -> bool:
        """Whether thinking is to be given as a summary. No model's thinking is shortened for it."""
        wanted = self.own.get("reasoning") or {}
        return wanted.get("summary") is not None or wanted.get("generate_summary") is not None


def parse_responses_request(body: bytes) -> ResponsesRequest:
    """Return the request in `body`.

    Raises:
        InvalidRequest: not a JSON object, a field of a wrong type, or one that asks for what there is not here.
    """
    own = decode_object(body)
    for name, why in _NOT_HERE.items():
        if own.get(name):
            raise InvalidRequest(f"'{name}' is not supported. {why}", param=name)
    messages, form = _input(own)
    _check_own(own)
    return ResponsesRequest(
        chat=_chat(own, messages),
        form=form,
        instructions=_take(own, "instructions", str, "a string"),
        previous_id=own.get("previous_response_id"),
        store=own.get("store") is not False,
        include=tuple(own.get("include") or ()),
        own=own,
    )


def _chat(own: dict[str, Any], messages: tuple[Message, ...]) -> ChatRequest:
    """Take out of `own` what a chat request has a place for."""
    model = _take(own, "model", str, "a string")
    if not model:
        raise missing("model", hint='Name a model, or "auto" to let Prefrontal choose one.')
    hints = parse_hints(own.pop(HINTS_FIELD)) if HINTS_FIELD in own else NO_HINTS
    stream = _take(own, "stream", bool, "a boolean")
    cap = _take(own, "max_output_tokens", int, "an integer")
    if cap is not None:
        need_count(cap, "max_output_tokens")
    warm, top_p = _number(own, "temperature"), _number(own, "top_p")
    return ChatRequest(
        model=model,
        messages=messages,
        tools=_tools(own),
        tool_choice=_tool_choice(own),
        parallel_tool_calls=_take(own, "parallel_tool_calls", bool, "a boolean"),
        response_format=_format(own),
        sampling=NO_SAMPLING if warm is None and top_p is None else Sampling(temperature=warm, top_p=top_p),
        max_output_tokens=cap,
        cap_field=None if cap is None else "max_output_tokens",
        reasoning_effort=_effort(own),
        stream=bool(stream),
        stream_given=stream is not None,
        include_usage=True,
        metadata=_take(own, "metadata", dict, "an object"),
        user=_take(own, "user", str, "a string"),
        hints=hints,
        dialect=DIALECT,
    )


def _check_own(own: dict[str, Any]) -> None:
    """Check the types of the fields the gateway reads itself. Raises InvalidRequest."""
    include = own.get("include")
    if include is not None and not (isinstance(include, list) and all(isinstance(word, str) for word in include)):
        raise wrong_type("include", "an array of strings", include)
    for name, kind, expected in _OWN_TYPES:
        value = own.get(name)
        if value is not None and type(value) is not kind:
            raise wrong_type(name, expected, value)


_OWN_TYPES: tuple[tuple[str, type, str], ...] = (
    ("store", bool, "a boolean"),
    ("previous_response_id", str, "a string"),
    ("stream_options", dict, "an object"),
    ("truncation", str, "a string"),
    ("prompt_cache_key", str, "a string"),
    ("top_logprobs", int, "an integer"),
)


def _take(own: dict[str, Any], name: str, kind: type, expected: str) -> Any:
    """Take a field of one type; null stays, so that it comes back. Raises InvalidRequest."""
    value = own.get(name)
    if value is None:
        return None
    if type(value) is not kind:
        raise wrong_type(name, expected, value)
    return own.pop(name)


def _number(own: dict[str, Any], name: str) -> float | None:
    value = own.get(name)
    if value is None:
        return None
    if type(value) is not float and type(value) is not int:
        raise wrong_type(name, "a number", value)
    del own[name]
    return value


def _input(own: dict[str, Any]) -> tuple[tuple[Message, ...], str]:
    value = own.get("input")
    if value is None:
        if own.get("previous_response_id") is None:
            raise missing("input")
        return (), "absent"
    del own["input"]
    if isinstance(value, str):
        return (Message(role="user", blocks=(Text(text=value),)),), "text"
    if not isinstance(value, list):
        raise wrong_type("input", "a string or an array of objects", value)
    if not value and own.get("previous_response_id") is None:
        raise InvalidRequest("Invalid 'input': empty array. Expected at least one item.", param="input")
    return parse_items(value), "items"


def _tools(own: dict[str, Any]) -> tuple[Tool, ...]:
    value = own.get("tools")
    if value is not None and not isinstance(value, list):
        raise wrong_type("tools", "an array of objects", value)
    if not value:
        return ()
    del own["tools"]
    return tuple([_tool(need_object(raw, f"tools[{i}]"), f"tools[{i}]") for i, raw in enumerate(value)])


def _tool(raw: dict[str, Any], where: str) -> Tool:
    kind = need_string(raw.get("type"), f"{where}.type")
    if kind != "function":
        name = raw.get("name")
        return Tool(name=name if isinstance(name, str) else kind, kind=kind, extra={k: v for k, v in raw.items() if k != "type"})
    if not need_string(raw.get("name"), f"{where}.name"):
        raise InvalidRequest(f"Invalid '{where}.name': empty string.", param=f"{where}.name")
    known: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in ("type", "name"):
            (known if key in ("description", "parameters", "strict") and value is not None else left)[key] = value
    if "description" in known:
        need_string(known["description"], f"{where}.description")
    if type(known.get("strict", True)) is not bool:
        raise wrong_type(f"{where}.strict", "a boolean", known["strict"])
    if "parameters" in known:
        check_schema(known["parameters"], f"{where}.parameters")
    return Tool(name=raw["name"], extra=left or None, **known)


def _tool_choice(own: dict[str, Any]) -> ToolChoice | None:
    value = own.get("tool_choice")
    if value is None:
        return None
    del own["tool_choice"]
    if isinstance(value, str):
        if value not in ("none", "auto", "required"):
            raise bad_value("tool_choice", value, ("none", "auto", "required"))
        return ToolChoice(mode=value)  # type: ignore[arg-type]  # one of the three, checked above
    choice = need_object(value, "tool_choice")
    kind = need_string(choice.get("type"), "tool_choice.type")
    if kind in ("function", "custom"):
        name = need_string(choice.get("name"), "tool_choice.name")
        return ToolChoice(mode="tool", name=name, extra=None if len(choice) == 2 and kind == "function" else choice)
    return ToolChoice(mode="required" if choice.get("mode") == "required" else "auto", extra=choice)


def _format(own: dict[str, Any]) -> ResponseFormat | None:
    """Take ``text.format``; the rest of ``text`` stays."""
    if own.get("text") is None:
        return None
    text = dict(need_object(own["text"], "text"))
    if text.get("format") is None:
        return None
    raw = need_object(text["format"], "text.format")
    kind = need_string(raw.get("type"), "text.format.type")
    if kind not in ("text", "json_object", "json_schema"):
        raise bad_value("text.format.type", kind, ("text", "json_object", "json_schema"))
    known: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for key, value in raw.items():
        if key != "type":
            taken = kind == "json_schema" and key in ("name", "schema", "strict", "description") and value is not None
            (known if taken else left)[key] = value
    if kind == "json_schema":
        need_string(known.get("name"), "text.format.name")
        check_schema(known.get("schema"), "text.format.schema")
        if type(known.get("strict", True)) is not bool:
            raise wrong_type("text.format.strict", "a boolean", known["strict"])
        if "description" in known:
            need_string(known["description"], "text.format.description")
    del text["format"]
    own["text"] = text
    return ResponseFormat(kind=kind, extra=left or None, **known)  # type: ignore[arg-type]  # one of the three, checked above


def _effort(own: dict[str, Any]) -> str | None:
    """Take ``reasoning.effort``; the rest of ``reasoning`` stays."""
    if own.get("reasoning") is None:
        return None
    reasoning = dict(need_object(own["reasoning"], "reasoning"))
    if reasoning.get("effort") is None:
        return None
    effort = need_string(reasoning.pop("effort"), "reasoning.effort")
    own["reasoning"] = reasoning
    return effort


def render_responses_body(request: ResponsesRequest) -> dict[str, Any]:
    """Return the JSON object the request came from, without ``x_prefrontal``."""
    chat = request.chat
    body: dict[str, Any] = {"model": chat.model, **request.own}
    if request.form == "text":
        body["input"] = "".join([block.text for block in chat.messages[0].blocks if isinstance(block, Text)])
    elif request.form == "items":
        body["input"] = render_items(chat.messages)
    if chat.stream_given:
        body["stream"] = chat.stream
    given = {
        "instructions": request.instructions,
        "temperature": chat.sampling.temperature,
        "top_p": chat.sampling.top_p,
        "max_output_tokens": chat.max_output_tokens,
        "parallel_tool_calls": chat.parallel_tool_calls,
        "metadata": chat.metadata,
        "user": chat.user,
    }
    body.update({key: value for key, value in given.items() if value is not None})
    if chat.tools:
        body["tools"] = render_tools(chat.tools)
    if chat.tool_choice is not None:
        body["tool_choice"] = render_tool_choice(chat.tool_choice)
    if chat.response_format is not None:
        body["text"] = {**body["text"], "format": render_format(chat.response_format)}
    if chat.reasoning_effort is not None:
        body["reasoning"] = {**body["reasoning"], "effort": chat.reasoning_effort}
    return body


def render_tools(tools: tuple[Tool, ...]) -> list[dict[str, Any]]:
    """Return the wire's tools."""
    return [_rendered(tool) for tool in tools]


def _rendered(tool: Tool) -> dict[str, Any]:
    if tool.kind != "function":
        return {"type": tool.kind, **(tool.extra or {})}
    given = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    known = {key: value for key, value in given.items() if value is not None}
    return {"type": "function", "name": tool.name, **known, **(tool.extra or {})}


def render_tool_choice(choice: ToolChoice) -> Any:
    """Return the wire's tool_choice."""
    if choice.extra is not None:
        return choice.extra
    return {"type": "function", "name": choice.name} if choice.mode == "tool" else choice.mode


def render_format(form: ResponseFormat) -> dict[str, Any]:
    """Return the wire's ``text.format``."""
    given = {"name": form.name, "schema": form.schema, "strict": form.strict, "description": form.description}
    return {"type": form.kind, **{key: value for key, value in given.items() if value is not None}, **(form.extra or {})}


def chat_request(request: ResponsesRequest, history: tuple[Message, ...] = ()) -> ChatRequest:
    """Return what a model is asked: instructions, `history` (the turns of earlier responses), the input's items as turns.

    A narrowed choice of tools becomes those tools alone. Fields that no model of ours takes are put into `extra`.
    """
    chat = request.chat
    system = () if request.instructions is None else (Message(role="system", blocks=(Text(text=request.instructions),)),)
    extra = _for_upstream(request)
    tools, choice = chat.tools, chat.tool_choice
    if choice is not None and choice.extra is not None and choice.mode != "tool":
        allowed = choice.extra.get("tools") if choice.extra.get("type") == "allowed_tools" else None
        if isinstance(allowed, list):
            names = {name for tool in allowed if isinstance(tool, dict) and isinstance(name := tool.get("name"), str)}
            tools = tuple([tool for tool in tools if tool.name in names])
        else:
            extra["tool_choice"] = choice.extra
    if choice is not None:
        choice = msgspec.structs.replace(choice, extra=None)
    if any(map(has_grammar, tools)):
        extra["tools[].format"] = True
    hints = chat.hints
    session = request.own.get("prompt_cache_key")
    if hints.session is None and isinstance(session, str):
        hints = msgspec.structs.replace(hints, session=session)
    return msgspec.structs.replace(
        chat,
        messages=(*system, *join_turns((*history, *chat.messages))),
        tools=tuple(map(as_function, tools)),
        tool_choice=choice,
        sampling=_sampling(request),
        hints=hints,
        extra=extra or None,
    )


def _sampling(request: ResponsesRequest) -> Sampling:
    sampling, top = request.chat.sampling, request.own.get("top_logprobs")
    if LOGPROBS not in request.include:
        return sampling
    return msgspec.structs.replace(sampling, logprobs=True, top_logprobs=top if type(top) is int else None)


def _for_upstream(request: ResponsesRequest) -> dict[str, Any]:
    """What was asked for and nobody here can do, under names that a report can show."""
    own = request.own
    found = {
        k: v for k, v in own.items() if v is not None and k not in _ANSWERED and k not in ("reasoning", "text", "top_logprobs")
    }
    for name in ("reasoning", "text"):
        left = own.get(name) or {}
        found |= {f"{name}.{k}": v for k, v in left.items() if v is not None and k not in ("summary", "generate_summary")}
    if own.get("truncation") not in (None, "disabled"):
        found["truncation"] = own["truncation"]
    if own.get("top_logprobs") is not None and LOGPROBS not in request.include:
        found["top_logprobs"] = own["top_logprobs"]
    if (own.get("stream_options") or {}).get("include_obfuscation"):
        found["stream_options.include_obfuscation"] = True
    found |= {f"include.{word}": True for word in request.include if word not in (LOGPROBS, ENCRYPTED)}
    found.pop("tools", None)
    return found
