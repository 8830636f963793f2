"""Checks of what is said of engrams: names that can be names, classes that exist, folders that are absolute."""

from __future__ import annotations

import re
from collections.abc import Callable

from prefrontal.config.problems import Path, did_you_mean
from prefrontal.config.schema import Config

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
MOST_ENGRAMS = 8
"""Engrams that one request may be answered from (assumed: each is searched in turn, on one thread)."""


def check_knowledge(config: Config, note: Callable[..., None]) -> None:
    """Call `note` for each setting about engrams that is wrong. Whether an engram exists is seen when it is asked."""
    knowledge = config.knowledge
    lists: list[tuple[Path, tuple[str, ...] | None]] = [(("knowledge", "default"), knowledge.default)]
    lists += [(("routing", "channels", name, "knowledge"), one.knowledge) for name, one in config.routing.channels.items()]
    lists += [(("models", name, "knowledge"), one.knowledge) for name, one in config.models.items()]
    for path, names in lists:
        if len(names or ()) > MOST_ENGRAMS:
            note(path, "too_many", f"a request is answered from at most {MOST_ENGRAMS} engrams")
        _names(path, names or (), note)
    _names(("knowledge", "preload"), tuple([name for name in knowledge.preload if name != "*"]), note)
    for name, entry in knowledge.engrams.items():
        _names(("knowledge", "engrams"), (name,), note)
        known = config.egress.by_data_class
        if entry.data_class is not None and entry.data_class not in known:
            hint = did_you_mean(entry.data_class, known) or "define it under `egress.by_data_class`"
            text = f"unknown data class `{entry.data_class}`"
            note(("knowledge", "engrams", name, "data_class"), "unknown_name", text, hint)
    for index, root in enumerate(knowledge.roots):
        if not root.startswith(("/", "~")):
            text = f'"{root}" is not an absolute path'
            note(("knowledge", "roots", index), "path", text, "write /srv/documents, or ~/documents")


def _names(path: Path, names: tuple[str, ...], note: Callable[..., None]) -> None:
    for index, name in enumerate(names):
        if not NAME.fullmatch(name):
            note((*path, index), "name", f'"{name}" cannot be the name of an engram', "letters, digits, dot, dash and underscore")
