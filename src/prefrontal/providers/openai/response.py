"""Whole answers: an upstream's body → `ChatResponse` → a body for the client. Also the client's error envelope."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Audio, Block, Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.response import ChatResponse, Choice, FinishReason
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import AllAttemptsFailed, PrefrontalError, ProviderMisbehaved
from prefrontal.providers.openai.faults import classify, fault_of
from prefrontal.providers.openai.messages import render_tool_call, take_signature
from prefrontal.providers.openai.usage import parse_usage, render_usage, unknown_fields
from prefrontal.providers.profile import Profile
from prefrontal.providers.reasoning import DETAILS, FIELDS, TagMode, read_message, tag_mode

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "error": "error",
    "abort": "error",
    "insufficient_system_resource": "error",
}
_WORDS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_TO_WORD = {"refusal": "content_filter", "pause": "stop", "error": "length"}
_TOP = frozenset({"id", "object", "created", "model", "choices", "usage"})
_CHOICE = frozenset({"index", "message", "finish_reason", "logprobs", "text", "delta"})
_MESSAGE = frozenset({"role", "content", "refusal", "tool_calls", "audio", DETAILS, *FIELDS})
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()


def finish_of(raw: object, *, called: bool) -> FinishReason | None:
    """Return the neutral finish reason of a wire's word; `called`: the answer holds tool calls.

    An empty word (seen with xAI's tool calls) is ``tool_calls`` when there are calls; an unknown word is ``stop``.
    """
    if not isinstance(raw, str) or not raw:
        return "tool_calls" if called and raw is not None else None
    return _FINISH.get(raw, "stop")


def finish_word(reason: FinishReason | None, raw: str | None) -> str | None:
    """Return the word a client of this dialect knows; an answer ended by an error is incomplete, hence ``length``.

    The upstream's own word stays where it says the same as `reason`: Ollama, for one, says ``stop`` of a turn that calls tools.
    """
    if raw in _WORDS and (reason is None or _FINISH.get(raw) == reason):
        return raw
    return None if reason is None else _TO_WORD.get(reason, reason)


def decode_answer(data: bytes | str) -> dict[str, Any]:
    """Return the JSON object an upstream sent. Raises ProviderMisbehaved for anything else."""
    try:
        value = _DECODER.decode(data)
    except (ValueError, RecursionError) as error:
        raise ProviderMisbehaved(f"The upstream's answer is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ProviderMisbehaved("The upstream's answer is not a JSON object.")
    return value


def parse_chat_response(body: bytes, profile: Profile, card: ModelCard | None = None) -> ChatResponse:
    """Return the answer in `body`; a legacy text completion is read too.

    Raises:
        ProviderMisbehaved: the body is not an answer of this wire.
        ProviderError: the body is an error object in spite of its 200.
    """
    raw = decode_answer(body)
    choices = raw.get("choices")
    if not isinstance(choices, list) or not choices:
        if raw.get("error") or raw.get("object") == "error":
            raise classify(fault_of(raw), None, profile.provider, card.id if card else None)
        raise ProviderMisbehaved("The upstream's answer has no choices.")
    mode = tag_mode(profile, card)
    extra = {key: value for key, value in raw.items() if key not in _TOP and value is not None}
    usage = raw.get("usage")
    if isinstance(usage, dict):
        more = unknown_fields(usage)
        if more:
            extra["usage"] = more
    created = raw.get("created")
    return ChatResponse(
        id=str(raw.get("id") or ""),
        model=str(raw.get("model") or ""),
        created_s=int(created) if isinstance(created, (int, float)) else 0,
        choices=tuple([_parse_choice(choice, i, mode, profile.provider) for i, choice in enumerate(choices)]),
        usage=parse_usage(usage, profile.usage_shape),
        extra=extra or None,
    )


def _parse_choice(raw: object, position: int, mode: TagMode, provider: str) -> Choice:
    if not isinstance(raw, dict):
        raise ProviderMisbehaved("A choice of the upstream's answer is not an object.")
    message = raw.get("message")
    if message is None and isinstance(raw.get("text"), str):
        message = {"content": raw["text"]}
    if not isinstance(message, dict):
        raise ProviderMisbehaved("A choice of the upstream's answer has no message.")
    finish = raw.get("finish_reason")
    blocks = read_message(message, mode, provider, truncated=finish == "length")
    form: Any = "text" if any(type(block) is Text for block in blocks) or message.get("content") == "" else "none"
    if isinstance(message.get("refusal"), str):
        blocks.append(Refusal(text=message["refusal"]))
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        blocks.extend([_parse_call(call, i) for i, call in enumerate(calls)])
    audio = message.get("audio")
    if isinstance(audio, dict):
        blocks.append(_parse_audio(audio))
    extra = {key: value for key, value in raw.items() if key not in _CHOICE and value is not None}
    more = {key: value for key, value in message.items() if key not in _MESSAGE and value is not None}
    if more:
        extra["message"] = more
    index, logprobs = raw.get("index"), raw.get("logprobs")
    return Choice(
        index=index if isinstance(index, int) else position,
        blocks=tuple(blocks),
        finish_reason=finish_of(finish, called=bool(calls)),
        raw_finish=finish if isinstance(finish, str) else None,
        logprobs=logprobs if isinstance(logprobs, dict) else None,
        form=form,
        extra=extra or None,
    )


def _parse_audio(raw: dict[str, Any]) -> Audio:
    left = {key: value for key, value in raw.items() if key not in ("id", "data", "transcript") and value is not None}
    return Audio(id=raw.get("id"), data=raw.get("data"), transcript=raw.get("transcript"), extra=left or None)


def _parse_call(raw: object, position: int) -> ToolCall:
    kind = raw.get("type") or "function" if isinstance(raw, dict) else ""
    inner = raw.get(kind) if isinstance(raw, dict) and isinstance(kind, str) else None
    if not isinstance(raw, dict) or not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise ProviderMisbehaved("A tool call of the upstream's answer has no function name.")
    arguments = inner.get("input" if kind == "custom" else "arguments")
    if not isinstance(arguments, str):  # some engines send the object itself
        arguments = "{}" if arguments is None else _ENCODER.encode(arguments).decode()
    extra = {key: value for key, value in raw.items() if key not in ("id", "type", "index", kind) and value is not None}
    signature = take_signature(extra)
    call_id = raw.get("id") or f"call_{position}"
    return ToolCall(
        id=str(call_id), name=inner["name"], arguments=arguments, kind=str(kind), signature=signature, extra=extra or None
    )


def render_chat_response(
    response: ChatResponse,
    *,
    id: str,  # noqa: A002 - the wire's own name
    model: str,
    created_s: int,
    extension: dict[str, Any] | None,
) -> bytes:
    """Return the client's ``chat.completion`` body.

    Thinking is given under both names in use, ``reasoning_content`` and ``reasoning``. Fields of the upstream's answer that this
    code does not know are passed on; `extension` goes in as ``x_prefrontal``. Usage is left out when nobody knows it.
    """
    extra = response.extra
    out: dict[str, Any] = {
        "id": id,
        "object": "chat.completion",
        "created": created_s,
        "model": model,
        "choices": [_render_choice(choice) for choice in response.choices],
    }
    if response.usage.source != "unknown":
        out["usage"] = render_usage(response.usage, extra.get("usage") if extra else None)
    if extra:
        out.update({key: value for key, value in extra.items() if key not in out and key != "usage"})
    if extension is not None:
        out["x_prefrontal"] = extension
    return _ENCODER.encode(out)


def _render_choice(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    text: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in choice.blocks:
        if type(block) is Text:
            text.append(block.text)
        else:
            _put_block(message, block, calls)
    if text or (choice.form == "text" and not calls and message["refusal"] is None):
        message["content"] = "".join(text)
    if calls:
        message["tool_calls"] = calls
    out: dict[str, Any] = {
        "index": choice.index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": finish_word(choice.finish_reason, choice.raw_finish) or "stop",
    }
    extra = choice.extra
    if extra:
        for key, value in (extra.get("message") or {}).items():
            message.setdefault(key, value)
        for key, value in extra.items():
            if key != "message":
                out.setdefault(key, value)
    return out


def _put_block(message: dict[str, Any], block: Block, calls: list[dict[str, Any]]) -> None:
    if isinstance(block, ToolCall):
        calls.append(render_tool_call(block, native=True))
    elif isinstance(block, Reasoning):
        if block.text:
            message["reasoning_content"] = message["reasoning"] = message.get("reasoning", "") + block.text
        if block.extra and DETAILS in block.extra:
            message[DETAILS] = block.extra[DETAILS]
    elif isinstance(block, Refusal):
        message["refusal"] = (message["refusal"] or "") + block.text
    elif isinstance(block, Audio):
        fields = {"id": block.id, "data": block.data, "transcript": block.transcript, **(block.extra or {})}
        message["audio"] = {key: value for key, value in fields.items() if value is not None}


def render_error(error: PrefrontalError) -> dict[str, Any]:
    """Return the error envelope of this dialect: message, type, param, code; what is ours lies under ``x_prefrontal``."""
    shown = error.last if isinstance(error, AllAttemptsFailed) else error
    ours: dict[str, Any] = {"origin": shown.origin, "retryable": error.retryable}
    for key in ("model", "provider", "upstream_status", "upstream_code", "upstream_request_id"):
        value = getattr(shown, key, None)
        if value is not None:
            ours[key] = value
    if error.retry_after_s is not None:
        ours["retry_after_s"] = error.retry_after_s
    if shown.details:
        ours["details"] = shown.details
    if isinstance(error, AllAttemptsFailed):
        ours["attempts"] = [{"model": getattr(e, "model", None), "code": e.code, "message": e.message} for e in error.errors]
    return {
        "error": {"message": error.text, "type": shown.type, "param": error.param, "code": shown.code},
        "x_prefrontal": ours,
    }
