"""Answers in the Responses dialect: blocks → output items, the response object around them, and what it cannot carry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prefrontal.chat.blocks import Audio, Block, Opaque, Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.response import ChatResponse, Choice, FinishReason
from prefrontal.chat.usage import Usage
from prefrontal.contracts.wire import Dropped
from prefrontal.errors import AllAttemptsFailed, PrefrontalError
from prefrontal.providers.common import Report
from prefrontal.providers.responses.freeform import freeform_names, unwrapped
from prefrontal.providers.responses.request import ResponsesRequest, render_format, render_tool_choice, render_tools
from prefrontal.providers.responses.seals import seal

NO_FIELD = "a response of this dialect has no such field"
Item = dict[str, Any]

PLACE_DIGITS = 6
"""Digits of an output item's number (assumed: no answer has a million items)."""


def item_id(prefix: str, response_id: str, number: int) -> str:
    """Return the id of the output item `number` of a response; the response's own id can be read from it (`place_of`)."""
    return f"{prefix}_{response_id.removeprefix('resp_')}_{number}"


def place_of(found: str) -> tuple[str, int] | None:
    """Return (response id, output index) of an item's id; None for one that is not ours."""
    kind, _, rest = found.partition("_")
    response, _, number = rest.rpartition("_")
    numbered = number.isascii() and number.isdigit() and len(number) <= PLACE_DIGITS
    return (f"resp_{response}", int(number)) if kind in ("rs", "msg", "fc", "ctc") and response and numbered else None


def groups(blocks: tuple[Block, ...]) -> Iterator[tuple[Block, ...]]:
    """Yield the blocks of each output item: neighbouring texts and refusals are one message."""
    said: list[Block] = []
    for block in blocks:
        if isinstance(block, Text | Refusal):
            said.append(block)
            continue
        if said:
            yield tuple(said)
            said = []
        if isinstance(block, Reasoning | ToolCall):
            yield (block,)
    if said:
        yield tuple(said)


def output_items(blocks: tuple[Block, ...], request: ResponsesRequest, response_id: str, logprobs: Any = None) -> list[Item]:
    """Return the output items of an answer."""
    items: list[Item] = []
    for group in groups(blocks):
        item = output_item(group, request, response_id, len(items), logprobs=logprobs)
        if item is not None:
            items.append(item)
    return items


def output_item(
    group: tuple[Block, ...], request: ResponsesRequest, response_id: str, number: int, logprobs: Any = None
) -> Item | None:
    """Return one output item; None for thinking of which there is nothing to show."""
    first = group[0]
    if isinstance(first, Reasoning):
        return _reasoning(first, request, item_id("rs", response_id, number))
    if isinstance(first, ToolCall):
        if first.name in freeform_names(request.chat.tools):
            own = {"call_id": first.id, "name": first.name, "input": unwrapped(first.arguments)}
            return {"type": "custom_tool_call", "id": item_id("ctc", response_id, number), **own, "status": "completed"}
        fields = {"call_id": first.id, "name": first.name, "arguments": first.arguments}
        return {"type": "function_call", "id": item_id("fc", response_id, number), **fields, "status": "completed"}
    parts = [text_part(b.text, logprobs) if isinstance(b, Text) else {"type": "refusal", "refusal": b.text} for b in group]  # type: ignore[union-attr]  # a group without thinking and calls has only texts and refusals
    where = item_id("msg", response_id, number)
    return {"type": "message", "id": where, "status": "completed", "role": "assistant", "content": parts}


def text_part(text: str, logprobs: Any = None) -> Item:
    """Return a part of output text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or []}


def _reasoning(block: Reasoning, request: ResponsesRequest, where: str) -> Item | None:
    if not block.text and not request.seals:
        return None
    item: Item = {"type": "reasoning", "id": where, "summary": []}
    if block.text and request.summarises:
        item["summary"] = [{"type": "summary_text", "text": block.text}]
    elif block.text:
        item["content"] = [{"type": "reasoning_text", "text": block.text}]
    item["encrypted_content"] = seal(block) if request.seals else None
    item["status"] = "completed"
    return item


def response_object(
    request: ResponsesRequest,
    *,
    id: str,  # noqa: A002 - the wire's own name
    model: str,
    created_s: int,
    output: list[Item],
    status: str,
    usage: Usage | None = None,
    reason: str | None = None,
    error: PrefrontalError | None = None,
    extension: dict[str, Any] | None = None,
    passed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the response object: what was asked for is repeated in it, as the API does.

    reason: why it is incomplete. passed: fields of the upstream's answer that this code does not know.
    """
    chat = request.chat
    shown: Item = {
        "id": id,
        "object": "response",
        "created_at": created_s,
        "status": status,
        "background": False,
        "error": None if error is None else _error(error),
        "incomplete_details": None if reason is None else {"reason": reason},
        "instructions": request.instructions,
        "max_output_tokens": chat.max_output_tokens,
        "model": model,
        "output": output,
        "parallel_tool_calls": chat.parallel_tool_calls is not False,
        "previous_response_id": request.previous_id,
        "reasoning": _asked_reasoning(request),
        "store": request.store,
        "temperature": chat.sampling.temperature,
        "text": _text(request),
        "tool_choice": "auto" if chat.tool_choice is None else render_tool_choice(chat.tool_choice),
        "tools": render_tools(chat.tools),
        "top_p": chat.sampling.top_p,
        "truncation": "disabled",
        "usage": None if usage is None or usage.source == "unknown" else usage_object(usage),
        "user": chat.user,
        "metadata": chat.metadata or {},
    }
    if extension is not None:
        shown["x_prefrontal"] = extension
    return _with_passed(shown, passed or {})


