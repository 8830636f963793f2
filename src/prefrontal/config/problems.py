"""What is wrong with a configuration, each problem with its place, and the error that carries them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import msgspec

from prefrontal.errors import ConfigError

Path = tuple[str | int, ...]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One wrong setting. `path` is dotted, `line` counts from 1, `rule` is a stable name such as ``unknown_key``."""

    message: str
    rule: str
    path: str = ""
    file: str | None = None
    line: int | None = None
    hint: str | None = None

    @property
    def text(self) -> str:
        """One line for people: ``file:line: path: message (hint)``."""
        place = self.file or ""
        if place and self.line is not None:  # without a file, as when the configuration is a dict, a line says nothing
            place = f"{place}:{self.line}"
        path = "" if place == f"--{self.path}" else self.path
        where = ": ".join(part for part in (place, path) if part)
        said = f"{where}: {self.message}" if where else self.message
        return f"{said} ({self.hint})" if self.hint else said


class ConfigProblems(ConfigError):
    """A configuration was refused. `problems` holds all that was found; the first fills file, path, rule and hint."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(first.message, file=first.file, path=first.path or None, rule=first.rule, hint=first.hint)
        self.problems = tuple(problems)
        self.line = first.line
        self.details["line"] = first.line
        self.details["problems"] = [msgspec.to_builtins(problem) for problem in problems]

    def __str__(self) -> str:
        return "\n".join(problem.text for problem in self.problems)


def dotted(path: Path) -> str:
    """Return `path` as people write it: ``models.gpt.price.windows[0].from``; names with dots are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = f'"{part}"' if "." in part or not part else part
            text += f".{name}" if text else name
    return text


def nearest(name: str, known: Iterable[str], *, at_most: int = 3) -> list[str]:
    """Return the names in `known` that a person may have meant by `name`, closest first; upper and lower case are the same."""
    by_lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=at_most, cutoff=0.6)
    alike = {item: difflib.SequenceMatcher(None, item, name.lower()).ratio() for item in found}
    return [by_lower[item] for item in found if alike[item] >= alike[found[0]] - 0.1]  # a much better match stands alone


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return the hint for a name that is not in `known`: the close names, else the whole list when it is short."""
    names = sorted(known)
    close = nearest(name, names)
    if close:
        return "did you mean " + " or ".join(f"`{item}`" for item in close) + "?"
    if 0 < len(names) <= 12:  # a longer list hides the message
        return "known: " + ", ".join(names)
    return None
