"""The ways a model can be told the form of its answer, and how a request looks in each.

``field``    the profile's own field (`Profile.structured_output`); what most engines honour
a field      another field that the engine may honour: ``structured_outputs``, ``json_schema``, ``grammar``
``tool``     a tool that takes the answer as its arguments and has to be called; the call becomes the answer's text
``prompt``   the schema in a system message; only validation holds it

A profile names those after the first in the order they are tried (`Profile.structured_fallback`).
"""

from __future__ import annotations

import re
from typing import cast

import msgspec

from prefrontal.chat.blocks import Block, Text, ToolCall
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, Tool, ToolChoice
from prefrontal.chat.response import ChatResponse, Choice, Chunk
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import ProviderRejected
from prefrontal.prompts import filled, template
from prefrontal.providers.base import StreamParser, Target
from prefrontal.providers.profile import Profile, StructuredField

FIELD, TOOL, PROMPT = "field", "tool", "prompt"

ANSWER_TOOL = "give_answer"
"""The name of the tool that takes the answer."""

_ABOUT_FORM = re.compile(
    r"response_?format|json[ _]?schema|json[ _]?object|structured[ _]?output|guided_json|output_config|output_format"
    r"|response_?mime_?type|response_?(json_?)?schema|grammar|\bformat\b|tool_choice|\btools?\b|function call",
    re.IGNORECASE,
)
_NOT_HERE = re.compile(
    r"not (currently )?(supported|available|allowed|permitted|recogni[sz]ed|implemented)|unsupported|unavailable|unknown"
    r"|unexpected|unrecogni[sz]ed|does not (support|take|accept|allow)|doesn't support|extra (inputs|fields)"
    r"|cannot find field|no such field"
    r"|only .{0,40}(supported|allowed)|must be .{0,20}(text|json_object)",
    re.IGNORECASE,
)


def wants_form(request: ChatRequest) -> ResponseFormat | None:
    """Return the form asked for, where it is more than text."""
    wanted = request.response_format
    return None if wanted is None or wanted.kind == "text" else wanted


def methods_for(request: ChatRequest, profile: Profile, card: ModelCard) -> tuple[str, ...]:
    """Return the ways to tell this model this form, best first; never empty."""
    wanted = request.response_format
    if wanted is None:
        return (FIELD,)
    if wanted.kind == "json_object":
        return (PROMPT,) if profile.structured_output in ("output_config", "none") else (FIELD, PROMPT)
    first = (FIELD,) if profile.structured_output != "none" else ()
    kept = [name for name in profile.structured_fallback if name != TOOL or _tool_can(wanted, card)]
    return (*first, *kept, *(() if PROMPT in kept else (PROMPT,)))


def _tool_can(wanted: ResponseFormat, card: ModelCard) -> bool:
    return card.can("tools") is not False and (wanted.schema or {}).get("type") == "object"


def told(request: ChatRequest, target: Target, method: str) -> tuple[ChatRequest, Target]:
    """Return the request and the target so that rendering tells the form by `method`."""
    wanted = request.response_format
    if wanted is None or method == FIELD:
        return request, target
    if method == PROMPT:
        return _by_prompt(request, wanted), target
    if method == TOOL:
        return _by_tool(request, wanted), target
    profile = msgspec.structs.replace(target.profile, structured_output=cast("StructuredField", method))
    return request, msgspec.structs.replace(target, profile=profile)


def _by_prompt(request: ChatRequest, wanted: ResponseFormat) -> ChatRequest:
    if wanted.kind == "json_object" or wanted.schema is None:
        text = template("structured_object.v1")
    else:
        text = filled("structured_prompt.v1", schema=msgspec.json.encode(wanted.schema).decode())
    messages = request.messages
    place = next((n for n, message in enumerate(messages) if message.role not in ("system", "developer")), len(messages))
    own = Message(role="system", blocks=(Text(text=text),))
    return msgspec.structs.replace(request, messages=(*messages[:place], own, *messages[place:]), response_format=None)


