"""Answers and errors for clients of the Messages dialect, and what of an answer the dialect cannot carry."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.blocks import Audio, Block, Opaque, Refusal
from prefrontal.chat.response import ChatResponse, Choice
from prefrontal.contracts.wire import Dropped
from prefrontal.errors import (
    AllAttemptsFailed,
    Overloaded,
    PayloadTooLarge,
    PrefrontalError,
    ProviderLoading,
    ProviderOverloaded,
    ProviderTimeout,
)
from prefrontal.providers.anthropic.blocks import DIALECT, BlockWriter
from prefrontal.providers.anthropic.response import FINISHES, STOP_REASONS, usage_object
from prefrontal.providers.common import Report, encode
from prefrontal.providers.openai.response import render_error

NO_FIELD = "a Messages answer has no such field"

NO_MONEY = "insufficient_quota"
"""Code of the errors that say that an account or a budget is empty, an upstream's or one of ours."""

_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
}
_BY_CLASS: tuple[tuple[type[PrefrontalError], str], ...] = (
    (Overloaded, "overloaded_error"),
    (ProviderOverloaded, "overloaded_error"),
    (ProviderLoading, "overloaded_error"),
    (ProviderTimeout, "timeout_error"),
    (PayloadTooLarge, "request_too_large"),
)
"""Where the class says more than the status."""


def render_messages_response(
    response: ChatResponse,
    *,
    id: str,  # noqa: A002 - the wire's own name
    model: str,
    created_s: int = 0,
    extension: dict[str, Any] | None = None,
) -> bytes:
    """Return the answer as a Message; one that came over this wire keeps its own fields. `created_s` has no place in it.

    Fields of another upstream's answer that this code does not know are passed on. Thinking of any provider is shown, under a
    seal where it is not this wire's own; a refusal of another wire is text.
    `extension` goes in as ``x_prefrontal``.
    """
    passed = dict(response.extra or {})
    own = dict(passed.pop(DIALECT, None) or {})
    choice = response.choices[0] if response.choices else Choice()
    writer = BlockWriter(Report(), native=True, client=True)
    parts = [writer.write(block, "assistant") for block in choice.blocks if _carried(block, own)]
    usage = {**passed.pop("usage", {}), **usage_object(response.usage), **(own.pop("usage", None) or {})}
    out: dict[str, Any] = {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [part for part in parts if part is not None],
        "stop_reason": stop_reason(choice.finish_reason, choice.raw_finish, refused=choice.refusal is not None),
        "stop_sequence": None,
        "usage": usage,
    }
    out = {**passed, **out, **own}
    if extension is not None:
        out["x_prefrontal"] = extension
    return encode(out)


def _carried(block: Block, own: dict[str, Any]) -> bool:
    if isinstance(block, Refusal):
        return "stop_details" not in own
    return not isinstance(block, Audio) and (not isinstance(block, Opaque) or block.dialect == DIALECT)


def stop_reason(finish: str | None, raw: str | None, *, refused: bool = False) -> str:
    """Return the word for the end of an answer: the wire's own where the upstream used one, else the one that means the same."""
    if raw in FINISHES:
        return raw
    if refused and finish in (None, "stop"):
        return "refusal"
    return STOP_REASONS.get(finish or "", "end_turn")


def lost_in_message(response: ChatResponse) -> tuple[Dropped, ...]:
    """Return what of an answer a Message cannot carry. Extras of an answer of this wire are carried."""
    report = Report()
    if len(response.choices) > 1:
        report.drop("answer.choices", "a Message is one answer: the first was given")
    for choice in response.choices[:1]:
        _lost_in_choice(choice, (response.extra or {}).get(DIALECT) or {}, report)
    return report.dropped


def _lost_in_choice(choice: Choice, own: dict[str, Any], report: Report) -> None:
    if choice.logprobs is not None:
        report.drop("answer.logprobs", NO_FIELD)
    for key, value in (choice.extra or {}).items():
        for name in value if key == "message" else (key,):
            report.drop(f"answer.{name}", NO_FIELD)
    for block in choice.blocks:
        if isinstance(block, Refusal) and "stop_details" not in own:
            report.drop("answer.refusal", "a Message has no refusal block: given as text", "translated")
        elif isinstance(block, Audio):
            report.drop("answer.audio", "a Message carries no sound")
        elif isinstance(block, Opaque) and block.dialect != DIALECT:
            report.drop(f"answer.content.{block.dialect}", "a block that only its own dialect understands")


def error_type(error: PrefrontalError) -> str:
    """Return the dialect's word for an error: by its class where that says more than its status, else by its status."""
    shown = error.last if isinstance(error, AllAttemptsFailed) else error
    if shown.code == NO_MONEY:
        return "billing_error"
    found = next((word for kind, word in _BY_CLASS if isinstance(shown, kind)), None)
    return found or _BY_STATUS.get(shown.status, "invalid_request_error" if 400 <= shown.status < 500 else "api_error")


def render_messages_error(error: PrefrontalError, request_id: str | None = None) -> dict[str, Any]:
    """Return the error envelope of this dialect; what is ours, and `code` and `param`, lies under ``x_prefrontal``."""
    whole = render_error(error)
    ours = {"code": whole["error"]["code"], "param": whole["error"]["param"], **whole["x_prefrontal"]}
    return {
        "type": "error",
        "error": {"type": error_type(error), "message": error.text},
        "request_id": request_id or error.details.get("trace"),
        "x_prefrontal": ours,
    }
