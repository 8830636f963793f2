"""The versioned wording of questions to models without a decision route: data in ``data/VERSION.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import msgspec
import yaml

from prefrontal.contracts.decision import Kind
from prefrontal.errors import ConfigError

Form = Literal["code", "json", "stated"]
LATEST = "v1"

_PLACE = re.compile(r"\{(\w+)\}")


class Words(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the two answers of a yes_no are called."""

    yes: str
    no: str


class Asks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for: a bare code, JSON with one, JSON with one and a confidence, or reasons first."""

    code: str
    json: str
    stated: str
    reason: str


class Wording(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of the wording; see the file. `reason_tokens` caps the reasons of a chain of thought."""

    version: str
    system: str
    headings: dict[Kind, str]
    option: str
    described: str
    words: Words
    ask: Asks
    conclude: str
    group: str
    reason_tokens: int


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return the template with its ``{names}`` replaced, each once: what is put in is not searched again."""
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), template)


@lru_cache(maxsize=8)
def load_wording(version: str = LATEST) -> Wording:
    """Return a shipped version. Raises ConfigError naming those there are."""
    known = versions()
    if version not in known:
        raise ConfigError(f"unknown prompt version `{version}`", rule="unknown_template", hint=f"known: {', '.join(known)}")
    text = (files("prefrontal.decisions") / "data" / f"{version}.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), Wording)


def versions() -> tuple[str, ...]:
    """Return the shipped versions in order."""
    folder = files("prefrontal.decisions") / "data"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))
