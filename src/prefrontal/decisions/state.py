"""The state of a request in the forms it is needed in: as text for a prompt, as JSON for an upstream. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.contracts.decision import DecisionRequest
from prefrontal.decisions.wire.openai_client import text_of_item


def state_text(request: DecisionRequest) -> str:
    """Return the state as a model is shown it: a text as it is, JSON as JSON, messages one line each."""
    state = request.state
    if isinstance(state, str):
        return state
    if request.state_kind != "messages" or not isinstance(state, list):
        return msgspec.json.encode(state).decode()
    if request.dialect == "openai":
        return "\n".join([text_of_item(item) for item in state])
    return "\n".join([f"{turn.get('role')}: {_content(turn.get('content'))}" for turn in state])


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return " ".join(texts) if texts else msgspec.json.encode(content).decode()


def state_json(request: DecisionRequest) -> Any:
    """Return the state for an upstream that takes any JSON; messages of the OpenAI dialect become plain turns."""
    if request.state_kind == "messages" and request.dialect == "openai":
        turns = []
        for item in request.state:
            said, kind = text_of_item(item), item.get("type", "message")
            role = item["role"] if kind == "message" else "tool" if kind.endswith("_output") else "assistant"
            turns.append({"role": role, "content": said.removeprefix(f"{role}: ").removeprefix("assistant ")})
        return turns
    return request.state
