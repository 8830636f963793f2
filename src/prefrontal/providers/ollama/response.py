"""Answers of the native Ollama wire → blocks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from prefrontal.chat.blocks import Block, Reasoning, Text
from prefrontal.chat.embeddings import EmbeddingsResponse
from prefrontal.chat.response import ChatResponse, Choice, FinishReason
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.contracts.model import Capability
from prefrontal.contracts.wire import WireResponse
from prefrontal.errors import (
    InvalidRequest,
    ProviderAuthFailed,
    ProviderError,
    ProviderLoading,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from prefrontal.providers.base import Found, Target
from prefrontal.providers.common import count_of, loads, misbehaved, object_of, upstream_error
from prefrontal.providers.ollama.messages import DIALECT, exact_arguments, parse_call

FINISHES: dict[str, FinishReason] = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop"}
DONE_REASONS = {"length": "length"}
_BY_STATUS: dict[int, type[ProviderError]] = {
    400: ProviderRejected,
    401: ProviderAuthFailed,
    403: ProviderAuthFailed,
    404: ProviderRejected,
    408: ProviderTimeout,
    413: ProviderRejected,
    429: ProviderRateLimited,
    503: ProviderOverloaded,
    504: ProviderTimeout,
}
_LOADING = ("loading model", "llm server loading", "model is loading")
_FULL = ("server busy", "maximum pending requests", "requires more system memory", "model requires more", "out of memory")


class _RawAnswer(msgspec.Struct):
    message: msgspec.Raw = msgspec.Raw(b"")


RAW_ANSWER = msgspec.json.Decoder(_RawAnswer)


def parse_answer(response: WireResponse, target: Target) -> ChatResponse:
    """Return the answer. Raises ProviderMisbehaved, or the error the body holds."""
    value = object_of(response, target, "the answer")
    if "error" in value:
        raise error_of(value, response, target)
    message = value.get("message")
    if not isinstance(message, dict):
        raise misbehaved(target, "the answer has no message", response)
    exact = exact_arguments(RAW_ANSWER.decode(response.body).message) if message.get("tool_calls") else []
    blocks = blocks_of(message, str(value.get("created_at")), exact, 0, target)
    known = ("model", "message", "done_reason")
    own = {key: found for key, found in value.items() if key not in known}
    raw = value.get("done_reason")
    logprobs = own.pop("logprobs", None)
    choice = Choice(
        blocks=blocks,
        finish_reason=finish_of(raw, calls=bool(message.get("tool_calls"))),
        raw_finish=raw if isinstance(raw, str) else None,
        logprobs={"content": logprobs} if isinstance(logprobs, list) else None,
    )
    return ChatResponse(
        id=str(value.get("created_at") or ""),
        model=str(value.get("model") or ""),
        created_s=created_of(value),
        choices=(choice,),
        usage=usage_of(value),
        extra={DIALECT: own} if own else None,
    )


def blocks_of(message: dict[str, Any], seed: str, exact: list[str], first: int, target: Target) -> tuple[Block, ...]:
    """Return the blocks of a message; `first` is the number of its first call. Raises ProviderMisbehaved."""
    out: list[Block] = []
    thinking, content, calls = message.get("thinking"), message.get("content"), message.get("tool_calls")
    if isinstance(thinking, str) and thinking:
        out.append(Reasoning(text=thinking, provider=DIALECT))
    if isinstance(content, str) and content:
        out.append(Text(text=content))
    for i, call in enumerate(calls if isinstance(calls, list) else ()):
        try:
            out.append(parse_call(call, f"tool_calls[{i}]", seed, first + i, exact[i] if i < len(exact) else ""))
        except InvalidRequest as error:
            raise misbehaved(target, f"{error.param} is not of this wire") from None
    return tuple(out)


def finish_of(raw: Any, *, calls: bool) -> FinishReason:
    """Return our word for a ``done_reason``. The wire says stop for tool turns too."""
    found: FinishReason = FINISHES.get(raw, "stop") if isinstance(raw, str) else "stop"
    return "tool_calls" if calls and found == "stop" else found


def usage_of(value: dict[str, Any]) -> Usage:
    """Return the usage of a final object. A count it leaves out is unknown, and what is left then only an estimate."""
    prompt, answer = value.get("prompt_eval_count"), value.get("eval_count")
    if prompt is None and answer is None:
        return UNKNOWN_USAGE
    both = prompt is not None and answer is not None
    return Usage(
        uncached_input_tokens=count_of(prompt),
        output_tokens=count_of(answer),
        source="reported" if both else "estimated",
    )


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the wire's counts."""
    if usage.source == "unknown":
        return {}
    return {"prompt_eval_count": usage.input_tokens, "eval_count": usage.output_tokens}


def created_of(value: dict[str, Any]) -> int:
    """Return the Unix time of ``created_at``, 0 when it is no time."""
    found = value.get("created_at")
    try:
        return int(datetime.fromisoformat(found).timestamp()) if isinstance(found, str) else 0
    except (ValueError, OverflowError):
        return 0