def _with_passed(shown: Item, passed: Item) -> Item:
    """Return the object with the upstream's own fields, which win over nothing of ours."""
    more = dict(passed)
    if shown["usage"] is not None:
        shown["usage"] = {**more.pop("usage", {}), **shown["usage"]}
    return {**more, **shown}


def _asked_reasoning(request: ResponsesRequest) -> Item:
    return {"effort": request.chat.reasoning_effort, "summary": (request.own.get("reasoning") or {}).get("summary")}


def _text(request: ResponsesRequest) -> Item:
    form = request.chat.response_format
    return {**(request.own.get("text") or {}), "format": {"type": "text"} if form is None else render_format(form)}


def _error(error: PrefrontalError) -> Item:
    shown = error.last if isinstance(error, AllAttemptsFailed) else error
    return {"code": shown.code, "message": error.text}


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the usage object of this dialect."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": usage.cache_write_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def ending(finish: FinishReason | None) -> tuple[str, str | None]:
    """Return (status, why it is incomplete) for the end of an answer."""
    match finish:
        case "length":
            return "incomplete", "max_output_tokens"
        case "content_filter":
            return "incomplete", "content_filter"
        case "pause":
            return "incomplete", "pause"
        case "error":
            return "failed", None
        case _:
            return "completed", None


def whole_response(
    request: ResponsesRequest,
    response: ChatResponse,
    *,
    id: str,  # noqa: A002 - the wire's own name
    model: str,
    created_s: int,
    extension: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the response object of a whole answer; its first choice counts."""
    choice = response.choices[0] if response.choices else Choice()
    status, reason = ending(choice.finish_reason)
    return response_object(
        request,
        id=id,
        model=model,
        created_s=created_s,
        output=output_items(choice.blocks, request, id, (choice.logprobs or {}).get("content")),
        status=status,
        reason=reason,
        usage=response.usage,
        extension=extension,
        passed=response.extra,
    )


def lost_in_response(response: ChatResponse) -> tuple[Dropped, ...]:
    """Return what of an answer this dialect cannot carry."""
    report = Report()
    if len(response.choices) > 1:
        note_choices(report)
    for choice in response.choices[:1]:
        note_fields(report, choice.extra)
        for block in choice.blocks:
            if isinstance(block, Audio):
                report.drop("answer.audio", "this dialect carries no sound")
            elif isinstance(block, Opaque):
                report.drop(f"answer.content.{block.dialect}", "a block that only its own dialect understands")
    return report.dropped


def note_choices(report: Report) -> None:
    """Note that there was more than one choice."""
    report.drop("answer.choices", "a response is one answer: the first was given")


def note_fields(report: Report, extra: dict[str, Any] | None) -> None:
    """Note fields of a choice that have no place here; those of its message or delta by their own names."""
    for key, value in (extra or {}).items():
        inner = isinstance(value, dict) and key in ("message", "delta", "choice")
        for name in value if inner else (key,):
            report.drop(f"answer.{name}", NO_FIELD)


def pass_fields(report: Report, extra: dict[str, Any], passed: dict[str, Any]) -> None:
    """Take a chunk's unknown fields into `passed`; note those of a choice, and pieces of another dialect, as lost."""
    for key, value in extra.items():
        if key in ("delta", "choice"):
            note_fields(report, {key: value})
        elif key == "usage" or not isinstance(value, dict | list):
            passed[key] = value
        elif isinstance(value, dict) and value.get("type") == "message_delta":
            passed[key] = value.get("delta")
        else:
            report.drop(f"answer.content.{key}", "a block that only its own dialect understands")
