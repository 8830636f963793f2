"""Effort: one score in [0, 1], told to each model in its own dialect. Pure; the dialects are data."""

from prefrontal.providers.effort.caller import effort_from_caller
from prefrontal.providers.effort.dialects import Dialect, Dialects, load_dialects
from prefrontal.providers.effort.render import render_effort, render_for_call
from prefrontal.providers.effort.resolve import dialect_of, overrides_of
from prefrontal.providers.effort.steps import nearest_level_after_400, step_down, thinking_range, without_budget_after_400

__all__ = [
    "Dialect",
    "Dialects",
    "dialect_of",
    "effort_from_caller",
    "load_dialects",
    "nearest_level_after_400",
    "overrides_of",
    "render_effort",
    "render_for_call",
    "step_down",
    "thinking_range",
    "without_budget_after_400",
]
