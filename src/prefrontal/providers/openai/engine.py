"""What engines tell about themselves: models, capabilities, token counts; and how they load and unload."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.request import ChatRequest, text_of
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import Capability
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.providers.base import Found, Target
from prefrontal.providers.common import Report, loads, misbehaved, object_of, wire_request
from prefrontal.providers.openai.upstream import upstream_body

_NO_EFFORT = EffortFields(dialect="fixed")
_CONTEXT = ("max_model_len", "context_length", "context_window", "max_context_length", "max_context_window")
_OUTPUT = ("max_completion_tokens", "max_output_tokens", "max_output_length")
_WORDS = {
    "function_calling": "tools",
    "tools": "tools",
    "trained_for_tool_use": "tools",
    "tool_use": "tools",
    "vision": "vision",
    "image": "vision",
    "multimodal": "vision",
    "audio": "audio",
    "reasoning": "thinking",
    "structured_outputs": "structured_output",
    "completion_chat": "chat",
}
"""An engine's word for a capability → ours."""


def render_count(request: ChatRequest, target: Target) -> WireRequest | None:
    """Return the request that counts input tokens, in the shape the profile names; None when the engine cannot count."""
    path = target.profile.paths.count_tokens
    if path is None:
        return None
    shape = target.profile.count_shape or "chat"
    if shape == "prompt":
        text = "\n".join([text_of(message) for message in request.messages])
        return wire_request(target, path, {"model": target.card.wire_name, "prompt": text})
    chat = upstream_body(request, target, _NO_EFFORT, Report(), stream=False)
    if shape == "chat":
        body = chat
    elif shape == "responses":
        body = _responses_body(chat)
    else:
        body = {key: chat[key] for key in ("model", "messages", "tools", "chat_template_kwargs") if key in chat}
        if shape == "tokenize":
            body["add_generation_prompt"] = True
    return wire_request(target, path, body)


def _responses_body(chat: dict[str, Any]) -> dict[str, Any]:
    """The same conversation in the form of the Responses API, whose counter is OpenAI's only one."""
    items: list[dict[str, Any]] = []
    for message in chat.get("messages", ()):
        content = message.get("content")
        if message["role"] == "tool":
            output = content if isinstance(content, str) else _text(content)
            items.append({"type": "function_call_output", "call_id": message["tool_call_id"], "output": output})
            continue
        if content:
            items.append({"role": message["role"], "content": _input_parts(content, message["role"])})
        items.extend(
            {"type": "function_call", "call_id": call["id"], **call["function"]}
            for call in message.get("tool_calls", ())
            if "function" in call
        )
    body = {"model": chat["model"], "input": items}
    tools = [{"type": "function", "strict": False, **tool["function"]} for tool in chat.get("tools", ()) if "function" in tool]
    return {**body, "tools": tools} if tools else body


def _input_parts(content: Any, role: str) -> Any:
    if isinstance(content, str):
        return content
    if role == "assistant":
        return _text(content)
    parts = []
    for part in content:
        if part.get("type") == "image_url":
            parts.append({"type": "input_image", "detail": "auto", "image_url": part["image_url"].get("url")})
        elif part.get("type") == "text":
            parts.append({"type": "input_text", "text": part["text"]})
    return parts


def _text(parts: Any) -> str:
    return "".join([part.get("text", "") for part in parts or () if isinstance(part, dict)])


def parse_count(response: WireResponse, target: Target) -> int:
    """Return the count in any of the shapes engines answer with. Raises ProviderMisbehaved."""
    raw = loads(response.body)
    if isinstance(raw, list):
        return len(raw)
    if isinstance(raw, dict):
        inner = raw.get("data")
        for place in (raw, inner if isinstance(inner, dict) else {}):
            for key in ("count", "input_tokens", "total_tokens"):
                value = place.get(key)
                if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                    return value
        for key in ("tokens", "tokenize_response"):
            value = raw.get(key)
            if isinstance(value, list):
                return len(value)
    raise misbehaved(target, "the answer of the token counter holds no count", response)


def parse_models(response: WireResponse, target: Target) -> tuple[Found, ...]:
    """Return the models listed under ``data`` or ``models``. Raises ProviderMisbehaved."""
    raw = loads(response.body)
    rows = raw if isinstance(raw, list) else None
    if isinstance(raw, dict):
        rows = raw.get("data")
        rows = rows if isinstance(rows, list) else raw.get("models")
    if not isinstance(rows, list):
        raise misbehaved(target, "the list of models is not one", response)
    found = [_model(row) for row in rows if isinstance(row, dict)]
    return tuple([model for model in found if model is not None])


