"""What both client dialects share: bounds, checks of labels and of the state, and our extension object. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from prefrontal.chat.blocks import Image
from prefrontal.contracts.decision import (
    LEVELS,
    MAX_OPTIONS,
    MAX_QUESTIONS,
    DecisionAnswer,
    DecisionContext,
    Option,
    Question,
    Tier,
)
from prefrontal.contracts.resilience import Priority
from prefrontal.errors import InvalidRequest
from prefrontal.providers.openai.check import missing, need_object, wrong_type

FIELD = "x_prefrontal"
TYPE_FIELD = "x_type"
"""The field of a question that names a registered decision type; what the question then leaves out comes from the type."""

DIGITS = 9
"""Decimal places of shown probabilities: beyond them an engine's answers to the same question differ (measured: 1e-5)."""

COST_DIGITS = 12
"""Decimal places of a cost in US dollars that are shown: the rest is binary rounding."""

Lookup = Callable[[str], Question]
"""From the name of a registered type to its question. Raises InvalidRequest for an unknown one."""


class DecisionHints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The extension object ``x_prefrontal`` of a decision request. All optional.

    deadline_s: seconds from arrival, after which rules answer. cache: False asks and stores nothing. session: for the record.
    run: whose budget pays; tier, most_tier: where to begin, and how high to go (see `DecisionRequest`).
    The others describe the situation (`DecisionContext`).
    """

    deadline_s: float | None = None
    cache: bool = True
    session: str | None = None
    data_class: str | None = None
    priority: Priority | None = None
    agent: str | None = None
    role: str | None = None
    signals: dict[str, float] = {}
    creativity: bool = False
    multi_agent: bool = False
    novel: bool = False
    run: str | None = None
    tier: Tier | None = None
    most_tier: Tier = 3

    @property
    def context(self) -> DecisionContext:
        """The situation."""
        return DecisionContext(
            agent=self.agent,
            role=self.role,
            signals=self.signals,
            creativity=self.creativity,
            multi_agent=self.multi_agent,
            novel=self.novel,
        )


NO_HINTS = DecisionHints()


def parse_hints(value: object) -> DecisionHints:
    """Return the extension object. Raises InvalidRequest with its path."""
    if value is None:
        return NO_HINTS
    try:
        hints = msgspec.convert(need_object(value, FIELD), DecisionHints)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"x_prefrontal: {error}.", param=FIELD) from None
    if hints.deadline_s is not None and not hints.deadline_s > 0:
        raise InvalidRequest("x_prefrontal.deadline_s must be above 0.", param=f"{FIELD}.deadline_s")
    return hints


def check_state(state: object, where: str, max_bytes: int) -> None:
    """Return when there is a state and it is not too large. Raises InvalidRequest."""
    if state is None:
        raise missing(where)
    if isinstance(state, str) and not state.strip():
        raise InvalidRequest(f"'{where}' is empty: there is nothing to decide about.", param=where)
    if isinstance(state, list | dict) and not state:
        raise InvalidRequest(f"'{where}' is empty: there is nothing to decide about.", param=where)
    size = len(state.encode()) if isinstance(state, str) else len(msgspec.json.encode(state))
    if size > max_bytes:
        hint = "decisions.max_state_bytes sets the limit."
        raise InvalidRequest(f"'{where}' has {size:,} bytes; at most {max_bytes:,} are taken.", param=where, hint=hint)


def check_count(count: int, where: str) -> None:
    """Return when there may be so many questions. Raises InvalidRequest."""
    if not 1 <= count <= MAX_QUESTIONS:
        raise InvalidRequest(f"'{where}' must hold 1 to {MAX_QUESTIONS} questions, not {count}.", param=where)


def check_options(options: Sequence[Option], kind: str, where: str) -> tuple[Option, ...]:
    """Return the options of a choice or the levels of a score when they are different and not too many or too few.

    Raises:
        InvalidRequest: one of them is empty or there twice, or their number is out of range.
    """
    least, most = (2, MAX_OPTIONS) if kind == "choice" else LEVELS
    what = "options" if kind == "choice" else "levels"
    if not least <= len(options) <= most:
        raise InvalidRequest(f"'{where}' must hold {least} to {most} {what}, not {len(options)}.", param=where)
    seen: set[tuple[type, object]] = set()
    for option in options:
        if isinstance(option.value, str) and not option.value.strip():
            raise InvalidRequest(f"'{where}' holds an empty label.", param=where)
        if (type(option.value), option.value) in seen:
            raise InvalidRequest(f"'{where}' holds {option.value!r} twice.", param=where)
        seen.add((type(option.value), option.value))
    return tuple(options)


def need_text(value: object, where: str) -> str:
    """Return a text that says something. Raises InvalidRequest."""
    if value is None:
        raise missing(where)
    if type(value) is not str:
        raise wrong_type(where, "a string", value)
    if not value.strip():
        raise InvalidRequest(f"'{where}' is empty.", param=where)
    return value


def optional_text(value: object, where: str) -> str | None:
    """Return a text or None. Raises InvalidRequest for anything else."""
    if value is None:
        return None
    if type(value) is not str:
        raise wrong_type(where, "a string", value)
    return value


def image_of(url: object, where: str) -> Image:
    """Return an image by its http(s) address or data URL. Raises InvalidRequest."""
    text = need_text(url, where)
    if text.startswith(("http://", "https://")):
        return Image(url=text)
    head, comma, data = text.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64") or not comma:
        raise InvalidRequest(f"'{where}' must be an http(s) address or a base64 data URL of an image.", param=where)
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"'{where}' is not valid base64.", param=where) from None
    return Image(data=data, media_type=head.removeprefix("data:").removesuffix(";base64"))


def url_of(image: Image) -> str:
    """Return an image as an address or a data URL."""
    return image.url or f"data:{image.media_type or 'image/png'};base64,{image.data}"


def extras(answer: DecisionAnswer, *, confidence: bool) -> dict[str, Any]:
    """Return our own fields of an answer, those that say something. confidence: also ours, where the dialect has no place."""
    shown: dict[str, Any] = {"x_source": answer.source}
    if confidence:
        shown["x_confidence"] = round(answer.confidence, DIGITS)
    optional = {
        "x_label_mass": None if answer.label_mass is None else round(answer.label_mass, DIGITS),
        "x_upstream_confidence": answer.upstream_confidence,
        "x_model": answer.model,
        "x_type": answer.type,
        "x_tier": answer.tier or None,
        "x_tier_reason": answer.tier_reason,
        "x_degraded_by": answer.degraded_by,
        "x_cached": answer.cached or None,
        "x_similar": answer.similar or None,
        "x_attempts": answer.attempts or None,
        "x_cost_usd": None if answer.cost_usd is None else round(answer.cost_usd, COST_DIGITS),
        "x_prompt_version": answer.prompt_version,
        "x_degraded": answer.degraded,
        "x_fallback": answer.fallback,
        "x_finding": answer.finding,
    }
    shown.update({name: value for name, value in optional.items() if value is not None})
    shown["x_calibrator"] = answer.calibrator
    return shown


def rounded(value: float) -> float:
    """Return a probability as it is shown."""
    return round(value, DIGITS)