def _by_tool(request: ChatRequest, wanted: ResponseFormat) -> ChatRequest:
    tool = Tool(name=ANSWER_TOOL, description=wanted.description or template("structured_tool.v1"), parameters=wanted.schema)
    asked = request.tool_choice
    may_call = bool(request.tools) and (asked is None or asked.mode != "none")
    if may_call and asked is not None and asked.mode in ("required", "tool"):
        return msgspec.structs.replace(request, response_format=None)  # this turn is to be a call of the caller's tools
    choice = ToolChoice(mode="required") if may_call else ToolChoice(mode="tool", name=ANSWER_TOOL)
    tools = (*request.tools, tool) if may_call else (tool,)
    return msgspec.structs.replace(request, tools=tools, tool_choice=choice, response_format=None)


def plain(response: ChatResponse, method: str | None) -> ChatResponse:
    """Return the answer as its caller expects it: what came as a call of the answer's tool is text."""
    if method != TOOL or not any(_answers(block) for choice in response.choices for block in choice.blocks):
        return response
    return msgspec.structs.replace(response, choices=tuple([_plain_choice(choice) for choice in response.choices]))


def _answers(block: Block) -> bool:
    return isinstance(block, ToolCall) and block.name == ANSWER_TOOL


def _plain_choice(choice: Choice) -> Choice:
    call = next((block for block in choice.blocks if isinstance(block, ToolCall) and block.name == ANSWER_TOOL), None)
    if call is None:
        return choice
    # words beside the call are the model talking about its answer, which the caller did not ask for
    kept: list[Block] = [block for block in choice.blocks if not isinstance(block, Text) and not _answers(block)]
    others = any(isinstance(block, ToolCall) for block in kept)
    blocks = (*kept, Text(text=call.arguments))
    finish = "stop" if choice.finish_reason == "tool_calls" and not others else choice.finish_reason
    raw = "stop" if finish == "stop" else choice.raw_finish
    return msgspec.structs.replace(choice, blocks=blocks, finish_reason=finish, raw_finish=raw, form="text")


class PlainParser:
    """A stream parser whose chunks carry the arguments of the answer's tool as text.

    Words that come before are held until it is known whether the tool is called: beside the answer they are left out.
    """

    def __init__(self, inner: StreamParser) -> None:
        self._inner = inner
        self._answers: set[tuple[int, int]] = set()
        self._others: set[int] = set()
        self._words: dict[int, str] = {}

    def feed(self, data: bytes) -> list[Chunk]:
        """See `StreamParser.feed`."""
        return [self._plain(chunk) for chunk in self._inner.feed(data)]

    def finish(self) -> list[Chunk]:
        """See `StreamParser.finish`."""
        out = [self._plain(chunk) for chunk in self._inner.finish()]
        return [*out, *[Chunk(choice=choice, text=text) for choice, text in self._words.items() if text]]

    def _plain(self, chunk: Chunk) -> Chunk:
        if chunk.text:
            self._words[chunk.choice] = self._words.get(chunk.choice, "") + chunk.text
            chunk = msgspec.structs.replace(chunk, text="", parts=())
        if chunk.tool_calls:
            text, kept = [], []
            for call in chunk.tool_calls:
                place = (chunk.choice, call.index)
                if call.name == ANSWER_TOOL:
                    self._answers.add(place)
                if place in self._answers:
                    text.append(call.arguments)
                else:
                    kept.append(call)
                    self._others.add(chunk.choice)
            chunk = msgspec.structs.replace(chunk, tool_calls=tuple(kept), text="".join(text))
        if chunk.finish_reason is None:
            return chunk
        words = self._words.pop(chunk.choice, "")
        if not any(choice == chunk.choice for choice, _ in self._answers):
            return msgspec.structs.replace(chunk, text=words + chunk.text)
        if chunk.finish_reason == "tool_calls" and chunk.choice not in self._others:
            chunk = msgspec.structs.replace(chunk, finish_reason="stop", raw_finish="stop")
        return chunk


def plain_parser(inner: StreamParser, method: str | None) -> StreamParser:
    """Return a parser whose chunks are what the caller expects, whatever way the form was told."""
    return PlainParser(inner) if method == TOOL else inner


def refuses_form(error: ProviderRejected) -> bool:
    """Return whether an upstream refused the way the form was told, and not the caller's schema or another field."""
    if error.upstream_status not in (400, 404, 422, 500, 501):
        return False
    words = f"{error.param or ''} {error.message}"
    about = _ABOUT_FORM.search(words) is not None
    return about and _NOT_HERE.search(words) is not None and "invalid schema" not in words.lower()
