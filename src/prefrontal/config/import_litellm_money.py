"""LiteLLM's budgets and rate limits, of the proxy and of single models, as ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_DURATION = re.compile(r"(\d+)\s*(s|m|h|d|w|mo)")
_WINDOWS = {
    "1m": "minute",
    "60s": "minute",
    "1h": "hour",
    "60m": "hour",
    "1d": "day",
    "24h": "day",
    "7d": "week",
    "1w": "week",
    "30d": "month",
    "31d": "month",
    "1mo": "month",
}
"""Their lengths that have a calendar window of ours."""


def take_model_money(model: str, params: dict[str, Any], config: dict[str, Any], notes: list[str]) -> None:
    """Take the budget and the limits of one deployment out of `params` and add them to `config`, for the model it became."""
    _take_budget({"scope": "model", "of": model}, params, f"budget of {model}", config, notes)
    bounds = {ours: _whole(params.pop(theirs, None)) for theirs, ours in (("rpm", "requests"), ("tpm", "tokens"))}
    given = {name: value for name, value in bounds.items() if value is not None}
    if given:
        rate = {"scope": "model", "of": model, "window": "minute", **given}
        config.setdefault("limits", {}).setdefault("rates", []).append(rate)


def take_proxy_money(proxy: dict[str, Any], general: dict[str, Any], config: dict[str, Any], notes: list[str]) -> None:
    """Take what bounds the proxy as a whole."""
    _take_budget({"scope": "global"}, proxy, "litellm_settings.max_budget", config, notes)
    at_once = _whole(general.pop("global_max_parallel_requests", None))
    if at_once is not None:
        config.setdefault("limits", {})["concurrency"] = at_once


def _take_budget(
    scope: Mapping[str, str], source: dict[str, Any], where: str, config: dict[str, Any], notes: list[str]
) -> None:
    usd, length = source.pop("max_budget", None), source.pop("budget_duration", None)
    if not isinstance(usd, int | float) or isinstance(usd, bool):
        return
    window = "total" if length is None else _window(str(length))
    if window is None:
        window = "month"
        notes.append(f"{where}: `{length}` is no window here; it became a month, which may be more or less than you meant")
    elif length is not None:
        notes.append(f"{where}: a calendar {window}, in UTC, instead of {length} from the first call")
    config.setdefault("budgets", []).append({**scope, "window": window, "usd": usd})


def _window(length: str) -> str | None:
    found = _DURATION.fullmatch(length.strip().lower())
    return None if found is None else _WINDOWS.get(found[1].lstrip("0") + found[2])


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1 else None
