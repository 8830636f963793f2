"""Streamed answers for clients of the Responses dialect: chunks → typed, numbered events."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Block, Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.response import Chunk, FinishReason, ToolCallDelta
from prefrontal.chat.usage import Usage
from prefrontal.contracts.wire import Dropped
from prefrontal.errors import PrefrontalError, ProviderCut
from prefrontal.providers.common import Report
from prefrontal.providers.openai.response import render_error
from prefrontal.providers.responses.freeform import freeform_names, unwrapped
from prefrontal.providers.responses.request import ResponsesRequest
from prefrontal.providers.responses.response import (
    ending,
    item_id,
    note_choices,
    output_item,
    pass_fields,
    response_object,
    text_part,
)

_ENCODE = msgspec.json.Encoder().encode


class ResponseStreamRenderer:
    """Renders one stream. One output item is open at a time; it is done when another kind of piece follows.

    `blocks` is the answer so far and `last` the response object with which the stream ended. Pieces of a call that has closed,
    which only an engine that interleaves its calls sends, still go to that call, also in the final object.
    """

    def __init__(
        self,
        request: ResponsesRequest,
        *,
        id: str,  # noqa: A002 - the wire's own name
        model: str,
        created_s: int,
        include_usage: bool = True,
    ) -> None:
        self._request = request
        self._id = id
        self._model = model
        self._created_s = created_s
        self._number = 0
        self._begun = False
        self._kind = ""
        self._item = ""
        self._items: list[dict[str, Any]] = []
        self._parts: list[Block] = []
        self._text: list[str] = []
        self._logprobs: list[Any] = []
        self._calls: dict[int, int] = {}
        self._call: ToolCallDelta | None = None
        self._arguments: dict[int, list[str]] = {}
        self._wrapped: set[int] = set()
        self._freeform = freeform_names(request.chat.tools)
        self._finish: FinishReason | None = None
        self._report = Report()
        self._passed: dict[str, Any] = {}
        self._end = b""
        self.blocks: list[Block] = []
        self.last: dict[str, Any] | None = None

    def lost(self) -> tuple[Dropped, ...]:
        """Return what of the answer so far the dialect could not carry."""
        return self._report.dropped

    # -- the protocol of renderers -------------------------------------------------------------------------------------

    def render(self, chunk: Chunk) -> bytes:
        """Return the events of a chunk."""
        begin = b"" if self._begun else self._begin()
        if chunk.choice != 0:
            note_choices(self._report)
            return begin
        out = [begin]
        if chunk.extra:
            pass_fields(self._report, chunk.extra, self._passed)
        if chunk.reasoning:
            out += [self._think(), self._delta(chunk.reasoning)]
        if chunk.signature or chunk.redacted:
            out.append(self._signed(chunk))
        if chunk.text:
            out += [self._say("output_text"), self._delta(chunk.text, (chunk.logprobs or {}).get("content"))]
        if chunk.refusal:
            out += [self._say("refusal"), self._delta(chunk.refusal)]
        out += [self._called(call) for call in chunk.tool_calls]
        if chunk.finish_reason is not None:
            self._finish = chunk.finish_reason
        return b"".join(out)

    def finish(self, usage: Usage, extension: dict[str, Any] | None) -> bytes:
        """Return the end of the stream, with the whole response in its last event."""
        begin = b"" if self._begun else self._begin()
        self._end = begin + self._close()
        status, reason = ending(self._finish)
        error = ProviderCut("The upstream ended its answer with an error.") if status == "failed" else None
        self.last = self._response(status, usage=usage, reason=reason, error=error, extension=extension, passed=self._passed)
        return self.again()

    def again(self) -> bytes:
        """Return the end of the stream once more, with `last` as it is now."""
        shown = self.last or {}
        return self._end + self._event(f"response.{shown['status']}", {"response": shown}, counted=False)

    def error(self, error: PrefrontalError) -> bytes:
        """Return the events that end a broken stream: ``response.failed``, and ``error``, on which the official SDK raises."""
        begin = b"" if self._begun else self._begin()
        self._items = [*self._items, *self._unfinished()]
        failed = self._event("response.failed", {"response": self._response("failed", error=error)})
        told = render_error(error)
        flat = {key: told["error"][key] for key in ("code", "message", "param")}
        return begin + failed + self._event("error", {**flat, **told})

    # -- events --------------------------------------------------------------------------------------------------------

    def _event(self, kind: str, fields: dict[str, Any], *, counted: bool = True) -> bytes:
        data = _ENCODE({"type": kind, "sequence_number": self._number, **fields})
        self._number += counted
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def _response(self, status: str, **more: Any) -> dict[str, Any]:
        return response_object(
            self._request,
            id=self._id,
            model=self._model,
            created_s=self._created_s,
            output=list(self._items),
            status=status,
            **more,
        )

    def _begin(self) -> bytes:
        self._begun = True
        shown = {"response": self._response("in_progress")}
        return self._event("response.created", shown) + self._event("response.in_progress", shown)

    @property
    def _at(self) -> dict[str, Any]:
        return {"item_id": self._item, "output_index": len(self._items)}

    def _open(self, kind: str, prefix: str, item: dict[str, Any]) -> bytes:
        self._kind = kind
        self._item = item_id(prefix, self._id, len(self._items))
        shown = {**item, "id": self._item, "status": "in_progress"}
        return self._event("response.output_item.added", {"output_index": len(self._items), "item": shown})

    # -- thinking ------------------------------------------------------------------------------------------------------

    def _think(self) -> bytes:
        if self._kind in ("summary", "thinking"):
            return b""
        closed = self._close()
        if self._request.summarises:
            opened = self._open("summary", "rs", {"type": "reasoning", "summary": []})
            part = {**self._at, "summary_index": 0, "part": {"type": "summary_text", "text": ""}}
            return closed + opened + self._event("response.reasoning_summary_part.added", part)
        opened = self._open("thinking", "rs", {"type": "reasoning", "summary": [], "content": []})
        part = {**self._at, "content_index": 0, "part": {"type": "reasoning_text", "text": ""}}
        return closed + opened + self._event("response.content_part.added", part)

    def _signed(self, chunk: Chunk) -> bytes:
        """A signature completes the thinking that is open, or is thinking of its own, as redacted data is."""
        if chunk.signature and self._kind in ("summary", "thinking"):
            return self._close(Reasoning(signature=chunk.signature, provider=chunk.provider))
        closed = self._close()
        block = Reasoning(
            signature=chunk.signature, redacted=bool(chunk.redacted), data=chunk.redacted or None, provider=chunk.provider
        )
        self.blocks.append(block)
        item = output_item((block,), self._request, self._id, len(self._items))
        if item is None:
            return closed
        opened = self._open("", "rs", {"type": "reasoning", "summary": []})
        return closed + opened + self._done(item)

    def _thought(self, signed: Reasoning | None) -> bytes:
        text = "".join(self._text)
        block = Reasoning(text=text) if signed is None else msgspec.structs.replace(signed, text=text)
        self.blocks.append(block)
        if self._kind == "summary":
            where = {**self._at, "summary_index": 0}
            out = self._event("response.reasoning_summary_text.done", {**where, "text": text})
            part = {"type": "summary_text", "text": text}
            out += self._event("response.reasoning_summary_part.done", {**where, "part": part})
        else:
            where = {**self._at, "content_index": 0}
            out = self._event("response.reasoning_text.done", {**where, "text": text})
            part = {"type": "reasoning_text", "text": text}
            out += self._event("response.content_part.done", {**where, "part": part})
        item = output_item((block,), self._request, self._id, len(self._items))
        return out + self._done(item or {})

    # -- messages ------------------------------------------------------------------------------------------------------

    def _say(self, kind: str) -> bytes:
        if self._kind == kind:
            return b""
        if self._kind in ("output_text", "refusal"):
            out = self._end_part()
        else:
            out = self._close() + self._open(kind, "msg", {"type": "message", "role": "assistant", "content": []})
        self._kind = kind
        part = text_part("") if kind == "output_text" else {"type": "refusal", "refusal": ""}
        return out + self._event("response.content_part.added", {**self._at, "content_index": len(self._parts), "part": part})

    def _end_part(self) -> bytes:
        text = "".join(self._text)
        where = {**self._at, "content_index": len(self._parts)}
        part: dict[str, Any]
        if self._kind == "output_text":
            part = text_part(text, self._logprobs)
            out = self._event("response.output_text.done", {**where, "text": text, "logprobs": self._logprobs})
            self._parts.append(Text(text=text))
        else:
            part = {"type": "refusal", "refusal": text}
            out = self._event("response.refusal.done", {**where, "refusal": text})
            self._parts.append(Refusal(text=text))
        self._text = []
        return out + self._event("response.content_part.done", {**where, "part": part})

    def _delta(self, text: str, logprobs: list[Any] | None = None) -> bytes:
        self._text.append(text)
        match self._kind:
            case "output_text":
                self._logprobs += logprobs or ()
                fields = {"content_index": len(self._parts), "delta": text, "logprobs": logprobs or []}
            case "summary":
                fields = {"summary_index": 0, "delta": text}
            case "thinking":
                fields = {"content_index": 0, "delta": text}
            case _:
                fields = {"content_index": len(self._parts), "delta": text}
        return self._event(_DELTAS[self._kind], {**self._at, **fields})

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _called(self, call: ToolCallDelta) -> bytes:
        out = b""
        if call.index not in self._calls:
            out = self._close()
            number = len(self._items)
            self._calls[call.index], self._arguments[call.index] = number, []
            self._call = msgspec.structs.replace(call, id=call.id or item_id("call", self._id, number), arguments="")
            named = {"call_id": self._call.id, "name": call.name or ""}
            if call.name in self._freeform:
                self._wrapped.add(call.index)
                out += self._open("call", "ctc", {"type": "custom_tool_call", **named, "input": ""})
            else:
                out += self._open("call", "fc", {"type": "function_call", **named, "arguments": ""})
        if not call.arguments:
            return out
        self._arguments[call.index].append(call.arguments)
        number = self._calls[call.index]
        if number < len(self._items):
            self._late(call, number)
        if call.index in self._wrapped:
            return out  # text inside JSON: it is known when it is whole
        where = {"item_id": item_id("fc", self._id, number), "output_index": number}
        return out + self._event("response.function_call_arguments.delta", {**where, "delta": call.arguments})

    def _late(self, call: ToolCallDelta, number: int) -> None:
        """Add to a call that is done already."""
        arguments = "".join(self._arguments[call.index])
        freeform = self._items[number]["type"] == "custom_tool_call"
        more = {"input": unwrapped(arguments)} if freeform else {"arguments": arguments}
        item = self._items[number] = {**self._items[number], **more}
        place = next(i for i, b in enumerate(self.blocks) if isinstance(b, ToolCall) and b.id == item["call_id"])
        self.blocks[place] = msgspec.structs.replace(self.blocks[place], arguments=arguments)

    def _call_done(self) -> bytes:
        call = self._call
        assert call is not None
        arguments = "".join(self._arguments[call.index])
        block = ToolCall(id=call.id or "", name=call.name or "", arguments=arguments, signature=call.signature)
        self.blocks.append(block)
        done = {**self._at, "name": block.name, "arguments": arguments}
        item = output_item((block,), self._request, self._id, len(self._items)) or {}
        if item.get("type") == "custom_tool_call":
            out = self._event("response.custom_tool_call_input.delta", {**self._at, "delta": item["input"]})
            out += self._event("response.custom_tool_call_input.done", {**self._at, "input": item["input"]})
            return out + self._done(item)
        return self._event("response.function_call_arguments.done", done) + self._done(item)

    # -- the end of an item --------------------------------------------------------------------------------------------

    def _close(self, signed: Reasoning | None = None) -> bytes:
        match self._kind:
            case "":
                return b""
            case "call":
                return self._call_done()
            case "summary" | "thinking":
                return self._thought(signed)
        out = self._end_part()
        self.blocks += self._parts
        item = output_item(tuple(self._parts), self._request, self._id, len(self._items), logprobs=self._logprobs)
        return out + self._done(item or {})

    def _done(self, item: dict[str, Any]) -> bytes:
        out = self._event("response.output_item.done", {"output_index": len(self._items), "item": item})
        self._items.append(item)
        self._kind, self._item, self._text, self._parts, self._logprobs = "", "", [], [], []
        return out

    def _unfinished(self) -> list[dict[str, Any]]:
        """The item that a broken stream leaves open, as far as it came."""
        text = "".join(self._text)
        blocks: list[Block] = list(self._parts)
        if self._kind in ("summary", "thinking"):
            blocks = [Reasoning(text=text)]
        elif self._kind == "output_text":
            blocks.append(Text(text=text))
        elif self._kind == "refusal":
            blocks.append(Refusal(text=text))
        elif self._kind == "call" and self._call is not None:
            arguments = "".join(self._arguments[self._call.index])
            blocks = [ToolCall(id=self._call.id or "", name=self._call.name or "", arguments=arguments)]
        item = output_item(tuple(blocks), self._request, self._id, len(self._items)) if blocks else None
        return [] if item is None else [{**item, "status": "incomplete"}]


_DELTAS = {
    "output_text": "response.output_text.delta",
    "refusal": "response.refusal.delta",
    "summary": "response.reasoning_summary_text.delta",
    "thinking": "response.reasoning_text.delta",
}
