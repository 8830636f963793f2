"""Pairs of states made from the families in ``data/likeness.yaml``: true paraphrases, and near twins that mean something else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

FILLED: tuple[Mapping[str, Any], ...] = (
    {"name": "Anna", "other_name": "Bernd", "thing": "laptop", "n": 40, "m": 41},
    {"name": "Priya Shah", "other_name": "Priya Rao", "thing": "booking service", "n": 3, "m": 30},
    {"name": "Contoso", "other_name": "Fabrikam", "thing": "billing report", "n": 12, "m": 21},
    {"name": "Miguel", "other_name": "Miguela", "thing": "coffee machine", "n": 250, "m": 2500},
    {"name": "Dr. Weber", "other_name": "Dr. Wagner", "thing": "intake form", "n": 7, "m": 6},
    {"name": "Yuki", "other_name": "Yuri", "thing": "mobile app", "n": 15, "m": 50},
    {"name": "Nordwind", "other_name": "Suedwind", "thing": "sensor", "n": 99, "m": 9},
    {"name": "Olu Adeyemi", "other_name": "Olu Adeleke", "thing": "training course", "n": 5, "m": 8},
)


class Pair(NamedTuple):
    """Two states; category: ``paraphrase``, or in what they differ."""

    category: str
    first: str
    second: str


def families(half: str) -> list[dict[str, Any]]:
    """Return the families of one half, ``tune`` or ``test``."""
    text = (files("prefrontal.testing") / "data" / "likeness.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load(text)[half])


def paraphrases(half: str) -> Iterator[Pair]:
    """Yield every two phrasings of a family with the same names and numbers."""
    for family, filled in itertools.product(families(half), FILLED):
        said = [phrase.format(**filled) for phrase in family["say"]]
        for first, second in itertools.combinations(said, 2):
            yield Pair("paraphrase", first, second)


def twins(half: str) -> Iterator[Pair]:
    """Yield near twins: denied, moved in time, another number, another name, something else said."""
    for family, filled in itertools.product(families(half), FILLED):
        plain = family["say"][0].format(**filled)
        for phrase in family["say"]:
            said = phrase.format(**filled)
            yield Pair("number", plain, phrase.format(**{**filled, "n": filled["m"]}))
            yield Pair("name", plain, phrase.format(**{**filled, "name": filled["other_name"]}))
            for category in ("not", "tense", "other"):
                yield Pair(category, said, family[category].format(**filled))
