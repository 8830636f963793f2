"""What can be read off a text in one pass: its words, where they stand, and its outer form.

Everything here is language-neutral mechanics. Which words matter is said in ``data/cues.yaml``; what they mean is said
in ``data/task_rules.yaml``.

A long text is sampled: its first ``HEAD_CHARS`` and last ``TAIL_CHARS`` characters are read, because people put the
request before or after the material. The cost is therefore bounded whatever the size of the text.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

HEAD_CHARS: Final = 2_400
"""Characters read from the start of a long text (assumed: some 400 words, more than any opening instruction seen)."""

TAIL_CHARS: Final = 1_200
"""Characters read from the end of a long text (assumed: the closing question with its options)."""

ASK_WORDS: Final = 45
"""Words at either end of a text that are taken for the request itself (measured: instructions around an article in
public prompt collections are shorter than this in 95 of 100 cases)."""

OPENING_WORDS: Final = 4
"""Words after the greeting that count as the opening, where the verb or the question word stands (assumed)."""

_WORD: Final = re.compile(r"\w+")
_OPTION_LINE: Final = re.compile(r"\n\s*\(?([A-Ja-j])[).:]\s")
_CODE_LINE: Final = re.compile(
    r"\n[ \t]*(?:def \w+\(|class \w+[:({]|import \w|from [\w.]+ import|#include|#!/|public \w|private \w"
    r"|function \w*\(|const \w+ ?=|let \w+ ?=|var \w+ ?=|return\b.*;|if ?\(.*\{|for ?\(.*\{|fn \w+|func \w+\("
    r"|(?:SELECT|select)\s.*(?:FROM|from)\b|INSERT INTO|CREATE TABLE|>>> |<\?php|<(?:div|html|body|script)\b"
    r"|using namespace|async def|assert )"
)
_FORMULA: Final = re.compile(r"[\dxyzn)]\s*[-+*/^=×÷<>≤≥]\s*[\d(xyzn√-]")
_LATEX: Final = re.compile(
    r"\\(?:d?frac|sqrt|sum|int|lim|sin|cos|tan|log|ln|pi|theta|alpha|beta|cdot|times|left|begin|leq?|geq?|infty"
    r"|mathbb|mathrm|overline|angle|circ|dots)\b|\$[^$\n]{1,200}\$"
)
_SPEAKER: Final = re.compile(r"\n\s*#?[A-Z][\w.]{1,14}(?: [A-Z]\w{1,14})?:\s")
_FILE_NAME: Final = re.compile(
    r"\.(?:py|js|ts|tsx|java|cpp|rs|go|html|css|sql|sh|rb|php|ipynb|ya?ml|toml)\b"
)
_CODE_MARKS: Final = (
    ("()", "):", "==", "!=", "->", "=>", "&&", "||", "::", "</", "{\n", ";\n", "};", "`", "+=", "[i]", '"""', "self.")
)
_FAULTS: Final = ("Traceback (most", "Error:", "Exception:", "Exception in", "error[E", "Segmentation fault")


class TextView(msgspec.Struct, frozen=True, kw_only=True):
    """A text as the rules see it; made by :func:`read_text`."""

    sample: str
    """The characters that were read: the whole text, or its head and tail."""
    lowered: str
    """``sample`` in lower case."""
    words: tuple[str, ...]
    """Words of the sample in order, lower case."""
    ask: tuple[str, ...]
    """Words of the request itself: the first and last ``ASK_WORDS`` of a long text, every word of a short one."""
    labels: frozenset[str]
    """Words directly before a colon, such as ``passage`` in ``Passage: …``."""
    n_chars: int
    """Length of the whole text in characters."""
    numbers: int
    """Words of the sample that are numbers."""
    facts: frozenset[str]
    """Names of the structural facts that hold (see :func:`structural_facts`)."""


def read_text(text: str) -> TextView:
    """Read a text once; never raises, whatever the text holds (lone surrogates and NULs included).

    Cost: bounded by ``HEAD_CHARS + TAIL_CHARS`` apart from one copy and a few substring searches.
    """
    sample = text
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        sample = text[:HEAD_CHARS] + "\n" + text[-TAIL_CHARS:]
    lowered = sample.lower()
    words = _WORD.findall(lowered)
    numbers = sum(map(str.isnumeric, words))
    ask = words if len(words) <= 2 * ASK_WORDS else words[:ASK_WORDS] + words[-ASK_WORDS:]
    facts = structural_facts(sample, len(words), len(text), numbers)
    return TextView(
        sample=sample,
        lowered=lowered,
        words=tuple(words),
        ask=tuple(ask),
        labels=_labels(lowered),
        n_chars=len(text),
        numbers=numbers,
        facts=frozenset(facts),
    )


