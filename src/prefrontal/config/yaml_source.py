"""Reading YAML strictly: every key once, no surprising conversions, and the line of every setting kept.

The scalars follow YAML 1.2: only ``true`` and ``false`` are booleans (``on``, ``off``, ``yes``, ``no`` stay text), ``08:30`` and
dates stay text, a leading zero does not mean octal. Underscores may group the digits of integers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from prefrontal.config.problems import ConfigProblems, Path, Problem, dotted

if TYPE_CHECKING:
    from yaml import SafeLoader as _Base
else:
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_NODES = 200_000  # assumed: far beyond any registry; stops aliases that multiply


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed file: plain values, and the line (from 1) of each setting."""

    raw: dict[str, Any]
    lines: dict[Path, int] = {}
    file: str | None = None


class _Loader(_Base):
    """The C parser with the scalars of YAML 1.2."""


_SCALARS = (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:int", r"^[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$|^[-+]?[0-9]+[eE][-+]?[0-9]+$",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", r"^<<$", "<"),
)
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes that we, or a reader of YAML 1.1, would take for something else."""


_Dumper.yaml_implicit_resolvers = {first: list(rules) for first, rules in yaml.SafeDumper.yaml_implicit_resolvers.items()}
for _tag, _pattern, _first in _SCALARS:
    _Dumper.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def write_yaml(value: Any) -> str:
    """Return a value, or a tree of structs, as YAML that `parse_yaml` reads back as the same."""
    plain = msgspec.to_builtins(value)
    written: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return written


def parse_scalar(text: str) -> Any:
    """Return the value YAML gives to `text` standing alone: for values from the environment. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a safe loader


def parse_yaml(text: str, file: str | None = None) -> Source:
    """Return the mapping written in `text`; an empty text is an empty mapping.

    Raises:
        ConfigProblems: it is not YAML, not a mapping, or a key stands twice; each with its line.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            reader = _Reader(loader, file)
            raw = {} if node is None else reader.read(node, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise ConfigProblems([_syntax(error, text, file)]) from error
    except yaml.YAMLError as error:
        raise ConfigProblems([Problem(message=f"not YAML: {error}", rule="yaml", file=file)]) from error
    if raw is None:  # a file that holds only comments or `---`
        raw = {}
    if not isinstance(raw, dict):
        found = "a list" if isinstance(raw, list) else "a single value"
        message = f"the file holds {found}, not settings"
        reader.problems.append(Problem(message=message, rule="mapping", file=file, line=1, hint="write `name: value` lines"))
    if reader.problems:
        raise ConfigProblems(reader.problems)
    return Source(raw=raw, lines=reader.lines, file=file)


def _syntax(error: yaml.MarkedYAMLError, text: str, file: str | None) -> Problem:
    """Return the problem a parser error stands for, with a hint for the mistakes people make."""
    mark = error.problem_mark or error.context_mark
    said = error.problem or "it cannot be read"
    hint = None
    lines = text.split("\n")
    line = "" if mark is None or mark.line >= len(lines) else lines[mark.line]  # YAML knows more line ends than this
    if "\t" in line[: len(line) - len(line.lstrip())]:
        hint = "indent with spaces, not tabs"
    elif "mapping values are not allowed" in said:
        hint = "quote a value that holds a colon, and check the indentation"
    elif "found character '@'" in said or "found character '`'" in said or "alias" in said:
        hint = "quote values that begin with @, `, * or &"
    return Problem(message=f"not YAML: {said}", rule="yaml", file=file, line=None if mark is None else mark.line + 1, hint=hint)


class _Reader:
    """Turns nodes into plain values and notes lines and problems on the way."""

    def __init__(self, loader: _Loader, file: str | None) -> None:
        self._loader = loader
        self._file = file
        self._nodes = 0
        self._open: set[int] = set()
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []

    def read(self, node: yaml.Node, path: Path) -> Any:
        """Return the value of `node`, which stands at `path`."""
        self._nodes += 1
        if self._nodes > MAX_NODES or id(node) in self._open:
            self._note(node, path, "aliases", "the aliases in this file refer to themselves or multiply without end")
            raise ConfigProblems(self.problems)
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._loader.construct_object(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            name = self._name(key, path)
            line = key.start_mark.line + 1
            if name in first and key.tag != "tag:yaml.org,2002:merge":
                message = f"the key is written twice, first in line {first[name]}"
                self._note(key, (*path, name), "duplicate_key", message, "keep one of them")
            first.setdefault(name, line)
        self._loader.flatten_mapping(node)  # `<<: *other` puts the other's keys before our own, which then win
        values: dict[str, Any] = {}
        for key, value in node.value:
            name = self._name(key, path)
            self.lines[(*path, name)] = key.start_mark.line + 1
            values[name] = self.read(value, (*path, name))
        return values

    def _name(self, key: yaml.Node, path: Path) -> str:
        if not isinstance(key, yaml.ScalarNode):
            self._note(key, path, "key", "a key must be a word", "did you forget quotes around `{…}` or `[…]`?")
            raise ConfigProblems(self.problems)
        return str(key.value)

    def _note(self, node: yaml.Node, path: Path, rule: str, message: str, hint: str | None = None) -> None:
        line = node.start_mark.line + 1
        self.problems.append(Problem(message=message, rule=rule, path=dotted(path), file=self._file, line=line, hint=hint))
