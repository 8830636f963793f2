"""Which language a text is written in: by script where the script tells, else by its frequent words.

The answer is a hint for choosing a model, not a linguist's verdict: a text too short or too mixed to tell is ``None``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import Final, NamedTuple

import msgspec

SCRIPT_SAMPLE: Final = 600
"""Characters examined for their script (assumed: a few dozen letters settle it)."""

SCRIPT_SHARE: Final = 0.25
"""Share of the letters a non-Latin script needs to name the language (assumed: a quoted foreign word stays below)."""

KANA_SHARE: Final = 0.05
"""Share of kana among the East Asian letters above which the text is Japanese, not Chinese (assumed)."""

MIN_WORD_SCORE: Final = 1.5
"""Stop-word score that a Latin-script language other than English must reach (assumed: two telling words)."""

LEAD_OVER_ENGLISH: Final = 1.25
"""Factor by which another language must beat English (assumed: English words appear in every language's prompts)."""


_LAST_LATIN: Final = "\u036f"
"""Letters up to here are Latin, or marks on them."""


class _ScriptEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    script: str
    language: str
    ranges: tuple[tuple[int, int], ...]


class LanguageFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shape of ``data/languages.yaml``."""

    scripts: tuple[_ScriptEntry, ...]
    letters: dict[str, str]
    marks: dict[str, str]
    stop_words: dict[str, tuple[str, ...]]

    def evidence(self) -> dict[str, tuple[str, ...]]:
        """Words and marked letters of each language written in Latin letters."""
        return {code: (*words, *self.marks.get(code, "")) for code, words in self.stop_words.items()}


class Languages(NamedTuple):
    """Look-up tables made once from a :class:`LanguageFile`; treat as read-only."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    range_languages: tuple[str, ...]
    letters: tuple[tuple[str, frozenset[str]], ...]
    english: dict[str, float]
    """Weight of a word for English."""
    foreign: dict[str, tuple[tuple[str, float], ...]]
    """Weight of a word for each other language that has it."""


def compile_languages(file: LanguageFile) -> Languages:
    """Turn the table of scripts and stop words into look-ups."""
    spans = sorted((first, last, e.language) for e in file.scripts for first, last in e.ranges)
    owners: dict[str, list[str]] = {}
    for language, words in file.evidence().items():
        for word in words:
            owners.setdefault(word, []).append(language)
    return Languages(
        starts=tuple(s[0] for s in spans),
        ends=tuple(s[1] for s in spans),
        range_languages=tuple(s[2] for s in spans),
        letters=tuple((language, frozenset(chars)) for language, chars in file.letters.items()),
        english={word: 1 / len(found) for word, found in owners.items() if "en" in found},
        foreign={
            word: others
            for word, found in owners.items()
            if (others := tuple((language, 1 / len(found)) for language in found if language != "en"))
        },
    )


def detect_language(sample: str, words: frozenset[str], languages: Languages) -> str | None:
    """Return the ISO 639-1 code of the text's language, or None when there is too little to tell.

    Args:
        sample: the text or a sample of it.
        words: its distinct words in lower case.
        languages: the compiled tables.
    """
    if not sample.isascii():
        by_script = _by_script(sample, languages)
        if by_script is not None:
            return by_script
        words = words | {char for char in set(sample[:SCRIPT_SAMPLE].lower()) if char > "\x7f"}
    return _by_stop_words(words, languages)


def _by_script(sample: str, languages: Languages) -> str | None:
    half = SCRIPT_SAMPLE // 2
    part = sample if len(sample) <= SCRIPT_SAMPLE else sample[:half] + sample[-half:]
    candidates = [char for char in set(part) if char > _LAST_LATIN and char.isalpha()]
    if not candidates:
        return None
    letters = sum(map(str.isalpha, part))
    counts: Counter[str] = Counter()
    for char in candidates:
        i = bisect_right(languages.starts, ord(char)) - 1
        if i >= 0 and ord(char) <= languages.ends[i]:
            counts[languages.range_languages[i]] += part.count(char)
    foreign = sum(counts.values())
    if not foreign or foreign < SCRIPT_SHARE * letters:
        return None
    east_asian = counts["ja"] + counts["zh"]
    if counts["ja"] and counts["ja"] >= KANA_SHARE * east_asian:
        counts["ja"] = east_asian
    language = max(counts, key=lambda code: (counts[code], code))
    if language in ("ru", "ar"):
        for finer, own in languages.letters:
            if (finer == "uk") == (language == "ru") and not own.isdisjoint(part):
                return finer
    return language


def _by_stop_words(words: frozenset[str], languages: Languages) -> str | None:
    english = sum([languages.english[word] for word in languages.english.keys() & words])
    scores: dict[str, float] = {}
    for word in languages.foreign.keys() & words:
        for language, weight in languages.foreign[word]:
            scores[language] = scores.get(language, 0.0) + weight
    best = max(scores, key=lambda code: (scores[code], code), default="en")
    if scores.get(best, 0.0) >= max(MIN_WORD_SCORE, LEAD_OVER_ENGLISH * english):
        return best
    return "en" if english > 0 else None
