"""Answers of the generateContent wire → blocks."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Block, Refusal, ToolCall
from prefrontal.chat.embeddings import EmbeddingsResponse
from prefrontal.chat.response import ChatResponse, Choice, FinishReason
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.contracts.model import Capability
from prefrontal.contracts.wire import WireResponse
from prefrontal.providers.base import Found, Target
from prefrontal.providers.common import count_of, misbehaved, object_of
from prefrontal.providers.gemini.errors import error_of
from prefrontal.providers.gemini.parts import DIALECT, Malformed, parse_parts

FINISHES: dict[str, FinishReason] = {
    "STOP": "stop",
    "FINISH_REASON_UNSPECIFIED": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "CONTINUATION": "pause",
}
"""Every other word (OTHER, MALFORMED_FUNCTION_CALL, TOO_MANY_TOOL_CALLS …) means that generating went wrong: ``error``."""

FINISH_WORDS = {"length": "MAX_TOKENS", "content_filter": "SAFETY", "refusal": "SAFETY", "error": "OTHER"}


class _RawCall(msgspec.Struct):
    args: msgspec.Raw = msgspec.Raw(b"")


class _RawPart(msgspec.Struct, rename="camel"):
    function_call: _RawCall | None = None


class _RawContent(msgspec.Struct):
    parts: list[_RawPart] | None = None


class _RawCandidate(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"")


class _RawAnswer(msgspec.Struct):
    candidates: list[_RawCandidate] = []


_RAW_CONTENT = msgspec.json.Decoder(_RawContent)
_RAW_ANSWER = msgspec.json.Decoder(_RawAnswer)


def exact_args(content: bytes | msgspec.Raw) -> list[str]:
    """Return the JSON text of each part's call arguments, exactly as it stood (empty where there are none)."""
    try:
        parts = _RAW_CONTENT.decode(content).parts or []
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    texts = [bytes(part.function_call.args).decode() if part.function_call else "" for part in parts]
    return ["" if text == "null" else text for text in texts]


def exact_args_of_answer(body: bytes) -> list[list[str]]:
    """Return `exact_args` of each candidate of an answer."""
    if b"functionCall" not in body:
        return []
    try:
        return [
            exact_args(candidate.content) if bytes(candidate.content) else [] for candidate in _RAW_ANSWER.decode(body).candidates
        ]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def parse_answer(response: WireResponse, target: Target) -> ChatResponse:
    """Return the answer. Raises ProviderMisbehaved, or the error the body holds."""
    value = object_of(response, target, "the answer")
    if "error" in value:
        raise error_of(value, response, target)
    choices = _choices(value, exact_args_of_answer(response.body), target, response)
    known = ("candidates", "modelVersion", "responseId")
    own = {key: found for key, found in value.items() if key not in known}
    return ChatResponse(
        id=str(value.get("responseId") or ""),
        model=str(value.get("modelVersion") or ""),
        choices=choices,
        usage=usage_of(value.get("usageMetadata")),
        extra={DIALECT: own} if own else None,
    )


def _choices(value: dict[str, Any], args: list[list[str]], target: Target, response: WireResponse) -> tuple[Choice, ...]:
    candidates = value.get("candidates")
    if isinstance(candidates, list) and candidates:
        seed = str(value.get("responseId") or "")
        return tuple([_choice(c, i, seed, args[i] if i < len(args) else None, target) for i, c in enumerate(candidates)])
    blocked = block_of(value)
    if blocked is None:
        raise misbehaved(target, "the answer has no candidates", response)
    return (Choice(blocks=blocked[1], finish_reason="content_filter", raw_finish=blocked[0], form="parts"),)


def block_of(value: dict[str, Any]) -> tuple[str, tuple[Block, ...]] | None:
    """Return why the prompt was blocked, with the API's explanation as a refusal; None when it was not."""
    feedback = value.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if not isinstance(reason, str) or not isinstance(feedback, dict):
        return None
    text = feedback.get("blockReasonMessage")
    return reason, (Refusal(text=text),) if isinstance(text, str) and text else ()


def _choice(candidate: Any, index: int, seed: str, args: list[str] | None, target: Target) -> Choice:
    if not isinstance(candidate, dict):
        raise misbehaved(target, "a candidate is not an object")
    blocks = blocks_of(candidate, f"{seed}/{index}", args, target)
    raw = candidate.get("finishReason")
    known = ("content", "finishReason", "index", "logprobsResult")
    own = {key: found for key, found in candidate.items() if key not in known}
    found = candidate.get("index")
    logprobs = candidate.get("logprobsResult")
    return Choice(
        index=found if isinstance(found, int) else index,
        blocks=blocks,
        finish_reason=finish_of(raw, calls=any(isinstance(block, ToolCall) for block in blocks)),
        raw_finish=raw if isinstance(raw, str) else None,
        logprobs={"gemini": logprobs} if isinstance(logprobs, dict) else None,
        form="parts",
        extra={DIALECT: own} if own else None,
    )


