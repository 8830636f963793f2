"""The edge of every command: errors become messages and exit statuses, never stack traces."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, ParamSpec

import typer

from prefrontal.cli.screen import Screen
from prefrontal.errors import ConfigError, PrefrontalError

P = ParamSpec("P")

FAILED = 1
MISUSED = 2
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def edge(command: Callable[P, int | None]) -> Callable[P, None]:
    """Return `command` with its result as exit status, and its errors as messages.

    With the option ``as_json`` an error is one JSON document on stdout, in the form that the HTTP API uses.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        screen = Screen()
        try:
            status = command(*args, **kwargs)
        except PrefrontalError as error:
            _debug()
            status = MISUSED if isinstance(error, ConfigError) else FAILED
            tell(error, screen, as_json=bool(kwargs.get("as_json")))
        except KeyboardInterrupt:
            screen.note("interrupted")
            status = INTERRUPTED
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - the edge: a bug of ours, worded without its insides
            _debug()
            screen.note(f"error: the command failed: {type(error).__name__}: {error}", "PREFRONTAL_DEBUG=1 shows where.")
            status = FAILED
        if status:
            raise typer.Exit(status)

    return wrapped


def tell(error: PrefrontalError, screen: Screen, *, as_json: bool) -> None:
    """Say what went wrong and what helps."""
    if as_json:
        screen.json(envelope(error))
    elif isinstance(error, ConfigError):
        screen.note(*str(error).splitlines())
    else:
        screen.note(f"error: {error.message}", *([f"hint: {error.hint}"] if error.hint else []))


def envelope(error: PrefrontalError) -> dict[str, Any]:
    """Return the error as the HTTP API words it."""
    from prefrontal.providers.openai.response import render_error

    return render_error(error)


def _debug() -> None:
    if os.environ.get("PREFRONTAL_DEBUG", "") not in ("", "0"):
        traceback.print_exc(file=sys.stderr)