def opening(words: tuple[str, ...], courtesy: frozenset[str]) -> tuple[str, ...]:
    """Return the first ``OPENING_WORDS`` words after greetings and courtesies ("could you please …")."""
    for start, word in enumerate(words[:12]):
        if word not in courtesy:
            return words[start : start + OPENING_WORDS]
    return ()


def structural_facts(sample: str, n_words: int, n_chars: int, numbers: int) -> list[str]:
    """Name what the outer form of a text shows: length, options, code, formulas, speakers.

    The names are the vocabulary that ``task_rules.yaml`` may use without declaring it as a cue.
    """
    facts = _size_facts(sample, n_words, n_chars, numbers)
    if _has_options(sample):
        facts.append("options")
    facts += _code_facts(sample)
    if ("\\" in sample or "$" in sample) and _LATEX.search(sample):
        facts.append("latex")
    if numbers or "=" in sample:
        found = len(_FORMULA.findall(sample))
        if found:
            facts.append("formula")
        if found >= 3:
            facts.append("formulas")
    if sample.count(":") >= 4 and len(_SPEAKER.findall(sample)) >= 4:
        facts.append("speakers")
    return facts


def _size_facts(sample: str, n_words: int, n_chars: int, numbers: int) -> list[str]:
    facts = [name for name, least in _WORD_SIZES if n_words >= least]
    facts += [name for name, most in _WORD_LIMITS if n_words <= most]
    if n_chars > HEAD_CHARS + TAIL_CHARS:
        facts.append("long_text")
    if numbers >= 1:
        facts.append("a_number")
    if numbers >= 2:
        facts.append("numbers")
    if numbers >= 3:
        facts.append("several_numbers")
    if numbers * 8 >= n_words and numbers >= 2:
        facts.append("dense_numbers")
    if sample.rstrip(" \n\t\"'”)*").endswith("?"):
        facts.append("ends_with_question")
    if "?" in sample:
        facts.append("question_mark")
    if "\n" in sample:
        facts.append("several_lines")
        if max(map(len, sample.split("\n", 60))) >= 240:
            facts.append("paragraph")
    elif n_words >= 90:
        facts.append("paragraph")
    if "%" in sample or "$" in sample or "£" in sample or "€" in sample:
        facts.append("money_or_percent")
    return facts


_WORD_SIZES: Final = (("words_40", 40), ("words_80", 80), ("words_150", 150), ("words_300", 300))
_WORD_LIMITS: Final = (("at_most_14_words", 14), ("at_most_30_words", 30), ("at_most_70_words", 70))


def _has_options(sample: str) -> bool:
    if "\n" in sample:
        letters = {m.lower() for m in _OPTION_LINE.findall(sample) if m}
        if len(letters) >= 2 and "b" in letters:
            return True
        if "ptions:" in sample or "hoices:" in sample:
            return True
    return any(all(mark in sample for mark in marks) for marks in _INLINE_OPTIONS)


_INLINE_OPTIONS: Final = (("A)", "B)", "C)"), ("a)", "b)", "c)"), (" A.", " B.", " C."))


def _code_facts(sample: str) -> list[str]:
    facts = []
    if "```" in sample:
        facts.append("code_fence")
    if _CODE_LINE.search("\n" + sample):
        facts.append("code_line")
    marks = sum(map(sample.count, _CODE_MARKS))
    # A bracket that touches the word before it is a call; prose puts a space there.
    calls = sample.count("(") - sample.count(" (") - sample.count("\n(") - sample.count("((") - sample.count("$(")
    marks += min(calls, 4) if calls > 0 else 0
    if marks >= 2:
        facts.append("code_marks")
    if marks >= 8:
        facts.append("many_code_marks")
    if any(fault in sample for fault in _FAULTS):
        facts.append("stack_trace")
    if _FILE_NAME.search(sample):
        facts.append("source_file")
    return facts


def _labels(lowered: str) -> frozenset[str]:
    if ":" not in lowered:
        return frozenset()
    pieces = lowered.split(":", 40)[:-1]
    return frozenset(word[-1] for piece in pieces if (word := piece[-24:].split()))