def _model(row: dict[str, Any]) -> Found | None:
    name = row.get("id") or row.get("key") or row.get("name") or row.get("model")
    if not isinstance(name, str):
        return None
    meta, top = _object(row.get("meta")), _object(row.get("top_provider"))
    owner = row.get("owned_by") or row.get("publisher")
    reasoning = _object(_object(row.get("capabilities")).get("reasoning"))
    levels = reasoning.get("allowed_options")
    return Found(
        id=name,
        context_tokens=_first(row, _CONTEXT) or _first(top, _CONTEXT) or _first(meta, ("n_ctx", "n_ctx_train")),
        max_output_tokens=_first(row, _OUTPUT) or _first(top, _OUTPUT),
        capabilities=_capabilities(row),
        effort_levels=tuple([level for level in levels if isinstance(level, str)]) if isinstance(levels, list) else (),
        owned_by=owner if isinstance(owner, str) else None,
        size_bytes=_first(meta, ("size",)) or _first(row, ("size_bytes",)),
        loaded=_loaded(row),
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(row: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        value = row.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _loaded(row: dict[str, Any]) -> bool | None:
    status = row.get("status")
    state = status.get("value") if isinstance(status, dict) else row.get("state")
    if isinstance(state, str):
        return state in ("loaded", "sleeping") if state in ("loaded", "sleeping", "unloaded", "not-loaded") else None
    instances = row.get("loaded_instances")
    return bool(instances) if isinstance(instances, list) else None


def _capabilities(row: dict[str, Any]) -> dict[str, Capability]:
    """Capabilities from a map of booleans, a list of words, supported parameters, or input modalities."""
    said: dict[str, bool] = {}
    raw = row.get("capabilities")
    if isinstance(raw, dict):
        said.update({key: bool(value) for key, value in raw.items()})
    for words in (raw, row.get("supported_parameters"), _object(row.get("architecture")).get("input_modalities")):
        if isinstance(words, list):
            said.update({word: True for word in words if isinstance(word, str)})
    kind = row.get("type")
    if kind in ("embedding", "embeddings"):
        said["embedding"] = True
    elif kind == "vlm":
        said["vision"] = True
    names = {**_WORDS, "embedding": "embedding"}
    return {names[word]: Capability(value=value, origin="engine") for word, value in said.items() if word in names}


def parse_probe(response: WireResponse, target: Target) -> Found:
    """Return what the engine says about the target's model, in the shape the profile names. Raises ProviderMisbehaved."""
    shape = target.profile.probe_shape
    if shape == "props":
        return _props(object_of(response, target, "the properties"), target)
    if shape == "info":
        raw = object_of(response, target, "the server's information")
        return Found(id=target.card.wire_name, context_tokens=_first(raw, ("max_total_tokens",)), extra=raw)
    models = parse_models(response, target)
    for model in models:
        if model.id == target.card.wire_name:
            return model
    if len(models) == 1:
        return models[0]
    raise misbehaved(target, f"the list of models lacks {target.card.wire_name!r}", response)


def _props(raw: dict[str, Any], target: Target) -> Found:
    """llama.cpp's ``/props``: context of one slot, modalities, and what the chat template can do."""
    template = raw.get("chat_template")
    said: dict[str, bool] = {}
    for name, value in _object(raw.get("modalities")).items():
        if name in ("vision", "audio"):
            said[name] = bool(value)
    caps = _object(raw.get("chat_template_caps"))
    if "supports_tools" in caps:
        said["tools"] = bool(caps["supports_tools"])
    elif isinstance(template, str):
        said["tools"] = "tools" in template
    if isinstance(template, str):
        said["thinking"] = "enable_thinking" in template or "<think>" in template or "reasoning_content" in template
    settings = _object(raw.get("default_generation_settings"))
    return Found(
        id=target.card.wire_name,
        context_tokens=_first(settings, ("n_ctx",)) or _first(raw, ("n_ctx",)),
        capabilities={name: Capability(value=value, origin="engine") for name, value in said.items()},
        loaded=not raw.get("is_sleeping") if "is_sleeping" in raw else True,
        extra={
            key: raw[key]
            for key in ("model_path", "model_alias", "total_slots", "build_info", "chat_template_caps")
            if key in raw
        },
    )


def render_load(target: Target, *, load: bool) -> WireRequest | None:
    """Return the request that loads or unloads the model, its body in the shape the profile names."""
    paths = target.profile.paths
    path = paths.load if load else paths.unload
    if path is None:
        return None
    shape = target.profile.load_shape or "model"
    if shape == "empty":
        return wire_request(target, path)
    field = "instance_id" if shape == "instance" and not load else "model"
    return wire_request(target, path, {field: target.card.wire_name})