def parse_error(response: WireResponse, target: Target) -> ProviderError:
    """Return the error a non-2xx response stands for; never raises."""
    value = loads(response.body)
    return error_of(value if isinstance(value, dict) else {}, response, target)


def error_of(value: dict[str, Any], response: WireResponse | None, target: Target) -> ProviderError:
    """Return the error in an error object, from a body or from a line of a stream (then `response` is None)."""
    error = value.get("error")
    inner = error.get("message") if isinstance(error, dict) else error
    text = inner if isinstance(inner, str) else ""
    told = text.lower()
    kind = _BY_STATUS.get(response.status if response is not None else 0, ProviderError)
    if any(phrase in told for phrase in _LOADING):
        kind = ProviderLoading
    elif any(phrase in told for phrase in _FULL):
        kind = ProviderOverloaded
    details = {"stage": "total"} if kind is ProviderTimeout else {}
    return upstream_error(kind, text, target, response, details=details)


def parse_embeddings(response: WireResponse, target: Target) -> EmbeddingsResponse:
    """Return the vectors. Raises ProviderMisbehaved, or the error the body holds."""
    value = object_of(response, target, "the list of embeddings")
    if "error" in value:
        raise error_of(value, response, target)
    found = value.get("embeddings")
    if not isinstance(found, list):
        raise misbehaved(target, "the answer has no embeddings", response)
    for vector in found:
        if not isinstance(vector, list) or not all(isinstance(number, int | float) for number in vector):
            raise misbehaved(target, "an embedding is not a list of numbers", response)
    count = value.get("prompt_eval_count")
    usage = UNKNOWN_USAGE if count is None else Usage(uncached_input_tokens=count_of(count), source="reported")
    vectors = tuple([tuple([float(number) for number in vector]) for vector in found])
    return EmbeddingsResponse(model=str(value.get("model") or ""), vectors=vectors, usage=usage)


def parse_models(response: WireResponse, target: Target) -> tuple[Found, ...]:
    """Return the models of ``/api/tags``. Raises ProviderMisbehaved."""
    return tuple(
        [
            Found(
                id=item.get("model") or item["name"],
                capabilities=capabilities_of(item.get("capabilities")),
                size_bytes=count_of(item.get("size")) or None,
                owned_by="ollama",
                extra={key: found for key, found in item.items() if key in ("details", "digest", "modified_at", "remote_host")},
            )
            for item in _listed(response, target)
        ]
    )


def parse_running(response: WireResponse, target: Target) -> tuple[Found, ...]:
    """Return the loaded models of ``/api/ps``: `context_tokens` is the window they run with, `size_bytes` all their memory."""
    return tuple(
        [
            Found(
                id=item.get("model") or item["name"],
                context_tokens=count_of(item.get("context_length")) or None,
                size_bytes=count_of(item.get("size")) or None,
                owned_by="ollama",
                loaded=True,
                extra={key: item[key] for key in ("size_vram", "expires_at") if key in item} or None,
            )
            for item in _listed(response, target)
        ]
    )


def _listed(response: WireResponse, target: Target) -> list[dict[str, Any]]:
    value = object_of(response, target, "the model list").get("models")
    if not isinstance(value, list):
        raise misbehaved(target, "the model list has no models", response)
    return [item for item in value if isinstance(item, dict) and (item.get("model") or item.get("name"))]


_CAPABILITIES = {"completion": "chat", "tools": "tools", "thinking": "thinking", "vision": "vision", "embedding": "embedding"}


def capabilities_of(value: Any) -> dict[str, Capability]:
    """Return a capabilities list; it is complete, so what it does not name is absent. Words nobody knows are kept as they are."""
    if not isinstance(value, list):
        return {}
    words = [word for word in value if isinstance(word, str)]
    known = {ours: Capability(value=word in words, origin="engine") for word, ours in _CAPABILITIES.items()}
    others = {word: Capability(value=True, origin="engine") for word in words if word not in _CAPABILITIES}
    return {**known, **others}


def parse_show(response: WireResponse, target: Target) -> Found:
    """Return what ``/api/show`` says. A ``num_ctx`` in the model's own parameters wins over what it was trained for."""
    value = object_of(response, target, "the model")
    if "error" in value:
        raise error_of(value, response, target)
    info = value.get("model_info")
    if not isinstance(info, dict) and not isinstance(value.get("capabilities"), list):
        raise misbehaved(target, "the model has neither model_info nor capabilities", response)
    info = info if isinstance(info, dict) else {}
    architecture = info.get("general.architecture")
    context = count_of(info.get(f"{architecture}.context_length")) or None
    return Found(
        id=target.card.wire_name,
        context_tokens=_own_context(value.get("parameters")) or context,
        capabilities=capabilities_of(value.get("capabilities")),
        owned_by="ollama",
        extra={
            "context_length": context,
            "architecture": architecture,
            "parameter_count": info.get("general.parameter_count"),
            "details": value.get("details"),
        },
    )


def _own_context(parameters: Any) -> int | None:
    for line in parameters.splitlines() if isinstance(parameters, str) else ():
        name, _, number = line.strip().partition(" ")
        if name == "num_ctx" and number.strip().isdigit():
            return int(number.strip())
    return None
