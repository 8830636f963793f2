"""Checks of budgets and rate limits: that each says something, and that what it names can exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefrontal.config.problems import Path, did_you_mean
from prefrontal.config.schema import Config
from prefrontal.config.schema_money import BudgetEntry, RateEntry


def check_money(config: Config, note: Callable[..., None]) -> None:
    """Call `note` for each budget and rate that is wrong or can never apply."""
    names: dict[str, Any] = {}
    for index, budget in enumerate(config.budgets):
        path: Path = ("budgets", index)
        if budget.usd is None and budget.tokens is None:
            note(path, "amount", "says no amount", "add `usd:`, `tokens:` or both")
        _check_name(path, budget.name, names, note)
        _check_member(config, path, budget, note)
    names = {}
    for index, rate in enumerate(config.limits.rates):
        path = ("limits", "rates", index)
        if rate.requests is None and rate.tokens is None and rate.concurrency is None:
            note(path, "amount", "says no bound", "add `requests:`, `tokens:` or `concurrency:`")
        _check_name(path, rate.name, names, note)
        _check_member(config, path, rate, note)


def _check_name(path: Path, name: str | None, names: dict[str, Any], note: Callable[..., None]) -> None:
    if name is None:
        return
    if name in names:
        note((*path, "name"), "duplicate", f'another one is called "{name}"', "names tell people which one refused them")
    names[name] = path


def _check_member(config: Config, path: Path, entry: BudgetEntry | RateEntry, note: Callable[..., None]) -> None:
    if entry.of == "*":
        return
    if entry.scope == "global":
        note((*path, "of"), "unused", "means nothing for `scope: global`", fatal=False)
    elif entry.scope == "model" and config.models and entry.of not in config.models:
        hint = did_you_mean(entry.of, config.models) or "models found by discovery may be named too"
        note((*path, "of"), "unknown_model", f"no model of the file is called `{entry.of}`", hint, fatal=False)
    elif entry.scope == "role":
        roles = {*config.roles, *(role for model in config.models.values() for role in model.roles)}
        if entry.of not in roles:
            note((*path, "of"), "unknown_role", f"no model has the role `{entry.of}`", did_you_mean(entry.of, roles), fatal=False)
