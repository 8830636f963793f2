"""Effort dialects as data: the structs of ``data/effort_dialects.yaml`` and its loader."""

from __future__ import annotations

from importlib import resources
from typing import Any, Literal

import msgspec
import yaml

from prefrontal.contracts.effort import Level
from prefrontal.providers.profile import Evidence

LADDER: tuple[Level, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All levels, from least to most thinking."""


class EnumOp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="enum"):
    """Write the level at `path`, spelled by `map` where given, upper-cased for `case` ``upper``."""

    path: str
    map: dict[str, Any] | None = None
    case: Literal["upper"] | None = None
    when: Literal["thinking"] | None = None


class ToggleOp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="toggle"):
    """Write `enable` or `disable` at `path`. `enable_at` ``any``: every effort above none thinks, not only from the threshold."""

    path: str
    enable: Any
    disable: Any
    enable_at: Literal["any", "threshold"] = "threshold"


class BudgetOp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="budget"):
    """Write a number of thinking tokens at `path` (and at `also`). `off_value` is the number that means no thinking."""

    path: str
    also: str | None = None
    off_value: int | None = None
    when: Literal["thinking"] | None = None


class BudgetObjectOp(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="budget_object"
):
    """Write `enable` with the budget under `key`, or `disable`, at `path`."""

    path: str
    key: str
    enable: dict[str, Any]
    disable: dict[str, Any]


class MessageSuffixOp(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="message_suffix"
):
    """Append `enable` or `disable` to the last user message."""

    enable: str
    disable: str


Op = EnumOp | ToggleOp | BudgetOp | BudgetObjectOp | MessageSuffixOp


class BudgetRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thinking tokens a model takes. `below_cap`: the budget must be smaller than the output cap.

    `requires_server_flag`: what the engine must have been started with; without it the budget is refused.
    """

    min: int
    max: int
    below_cap: bool = False
    requires_server_flag: str | None = None


class Dialect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one family of models is told how hard to think.

    levels: words it takes; alias: words translated first. binary: it only thinks or not. always_on: it cannot be kept from
    thinking. thinks_by_default: it thinks when nothing is sent. default_level: what it does when nothing is sent.
    static, static_when_thinking: fields sent along. output_cap_field: the wire's name of the output cap; cap_required: the wire
    demands one. drop_always, drop_when_thinking: request fields it does not take. keep_top_p_from: top_p from this value on
    is taken while thinking. forbid_when_thinking: ``tool_choice_forced``. require_stream_when_thinking: answers only streamed.
    status, evidence: how sure this is and what was read.
    """

    summary: str
    ops: tuple[Op, ...]
    status: Evidence
    evidence: str
    levels: tuple[Level, ...] = ()
    alias: dict[str, Level] = {}
    binary: bool = False
    always_on: bool = False
    thinks_by_default: bool = False
    default_level: Level | None = None
    budget: BudgetRange | None = None
    static: dict[str, Any] = {}
    static_when_thinking: dict[str, Any] = {}
    output_cap_field: str | None = None
    cap_required: bool = False
    drop_always: tuple[str, ...] = ()
    drop_when_thinking: tuple[str, ...] = ()
    keep_top_p_from: float | None = None
    forbid_when_thinking: tuple[Literal["tool_choice_forced"], ...] = ()
    require_stream_when_thinking: bool = False
    used_by: tuple[str, ...] = ()
    note: str | None = None


class Threshold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scores up to `max` mean `level`."""

    max: float
    level: Level


class Dialects(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All dialects and the constants they share; each constant's origin stands beside it in the data file."""

    version: int
    ladder: tuple[Level, ...]
    score_to_level: tuple[Threshold, ...]
    level_to_score: dict[str, float]
    toggle_enable_at: float
    budget_fraction: tuple[tuple[float, float], ...]
    answer_reserve_tokens: int
    always_on_cap_tokens: int
    always_on_context_share: float
    assumed_cap_tokens: int
    dialects: dict[str, Dialect]

    def level_of(self, score: float) -> Level:
        """Return the level a score in [0, 1] stands for."""
        for step in self.score_to_level:
            if score <= step.max:
                return step.level
        return self.ladder[-1]

    def score_of(self, level: Level) -> float:
        """Return the score a level's word stands for."""
        return self.level_to_score[level]

    def share_of(self, score: float) -> float:
        """Return the share of the output cap that a score may spend on thinking, in [0, 1)."""
        return _interpolate(score, self.budget_fraction)

    def score_of_share(self, share: float) -> float:
        """Return the score whose share is `share`: the inverse of `share_of`, clamped to [0, 1]."""
        return _interpolate(share, tuple((y, x) for x, y in self.budget_fraction))


def _interpolate(x: float, points: tuple[tuple[float, float], ...]) -> float:
    """Return the piecewise linear value at `x`; flat outside the given points, which ascend in x."""
    left_x, left_y = points[0]
    if x <= left_x:
        return left_y
    for right_x, right_y in points[1:]:
        if x <= right_x:
            return left_y + (right_y - left_y) * (x - left_x) / (right_x - left_x)
        left_x, left_y = right_x, right_y
    return left_y


def load_dialects() -> Dialects:
    """Return the dialects shipped with the package, read anew at each call (build once, hand around).

    Raises:
        msgspec.ValidationError: the shipped file does not fit the structs (a bug of ours; its path names the field).
    """
    text = resources.files("prefrontal.providers").joinpath("data", "effort_dialects.yaml").read_text(encoding="utf-8")
    return msgspec.convert(read_yaml(text), Dialects)


def read_yaml(text: str) -> Any:
    """Return the plain data of a YAML text, by the fast loader where PyYAML was built with libyaml."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)  # noqa: S506  # a safe loader either way
