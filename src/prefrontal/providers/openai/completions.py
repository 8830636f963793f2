"""Legacy text completions: one prompt is one user message, one text is one answer."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, Message, text_of
from prefrontal.chat.response import ChatResponse
from prefrontal.errors import InvalidRequest
from prefrontal.providers.openai.check import decode_object, missing, wrong_type
from prefrontal.providers.openai.request import build_request, render_sampling, take_fields
from prefrontal.providers.openai.response import finish_word
from prefrontal.providers.openai.usage import render_usage

DIALECT = "completions"
ONLY_HERE = ("suffix", "echo", "best_of", "logprobs")
"""Fields of this dialect that have no counterpart in chat."""

_CHAT_ONLY = ("tools", "tool_choice", "parallel_tool_calls", "messages")


def parse_completion_request(body: bytes) -> ChatRequest:
    """Return the request of ``POST /v1/completions``.

    `prompt` is a string or a list of one string. suffix, echo, best_of and logprobs stay in `extra`.

    Raises:
        InvalidRequest: `param` names the field; several prompts and token arrays are refused.
    """
    raw = decode_object(body)
    prompt = raw.pop("prompt", None)
    own = {key: raw.pop(key) for key in (*ONLY_HERE, *_CHAT_ONLY) if key in raw}
    fields, sampling, extra = take_fields(raw)
    fields["messages"] = (_parse_prompt(prompt),)
    return build_request(fields, sampling, {**extra, **own}, DIALECT)


def _parse_prompt(prompt: object) -> Message:
    if isinstance(prompt, str):
        return Message(role="user", blocks=(Text(text=prompt),))
    if prompt is None:
        raise missing("prompt")
    if not isinstance(prompt, list):
        raise wrong_type("prompt", "a string or an array of one string", prompt)
    if len(prompt) != 1:
        what = "an empty list" if not prompt else f"{len(prompt)} prompts or tokens"
        raise InvalidRequest(f"'prompt' must hold one prompt, but it is {what}.", param="prompt", hint="Send one request each.")
    if not isinstance(prompt[0], str):
        raise InvalidRequest("'prompt' must be text: token arrays depend on one model's tokenizer.", param="prompt[0]")
    return Message(role="user", blocks=(Text(text=prompt[0]),), form="parts")


def render_completion_body(request: ChatRequest) -> dict[str, Any]:
    """Return the JSON object of a request that came in this dialect: what the client sent, without ``x_prefrontal``."""
    message = request.messages[0]
    text = text_of(message)
    body: dict[str, Any] = {"model": request.model, "prompt": [text] if message.form == "parts" else text}
    if request.stream_given or request.stream:
        body["stream"] = request.stream
    render_sampling(request.sampling, body)
    if request.max_output_tokens is not None:
        body[request.cap_field or "max_tokens"] = request.max_output_tokens
    for name in ("stream_options", "metadata", "user", "reasoning_effort", "thinking"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    body.update(request.extra or {})
    return body


def render_completion_response(
    response: ChatResponse,
    *,
    id: str,  # noqa: A002 - the wire's own name
    model: str,
    created_s: int,
    extension: dict[str, Any] | None,
) -> bytes:
    """Return the client's ``text_completion`` body; thinking and tool calls have no place in it."""
    out: dict[str, Any] = {
        "id": id,
        "object": "text_completion",
        "created": created_s,
        "model": model,
        "choices": [
            {
                "text": choice.text,
                "index": choice.index,
                "logprobs": choice.logprobs,
                "finish_reason": finish_word(choice.finish_reason, choice.raw_finish) or "stop",
            }
            for choice in response.choices
        ],
    }
    if response.usage.source != "unknown":
        out["usage"] = render_usage(response.usage)
    if extension is not None:
        out["x_prefrontal"] = extension
    return msgspec.json.encode(out)
