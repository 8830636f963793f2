"""Values from outside the file: `${NAME}` references, `PREFRONTAL__…` variables and flags, laid over the raw tree."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from prefrontal.config.problems import Path, Problem, dotted
from prefrontal.config.yaml_source import parse_scalar

PREFIX = "PREFRONTAL__"
_OUR_OWN = frozenset({"PREFRONTAL_HOME", "PREFRONTAL_CONFIG", "PREFRONTAL_URL", "PREFRONTAL_DEBUG"})
_ALIKE = 0.8  # assumed: one word of a variable's name left out, or a few letters wrong
_FLAGS = {
    "server.host": "--host",
    "server.port": "--port",
    "logging.level": "--log-level",
    "logging.format": "--log-format",
}
"""What the command line calls the settings it has flags for."""

_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Outside(str):
    """Text that came from the environment or a flag: it may stand for a number or a truth value too."""

    __slots__ = ()


class Overlay:
    """A raw tree with the values from outside laid over it. `origins` says for each changed path where its value came from."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.origins: dict[Path, str] = {}
        self.problems: list[Problem] = []
        self.missing: list[tuple[Path, str, str]] = []
        """Variables that are not set: where they are referred to, the message and the hint."""

    def set(self, path: tuple[str, ...], value: Any, origin: str) -> None:
        """Set the value at `path`, creating mappings on the way; `origin` names its source in messages."""
        self.raw = dict(self.raw)
        here: Any = self.raw
        for depth, part in enumerate(path[:-1]):
            inner = here.get(part)
            if inner is not None and not isinstance(inner, dict):
                message = f"cannot be set: `{dotted(path[: depth + 1])}` is not a mapping"
                self.problems.append(Problem(message=message, rule="type", path=dotted(path), file=origin))
                return
            here[part] = dict(inner or {})  # a copy: the file's own tree is never changed
            here = here[part]
        here[path[-1]] = value
        self.origins[path] = origin


def lay_environment(overlay: Overlay, env: Mapping[str, str]) -> None:
    """Lay ``PREFRONTAL__A__B=value`` over the tree. Names are matched to existing keys whatever their case and punctuation."""
    for name in sorted(env):
        if not name.upper().startswith(PREFIX):
            continue
        parts = name[len(PREFIX) :].split("__")
        origin = f"${name}"
        if not all(parts):
            hint = "write it like PREFRONTAL__SERVER__PORT=4123"
            overlay.problems.append(Problem(message="names no setting", rule="environment", file=origin, hint=hint))
            continue
        overlay.set(_match(overlay.raw, parts), _outside(env[name]), origin)


def lay_flags(overlay: Overlay, flags: Mapping[str, Any]) -> None:
    """Lay flags such as ``{"server.port": 5000}`` over the tree; flags that are None were not given."""
    for name, value in flags.items():
        if value is not None:
            path = tuple(name.split("."))
            overlay.set(path, Outside(value) if isinstance(value, str) else value, _FLAGS.get(name, f"--{name}"))


def expand(overlay: Overlay, env: Mapping[str, str]) -> None:
    """Replace every ``${NAME}`` and ``${NAME:-default}`` in the tree's text; ``$${`` writes a plain ``${``.

    A variable that is not set is a problem, except inside a model with ``enabled: false``, where it becomes empty.
    """

    def walk(value: Any, path: Path, *, quiet: bool) -> Any:
        if isinstance(value, str):
            return replace(value, path, quiet=quiet)
        if isinstance(value, list):
            return [walk(item, (*path, index), quiet=quiet) for index, item in enumerate(value)]
        if isinstance(value, dict):
            off = quiet or (len(path) == 2 and path[0] == "models" and value.get("enabled") is False)
            return {key: walk(item, (*path, key), quiet=off) for key, item in value.items()}
        return value

    def replace(text: str, path: Path, *, quiet: bool) -> str:
        if "${" not in text:
            return text

        def one(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name, default = match[1], match[2]
            value = env.get(name, "")
            if value or default is not None:
                return (value or default or "").strip("\r\n")  # a secret read from a file often ends in a newline
            if not quiet:
                overlay.missing.append((path, f"the environment variable {name} is not set", _missing_hint(name, path, env)))
            return ""

        return Outside(_REFERENCE.sub(one, text))

    overlay.raw = walk(overlay.raw, (), quiet=False)


def _missing_hint(name: str, path: Path, env: Mapping[str, str]) -> str:
    others = [key for key in env if key not in _OUR_OWN and not key.startswith("PREFRONTAL__")]
    close = difflib.get_close_matches(name, others, n=1, cutoff=_ALIKE) if len(name) > 3 else []
    model = f", or set `enabled: false` on `{path[1]}`" if len(path) > 2 and path[0] == "models" else ""
    return f"did you mean `{close[0]}`?" if close else f"set {name}, or write ${{{name}:-default}}{model}"


def _outside(text: str) -> Any:
    """Return the value of a variable: lists and mappings in YAML's flow form and null are read, all else stays text."""
    if text[:1] in ("[", "{") or text in ("null", "~"):
        try:
            return parse_scalar(text)
        except yaml.YAMLError:
            return Outside(text)
    return Outside(text)


def _match(raw: Mapping[str, Any], parts: list[str]) -> tuple[str, ...]:
    """Return the path `parts` mean, using existing keys where they are the same but for case and punctuation."""
    here: Any = raw
    path: list[str] = []
    for part in parts:
        known = {_plain(key): key for key in here} if isinstance(here, dict) else {}
        name = known.get(_plain(part), part.lower())
        path.append(name)
        here = here.get(name) if isinstance(here, dict) else None
    return tuple(path)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())