def blocks_of(candidate: dict[str, Any], seed: str, args: list[str] | None, target: Target) -> tuple[Block, ...]:
    """Return the blocks of a candidate; one without content has none. Raises ProviderMisbehaved."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    if parts is None:
        return ()
    if not isinstance(parts, list):
        raise misbehaved(target, "the parts of a candidate are not a list")
    try:
        return parse_parts(parts, seed, args)
    except Malformed as error:
        raise misbehaved(target, f"parts{error.path} is not {error.expected}") from None


def finish_of(raw: Any, *, calls: bool) -> FinishReason:
    """Return our word for a ``finishReason``. The wire says STOP for tool turns too: calls in the answer make the difference."""
    found = FINISHES.get(raw, "error") if isinstance(raw, str) else "stop"
    return "tool_calls" if calls and found == "stop" else found


def usage_of(value: Any) -> Usage:
    """Return the usage: thoughts stand beside the candidates' tokens and are output; cached tokens are part of the prompt's."""
    if not isinstance(value, dict):
        return UNKNOWN_USAGE
    cached = count_of(value.get("cachedContentTokenCount"))
    prompt = count_of(value.get("promptTokenCount")) + count_of(value.get("toolUsePromptTokenCount"))
    thoughts = count_of(value.get("thoughtsTokenCount"))
    return Usage(
        uncached_input_tokens=max(0, prompt - cached),
        cache_read_tokens=cached,
        output_tokens=count_of(value.get("candidatesTokenCount")) + thoughts,
        reasoning_tokens=thoughts,
        source="reported",
    )


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the wire's usage object."""
    out: dict[str, Any] = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(0, usage.output_tokens - usage.reasoning_tokens),
        "totalTokenCount": usage.total_tokens,
    }
    if usage.reasoning_tokens:
        out["thoughtsTokenCount"] = usage.reasoning_tokens
    if usage.cache_read_tokens:
        out["cachedContentTokenCount"] = usage.cache_read_tokens
    return out


def parse_count(response: WireResponse, target: Target) -> int:
    """Return the number of input tokens. Raises ProviderMisbehaved."""
    value = object_of(response, target, "the token count").get("totalTokens")
    if not isinstance(value, int) or isinstance(value, bool):
        raise misbehaved(target, "the token count has no totalTokens", response)
    return value


def parse_embeddings(response: WireResponse, target: Target) -> EmbeddingsResponse:
    """Return the vectors. Raises ProviderMisbehaved."""
    value = object_of(response, target, "the list of embeddings")
    found = value.get("embeddings")
    if not isinstance(found, list):
        raise misbehaved(target, "the answer has no embeddings", response)
    vectors: list[tuple[float, ...]] = []
    for item in found:
        numbers = item.get("values") if isinstance(item, dict) else None
        if not isinstance(numbers, list) or not all(isinstance(number, int | float) for number in numbers):
            raise misbehaved(target, "an embedding is not a list of numbers", response)
        vectors.append(tuple([float(number) for number in numbers]))
    return EmbeddingsResponse(model=target.card.wire_name, vectors=tuple(vectors), usage=usage_of(value.get("usageMetadata")))


def parse_models(response: WireResponse, target: Target) -> tuple[Found, ...]:
    """Return the models that can chat or embed. Raises ProviderMisbehaved."""
    value = object_of(response, target, "the model list").get("models")
    if not isinstance(value, list):
        raise misbehaved(target, "the model list has no models", response)
    found = [_found(item) for item in value if isinstance(item, dict) and isinstance(item.get("name"), str)]
    return tuple([model for model in found if model.capabilities.get("chat") or model.capabilities.get("embedding")])


def parse_model(response: WireResponse, target: Target) -> Found:
    """Return what the API says about one model. Raises ProviderMisbehaved."""
    value = object_of(response, target, "the model")
    if not isinstance(value.get("name"), str):
        raise misbehaved(target, "the model has no name", response)
    return _found(value)


_METHODS = {"generateContent": "chat", "embedContent": "embedding", "countTokens": "count_tokens"}


def _found(item: dict[str, Any]) -> Found:
    methods = item.get("supportedGenerationMethods") or item.get("supportedActions") or []
    capabilities = {ours: Capability(value=True, origin="engine") for word, ours in _METHODS.items() if word in methods}
    if isinstance(item.get("thinking"), bool):
        capabilities["thinking"] = Capability(value=item["thinking"], origin="engine")
    known = ("name", "inputTokenLimit", "outputTokenLimit", "thinking")
    return Found(
        id=str(item["name"]).removeprefix("models/"),
        context_tokens=count_of(item.get("inputTokenLimit")) or None,
        max_output_tokens=count_of(item.get("outputTokenLimit")) or None,
        capabilities=capabilities,
        owned_by="google",
        extra={key: found for key, found in item.items() if key not in known} or None,
    )
