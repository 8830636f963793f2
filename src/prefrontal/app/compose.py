"""Makes a `ChatRequest` from what a Python caller has at hand."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.errors import InvalidRequest
from prefrontal.providers.openai.request import parse_chat_request

Prompt = str | Sequence[dict[str, Any]] | ChatRequest
"""A question, a list of messages in the OpenAI form, or a finished request."""


KNOWN_OPTIONS = frozenset(
    {
        "audio",
        "chat_template_kwargs",
        "frequency_penalty",
        "ignore_eos",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "min_p",
        "modalities",
        "model",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream_options",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_a",
        "top_k",
        "top_logprobs",
        "top_p",
        "typical_p",
        "user",
        "verbosity",
        "web_search_options",
        "x_prefrontal",
    }
)
"""Fields of the chat dialect and of widespread engines. Others are sent as they are, unless they look like one of these."""

ALIKE = 0.8
"""How alike a name must be to be taken for a typing error (assumed: ``modle`` and ``temprature``, not ``mirostat``)."""


def compose(prompt: Prompt, options: dict[str, Any], *, stream: bool) -> ChatRequest:
    """Return the request. `options` are fields of the OpenAI chat dialect (`model`, `tools`, `max_tokens`, …) or `x_prefrontal`.

    The prompt goes through the same parser as a request over HTTP, so the same mistakes give the same messages. A field that
    this module does not know is passed on; one whose name is nearly that of a known field is taken for a typing error, unless
    it stands in ``extra_body``, whose fields are passed on whatever they are called.

    Raises:
        InvalidRequest: with the path of the field.
    """
    if isinstance(prompt, ChatRequest):
        if options:
            raise InvalidRequest("A finished request takes no further options.", param=next(iter(options)))
        return msgspec.structs.replace(prompt, stream=stream)
    extra = options.get("extra_body")
    named = {name: value for name, value in options.items() if name != "extra_body"}
    if extra is not None and not isinstance(extra, dict):
        raise InvalidRequest("'extra_body' holds fields by their names.", param="extra_body")
    for name in named:
        _refuse_slip(name)
    body: dict[str, Any] = {"model": "auto", "messages": _messages(prompt), **named, **(extra or {})}
    if stream:
        body["stream"] = True
    try:
        encoded = msgspec.json.encode(body)
    except TypeError as error:
        raise InvalidRequest(f"An option is not JSON: {error}.") from error
    return parse_chat_request(encoded)


def _messages(prompt: Any) -> list[Any]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, Sequence) and not isinstance(prompt, bytes | bytearray):
        return list(prompt)
    raise InvalidRequest(
        f"A prompt is a text, a list of messages or a ChatRequest, not {type(prompt).__name__}.",
        param="prompt",
        hint='Such as "Hello", or [{"role": "user", "content": "Hello"}].',
    )


def _refuse_slip(name: str) -> None:
    if name in KNOWN_OPTIONS or name in ("messages", "stream"):
        return
    close = difflib.get_close_matches(name, KNOWN_OPTIONS, n=1, cutoff=ALIKE)
    if close:
        hint = f"Did you mean `{close[0]}`? A field of your own goes into `extra_body={{...}}`."
        raise InvalidRequest(f"There is no option `{name}`.", param=name, hint=hint)
