"""The tables behind an assessment, loaded once by the composition root and passed in.

``load_rules()`` is the only place that reads package data; everything else in this room is a pure function of its
arguments. ``Rules`` is read-only after it is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Final, NamedTuple

import msgspec

from prefrontal.assess.language import LanguageFile, Languages, compile_languages
from prefrontal.assess.lexicon import Cue, Lexicon, compile_lexicon
from prefrontal.assess.text import FACTS
from prefrontal.contracts.assessment import TaskType

ZONES: Final = ("", "open")
"""Where a cue may stand: anywhere in the request itself, or among its opening words."""

REQUEST_FACTS: Final = frozenset(
    {"image", "audio", "file", "tools_offered", "tool_required", "tool_result", "not_english", "no_text"}
)
"""Facts of the request rather than of its text; made by :mod:`prefrontal.assess.needs`."""


class TaskRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: when `all` and one of `any` hold and `none` does not, add `points` to the task types."""

    rule: str
    points: dict[TaskType, float]
    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()


class RuleFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of ``data/task_rules.yaml``."""

    prior: dict[TaskType, float]
    confidence: tuple[tuple[float, float], ...]
    rules: tuple[TaskRule, ...]


class CompiledRule(NamedTuple):
    """A :class:`TaskRule` with its conditions as sets."""

    name: str
    points: tuple[tuple[TaskType, float], ...]
    all: frozenset[str]
    any: frozenset[str]
    none: frozenset[str]


class Rules(NamedTuple):
    """Everything an assessment looks up."""

    lexicon: Lexicon
    languages: Languages
    courtesy: frozenset[str]
    prior: dict[TaskType, float]
    confidence: tuple[tuple[float, float], ...]
    rules: tuple[CompiledRule, ...]
    atoms: dict[str, dict[str, tuple[tuple[int, str], ...]]]


def load_rules() -> Rules:
    """Read the shipped tables.

    Raises:
        msgspec.ValidationError: a table does not have its documented shape.
        ValueError: a rule names a cue or fact that does not exist.
    """
    data = files("prefrontal.assess").joinpath("data")
    cues = msgspec.yaml.decode(data.joinpath("cues.yaml").read_bytes(), type=dict[str, Cue])
    rule_file = msgspec.yaml.decode(data.joinpath("task_rules.yaml").read_bytes(), type=RuleFile)
    languages = msgspec.yaml.decode(data.joinpath("languages.yaml").read_bytes(), type=LanguageFile)
    return compile_rules(cues, rule_file, languages)


def compile_rules(cues: dict[str, Cue], rule_file: RuleFile, languages: LanguageFile) -> Rules:
    """Check the tables against each other and index them.

    Raises:
        ValueError: a rule names a cue or fact that does not exist.
    """
    compiled = tuple(_compile_rule(rule) for rule in rule_file.rules)
    courtesy = frozenset(cues["courtesy"].words)
    scored = {name: cue for name, cue in cues.items() if name != "courtesy"}
    return Rules(
        lexicon=compile_lexicon(scored),
        languages=compile_languages(languages),
        courtesy=courtesy,
        prior=dict(rule_file.prior),
        confidence=rule_file.confidence,
        rules=compiled,
        atoms=_atom_table(scored, compiled),
    )


def _compile_rule(rule: TaskRule) -> CompiledRule:
    return CompiledRule(
        name=rule.rule,
        points=tuple(rule.points.items()),
        all=frozenset(rule.all),
        any=frozenset(rule.any),
        none=frozenset(rule.none),
    )


def _atom_table(cues: Iterable[str], rules: Iterable[CompiledRule]) -> dict[str, dict[str, tuple[tuple[int, str], ...]]]:
    """Map zone → cue → (least count, atom) for the atoms that some rule asks for."""
    known = set(cues)
    table: dict[str, dict[str, list[tuple[int, str]]]] = {zone: {} for zone in ZONES}
    for rule in rules:
        for atom in rule.all | rule.any | rule.none:
            name, least, zone = parse_atom(atom)
            if name in known and zone in table:
                entry = table[zone].setdefault(name, [])
                if (least, atom) not in entry:
                    entry.append((least, atom))
            elif atom not in FACTS and atom not in REQUEST_FACTS:
                raise ValueError(f"rule {rule.name!r} names {atom!r}, which is neither a cue nor a fact")
    return {zone: {cue: tuple(found) for cue, found in by_cue.items()} for zone, by_cue in table.items()}


def parse_atom(atom: str) -> tuple[str, int, str]:
    """Split ``cue#2@open`` into (cue, least number of different hits, zone); the count defaults to 1, the zone to all."""
    name, _, zone = atom.partition("@")
    name, _, least = name.partition("#")
    return name, int(least) if least.isdigit() else 1, zone
