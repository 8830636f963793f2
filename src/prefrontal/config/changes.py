"""What differs between two configurations, and which differences wait for the next start."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.config.problems import dotted
from prefrontal.config.redact import masked
from prefrontal.config.schema import Config, ModelEntry

RESTART_ONLY = (
    "server.host",
    "server.port",
    "server.workers",
    "server.max_header_bytes",
    "server.idle_timeout_s",
    "records.path",
    "records.queue_size",
    "redis",
    "store",
    "telemetry",
)
"""Settings, and whole parts of the tree, that are read once, at start."""

_NOTHING = object()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that differs. `before` / `after` None: not there; secrets are masked. `restart`: waits for the next start."""

    path: str
    before: Any = None
    after: Any = None
    restart: bool = False


def diff(old: Config, new: Config) -> list[Change]:
    """Return what differs, in the order of the tree, leaf by leaf.

    A whole added or removed model is one change, which holds what the file says of it and no defaults.
    """
    changes: list[Change] = []
    _walk(msgspec.to_builtins(old), msgspec.to_builtins(new), (), changes)
    return changes


def _walk(before: Any, after: Any, path: tuple[str | int, ...], changes: list[Change]) -> None:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            _walk(before.get(key, _NOTHING), after.get(key, _NOTHING), (*path, key), changes)
    elif before is _NOTHING or after is _NOTHING or before != after:
        name = dotted(path)
        shown = (None if side is _NOTHING else masked(_said(side, path), path) for side in (before, after))
        restart = name in RESTART_ONLY or path[0] in RESTART_ONLY
        changes.append(Change(path=name, before=next(shown), after=next(shown), restart=restart))


def _said(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return a value without the settings nobody wrote: a model's defaults, and what is empty."""
    if not isinstance(value, dict):
        return value
    defaults = msgspec.to_builtins(ModelEntry()) if len(path) == 2 and path[0] == "models" else {}
    own = {key: _said(item, (*path, key)) for key, item in value.items() if key not in defaults or item != defaults[key]}
    return {key: item for key, item in own.items() if item is not None and item not in ("", [], {}, ())}
