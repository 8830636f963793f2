"""What the formulas of lenses see in a text: how many words and phrases of each meaning. Pure but for reading its table once."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import msgspec
import yaml

from prefrontal.assess.lexicon import Cue, Lexicon, compile_lexicon, count_cues
from prefrontal.assess.text import read_words
from prefrontal.decisions.lenses.lens import SHOWN_HEAD


@lru_cache(maxsize=1)  # package data: it does not change while the package is installed
def lexicon() -> Lexicon:
    """Return the words of domains and risks."""
    text = (files("prefrontal.decisions.lenses") / "data" / "cues.yaml").read_text(encoding="utf-8")
    return compile_lexicon(msgspec.convert(yaml.safe_load(text), dict[str, Cue]))


def counted(text: str) -> dict[str, int]:
    """Return how many different words and phrases of each meaning the beginning of a text has."""
    return count_cues(read_words(text[:SHOWN_HEAD].lower()), lexicon())
