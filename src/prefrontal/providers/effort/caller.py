"""What the caller itself asked: the words, budget objects and scores a request may carry, read into one effort."""

from __future__ import annotations

import math
from typing import Any

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.effort import Effort, Factor, Level
from prefrontal.errors import InvalidRequest
from prefrontal.providers.effort.dialects import LADDER, Dialects

MODEL_DEFAULT = "default"
"""The word for "as the model does by itself" (Groq's): no effort field is sent and none is computed."""

UNSIZED_THINKING: Level = "high"
"""Level of a thinking object that switches thinking on without a size (specified: DeepSeek v4's and Claude's own default)."""


def effort_from_caller(request: ChatRequest, dialects: Dialects) -> Effort | None:
    """Return the effort the request asks for; None when it asks for none, so that a policy may compute one.

    Precedence: ``x_prefrontal.effort``, then ``reasoning_effort``, then ``thinking``. All three are checked even if unused.
    The word ``default`` gives an effort of origin ``default``.

    Raises:
        InvalidRequest: a value outside its range or vocabulary; `param` names the field.
    """
    hint = _from_hint(request.hints.effort)
    word = _from_word(request.reasoning_effort, dialects)
    thinking = _from_thinking(request, dialects)
    return hint or word or thinking


def _from_hint(score: float | None) -> Effort | None:
    if score is None:
        return None
    if isinstance(score, bool) or math.isnan(score) or not 0.0 <= score <= 1.0:
        raise InvalidRequest(f"x_prefrontal.effort must be a number from 0 to 1, not {score!r}.", param="x_prefrontal.effort")
    return _caller(float(score), None, f"the caller asked for effort {score:g}")


def _from_word(word: str | None, dialects: Dialects, *, param: str = "reasoning_effort") -> Effort | None:
    if word is None:
        return None
    if word == MODEL_DEFAULT:
        return Effort(origin="default")
    for level in LADDER:
        if word == level:
            return _caller(dialects.score_of(level), level, f"the caller asked for {param} {level}")
    allowed = ", ".join((*LADDER, MODEL_DEFAULT))
    raise InvalidRequest(f"{param} must be one of {allowed}, not {word!r}.", param=param)


def _from_thinking(request: ChatRequest, dialects: Dialects) -> Effort | None:
    thinking = request.thinking
    if thinking is None:
        return None
    kind = thinking.get("type")
    if kind == "disabled":
        return _caller(0.0, "none", "the caller switched thinking off")
    if kind in ("adaptive", "between_tools"):
        return _output_effort(request, dialects) or _unsized(dialects, f"the caller asked for {kind} thinking")
    if kind != "enabled":
        raise InvalidRequest(
            f"thinking.type must be one of enabled, disabled, adaptive, between_tools, not {kind!r}.", param="thinking.type"
        )
    if "budget_tokens" in thinking:
        return _from_budget(thinking["budget_tokens"], request.max_output_tokens, dialects)
    if request.dialect == "anthropic":
        raise InvalidRequest("thinking.budget_tokens is required when thinking is enabled.", param="thinking.budget_tokens")
    return _unsized(dialects, "the caller switched thinking on")


def _output_effort(request: ChatRequest, dialects: Dialects) -> Effort | None:
    """The word beside adaptive thinking, which lies in ``output_config.effort``."""
    config = (request.extra or {}).get("output_config")
    word = config.get("effort") if isinstance(config, dict) else None
    if word is None:
        return None
    if not isinstance(word, str):
        raise InvalidRequest("output_config.effort must be a word.", param="output_config.effort")
    return _from_word(word, dialects, param="output_config.effort")


def _from_budget(tokens: Any, cap: int | None, dialects: Dialects) -> Effort:
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise InvalidRequest(
            f"thinking.budget_tokens must be a whole number above 0, not {tokens!r}.", param="thinking.budget_tokens"
        )
    share = tokens / (cap or dialects.assumed_cap_tokens)
    score = dialects.score_of_share(share)
    return _caller(score, None, f"the caller gave {tokens} thinking tokens, {share:.0%} of the output cap")


def _unsized(dialects: Dialects, reason: str) -> Effort:
    return _caller(dialects.score_of(UNSIZED_THINKING), UNSIZED_THINKING, reason)


def _caller(score: float, level: Level | None, reason: str) -> Effort:
    return Effort(score=score, level=level, origin="caller", factors=(Factor(name="caller", value=score, reason=reason),))
