"""Makes a `ChatRequest` from what a Python caller has at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.errors import InvalidRequest
from prefrontal.providers.openai.request import parse_chat_request

Prompt = str | Sequence[dict[str, Any]] | ChatRequest
"""A question, a list of messages in the OpenAI form, or a finished request."""


def compose(prompt: Prompt, options: dict[str, Any], *, stream: bool) -> ChatRequest:
    """Return the request. `options` are fields of the OpenAI chat dialect (`model`, `tools`, `max_tokens`, …) or `x_prefrontal`.

    The prompt goes through the same parser as a request over HTTP, so the same mistakes give the same messages.

    Raises:
        InvalidRequest: with the path of the field.
    """
    if isinstance(prompt, ChatRequest):
        if options:
            raise InvalidRequest("A finished request takes no further options.", param=next(iter(options)))
        return msgspec.structs.replace(prompt, stream=stream)
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    body: dict[str, Any] = {"model": "auto", "messages": messages, **options}
    if stream:
        body["stream"] = True
    try:
        encoded = msgspec.json.encode(body)
    except TypeError as error:
        raise InvalidRequest(f"An option is not JSON: {error}.") from error
    return parse_chat_request(encoded)
