"""Options that several commands share, and what commands need from the process."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from prefrontal.cli.session import Place
    from prefrontal.clock import SystemClock

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="The configuration; else $PREFRONTAL_CONFIG, ./prefrontal.yaml, the home's."
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", metavar="NAME", help="A model's name, auto, auto/CHANNEL, role/NAME, or reflex for no model at all."
    ),
]
Effort = Annotated[
    str | None,
    typer.Option(
        "--effort", "-e", metavar="LEVEL", help="How hard to think: none, minimal, low, medium, high, xhigh, max, or 0 to 1."
    ),
]
Channel = Annotated[str | None, typer.Option(metavar="NAME", help="chat, code, system_health, or one of your own.")]
Url = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Ask the gateway there, as $PREFRONTAL_URL does; its key is $PREFRONTAL_API_KEY."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for machines, errors too.")]


class LogLevel(StrEnum):
    """Levels of log lines."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class LogFormat(StrEnum):
    """Forms of log lines."""

    text = "text"
    json = "json"


class Priority(StrEnum):
    """Who is refused first when there is more work than room."""

    low = "low"
    normal = "normal"
    high = "high"


class BudgetWindow(StrEnum):
    """Windows of budgets."""

    minute = "minute"
    hour = "hour"
    day = "day"
    week = "week"
    month = "month"
    total = "total"


class Status(StrEnum):
    """How requests end."""

    ok = "ok"
    error = "error"
    cancelled = "cancelled"


def place(config: Path | None) -> Place:
    """Return where the command runs: the process's environment and the file named on the command line."""
    from prefrontal.cli.session import Place

    return Place(env=dict(os.environ), config=config)


def system_clock() -> SystemClock:
    """Return the clock of this machine, which commands hand down."""
    from prefrontal.clock import SystemClock

    return SystemClock()
