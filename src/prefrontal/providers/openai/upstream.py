"""A chat request as one OpenAI-compatible engine takes it. What differs between engines is data in the profile."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.effort import EffortFields
from prefrontal.prompts import filled
from prefrontal.providers.base import Target
from prefrontal.providers.common import Report, apply_effort, apply_profile, with_suffix
from prefrontal.providers.openai.completions import DIALECT as COMPLETIONS
from prefrontal.providers.openai.completions import ONLY_HERE, render_completion_body
from prefrontal.providers.openai.messages import REASONING_FIELDS
from prefrontal.providers.openai.request import CAP_FIELDS, DIALECTS, render_chat_body
from prefrontal.providers.profile import Profile
from prefrontal.providers.reasoning import DETAILS

_EFFORT_FIELDS = ("reasoning_effort", "thinking")


def as_completion(request: ChatRequest, profile: Profile) -> bool:
    """Return whether the request goes to the engine's own route for text completions."""
    return request.dialect == COMPLETIONS and profile.paths.completions is not None


def upstream_body(request: ChatRequest, target: Target, effort: EffortFields, report: Report, *, stream: bool) -> dict[str, Any]:
    """Return the JSON object to send; what the engine does not take is noted in `report`.

    The caller's own words for effort never travel: `effort` says the same in the model's dialect.
    """
    profile = target.profile
    if effort.suffix:
        request = msgspec.structs.replace(request, messages=with_suffix(request.messages, effort.suffix))
    if as_completion(request, profile):
        body = render_completion_body(request)
    else:
        lost: list[str] = []
        body = render_chat_body(request, lost=lost)
        for field in lost:
            report.drop(field, f"This wire has no form for it (it came in the {request.dialect} dialect).")
        body["messages"] = _messages(body["messages"], profile, report)
        if request.dialect == COMPLETIONS:
            _drop(body, ONLY_HERE, "The engine has no route for text completions; the prompt went to chat.", report)
    body["model"] = target.card.wire_name
    for name in [name for name, value in body.items() if value is None or name in _EFFORT_FIELDS]:
        del body[name]
    _put_cap(body, request, effort, profile, report)
    _put_stream(body, profile, stream=stream)
    if request.tool_choice is not None and not profile.tool_choice_required and body.get("tool_choice") == "required":
        body["tool_choice"] = "auto"
        report.drop("tool_choice", "The engine cannot force a tool call; 'required' was sent as 'auto'.", "translated")
    if "response_format" in body and profile.structured_output != "response_format":
        _put_format(body, request, profile, report)
    apply_effort(body, effort, {})
    apply_profile(body, target, report)
    return body


def _drop(body: dict[str, Any], fields: tuple[str, ...], reason: str, report: Report) -> None:
    for field in fields:
        if body.pop(field, None) is not None:
            report.drop(field, reason)


def _put_cap(body: dict[str, Any], request: ChatRequest, effort: EffortFields, profile: Profile, report: Report) -> None:
    """Send one output cap, under the name the engine knows."""
    asked = request.max_output_tokens
    cap = effort.output_cap_tokens if effort.output_cap_tokens is not None else asked
    for field in CAP_FIELDS:
        given = body.pop(field, None)
        if given == -1:
            report.drop(field, "-1 means no cap here, which is what leaving it out says.", "translated")
        elif given is not None and field != request.cap_field and request.dialect in DIALECTS:
            report.drop(field, f"{request.cap_field} was given too, and counts.")
    if cap is None:
        return
    name = effort.cap_field or profile.output_cap_field
    body[name] = cap
    if asked is not None and request.cap_field in CAP_FIELDS and name != request.cap_field:
        report.drop(str(request.cap_field), f"Sent as {name}.", "translated")


def _put_stream(body: dict[str, Any], profile: Profile, *, stream: bool) -> None:
    """Ask for the stream, and always for its usage where the engine can tell: we settle budgets with it."""
    options = body.pop("stream_options", None)
    body.pop("stream", None)
    if stream:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {**options, "include_usage": True} if isinstance(options, dict) else {"include_usage": True}


def _put_format(body: dict[str, Any], request: ChatRequest, profile: Profile, report: Report) -> None:
    wanted = request.response_format
    kind = wanted.kind if wanted is not None else "other"
    if kind == "text":
        return
    schema = wanted.schema if wanted is not None and kind == "json_schema" else None
    if profile.structured_output == "structured_outputs":
        del body["response_format"]
        body["structured_outputs"] = {"json_object": True} if schema is None else {"json": schema}
    elif profile.structured_output in ("json_schema", "grammar") and schema is not None:
        del body["response_format"]
        body[profile.structured_output] = {"type": "json", "value": schema} if profile.structured_output == "grammar" else schema
    elif profile.structured_output == "json_object_only":
        if kind != "json_object":
            body["response_format"] = {"type": "json_object"}
            if wanted is not None and wanted.schema is not None:
                body["messages"] = _with_schema(body["messages"], wanted.schema)
            report.drop("response_format", "The engine takes no schema; the model was told it instead.", "translated")
    else:
        del body["response_format"]
        report.drop("response_format", "The engine has no structured output.")


def _with_schema(messages: list[dict[str, Any]], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages with the schema as a system message after those of the caller: some APIs also demand the word JSON."""
    text = filled("structured_instruction.v1", schema=msgspec.json.encode(schema).decode())
    place = next((n for n, message in enumerate(messages) if message["role"] != "system"), len(messages))
    return [*messages[:place], {"role": "system", "content": text}, *messages[place:]]


def _messages(messages: list[dict[str, Any]], profile: Profile, report: Report) -> list[dict[str, Any]]:
    """Change rendered messages, which are ours to change, to what the engine takes."""
    for message in messages:
        role = message["role"]
        if role == "developer" and not profile.developer_role:
            message["role"] = "system"
            report.drop("messages[].role", "The engine has no developer role; sent as system.", "translated")
        if len(message) == 2 and role != "assistant":
            continue
        for name in [name for name, value in message.items() if value is None and name != "content"]:
            del message[name]
        if role == "assistant":
            _pass_back(message, profile, report)
        for name, reason in profile.drop_message.items():
            if message.pop(name, None):
                report.drop(f"messages[].{name}", reason)
    return messages


def _pass_back(message: dict[str, Any], profile: Profile, report: Report) -> None:
    """Give an assistant turn its thinking back under the engine's field, or leave it out, as the engine wants it."""
    calls = message.get("tool_calls")
    if calls and not profile.keep_signatures:
        for call in calls:
            call.pop("extra_content", None)
    found = [text for text in [message.pop(name, None) for name in REASONING_FIELDS] if text]
    rule, place = profile.reasoning_back, profile.reasoning_out
    wanted = place != "none" and (rule == "always" or (rule == "tool_turns" and bool(calls)))
    if DETAILS in message and not (wanted and place == "reasoning"):
        del message[DETAILS]
    if not found:
        return
    if not wanted:
        report.drop("messages[].reasoning", "The engine does not take thinking of earlier turns back.")
    elif place == "mistral_chunks":
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": found[0]}]}
        content = message.get("content")
        rest = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
        message["content"] = [thinking, *rest]
    else:
        message[place] = found[0]
