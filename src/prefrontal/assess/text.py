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

OPENING_WORDS: Final = 3
"""Words after the greeting that count as the opening, where the verb or the question word stands (assumed)."""

LABELLED_CHARS: Final = 24
"""Characters that must follow a label for it to count ("Context: none" gives no context); the last label always does."""

PARAGRAPH_CHARS: Final = 240
"""A line at least this long is a paragraph, not a request (assumed: two full sentences)."""

PARAGRAPH_WORDS: Final = 90
"""A text without line breaks is a paragraph from this many words (assumed)."""

DENSE_NUMBERS: Final = 8
"""A text is dense with numbers when at least one word in this many is a number (assumed)."""

_WORD: Final = re.compile(r"\w+")
_FIRST_OPTION: Final = re.compile(r"\n[ \t]*(?:\(?[Aa][).:]\s|\(1\)\s|(?:[Oo]ptions|[Cc]hoices|OPTIONS):?[ \t]*\n)")
_OPTION: Final = re.compile(r"\n[ \t]*(?:\(?[A-Ja-j][).:]|[-*•]|\(?\d[).])[ \t]+([^\n]*)")
_INLINE_OPTIONS: Final = (("(A)", "(B)", "(C)"), ("A)", "B)", "C)"), ("a)", "b)", "c)"), (" A.", " B.", " C."))
_CODE_LINE: Final = re.compile(
    r"\n[ \t]*(?:def \w+\(|class \w+[:({]|import \w|from [\w.]+ import|#include|#!/|public \w|private \w"
    r"|function \w*\(|const \w+ ?=|let \w+ ?=|var \w+ ?=|return\b.*;|if ?\(.*\{|for ?\(.*\{|fn \w+|func \w+\("
    r"|(?:SELECT|select)\s.*(?:FROM|from)\b|INSERT INTO|CREATE TABLE|>>> |<\?php|<(?:div|html|body|script)\b"
    r"|using namespace|async def|assert )"
)
_FORMULA: Final = re.compile(r"(?:\d|\b[a-z]|\))(?: ?[+*^=×÷<>≤≥] ?| [-/−] )(?:\d|[(√-]|[a-z]\b)")
_OPERATORS: Final = ("=", "+", "*", "^", "×", "÷", "<", ">", "≤", "≥", " - ", " / ", " − ")
_LATEX: Final = re.compile(
    r"\\(?:d?frac|sqrt|sum|int|lim|sin|cos|tan|log|ln|pi|theta|alpha|beta|cdot|times|left|begin|leq?|geq?|infty"
    r"|mathbb|mathrm|overline|angle|circ|dots)\b|\$[^$\n]{1,200}\$"
)
_SPEAKER: Final = re.compile(r"\n[ \t]*#?[A-Z][\w.]{1,14}(?: [A-Z]\w{1,14})?:\s")
_FILE_NAME: Final = re.compile(r"\.(?:py|js|ts|tsx|java|cpp|rs|go|html|css|sql|sh|rb|php|ipynb|ya?ml|toml)\b")
_CODE_MARKS: Final = ("()", "):", "==", "!=", "->", "=>", "&&", "||", "::", "</", "{\n", ";\n", "};", "+=", "[i]", '"""', "self.")
_LOOSE_BRACKETS: Final = (" (", "\n(", "((", "$(")
_FAULTS: Final = ("Error:", "Exception:", "Exception in", "error[E", "Segmentation fault")


class TextView(msgspec.Struct, frozen=True, kw_only=True):
    """A text as the rules see it; made by :func:`read_text`."""

    sample: str
    """The characters that were read: the whole text, or its head and tail."""
    words: tuple[str, ...]
    """Words of the sample in order, lower case, without a closing list of options."""
    ask: tuple[str, ...]
    """Words of the request itself: the first and last ``ASK_WORDS`` of a long text, every word of a short one."""
    labels: frozenset[str]
    """Words directly before a colon, such as ``passage`` in ``Passage: …``."""
    n_chars: int
    """Length of the whole text in characters."""
    numbers: int
    """How many words are numbers, in digits or, each counted once, spelled out."""
    facts: frozenset[str]
    """Names of the structural facts that hold (see :func:`structural_facts`)."""


def read_text(text: str) -> TextView:
    """Read a text once; never raises, whatever the text holds (lone surrogates and NULs included).

    When a list of options closes the text, the words are those of the question before it: the options are possible
    answers, and their words say little about what is being asked.

    Cost: bounded by ``HEAD_CHARS + TAIL_CHARS`` apart from one copy and a few substring searches.
    """
    sample = text
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        sample = text[:HEAD_CHARS] + "\n" + text[-TAIL_CHARS:]
    stem, facts = _split_options(sample)
    lowered = stem.lower()
    words = _WORD.findall(lowered)
    numbers = sum(map(str.isnumeric, words)) + len(_NUMBER_WORDS.intersection(words))
    ask = words if len(words) <= 2 * ASK_WORDS else words[:ASK_WORDS] + words[-ASK_WORDS:]
    facts += structural_facts(stem, len(words), len(text), numbers)
    return TextView(
        sample=sample,
        words=tuple(words),
        ask=tuple(ask),
        labels=_labels(lowered),
        n_chars=len(text),
        numbers=numbers,
        facts=frozenset(facts),
    )


def read_words(text: str) -> tuple[str, ...]:
    """Return the words that `read_text` would find in a short text, without looking at its form."""
    return tuple(_WORD.findall(_split_options(text)[0].lower()))


def _split_options(sample: str) -> tuple[str, list[str]]:
    """Return the text before a closing list of options, and what the list itself shows."""
    if "\n" in sample and (first := _FIRST_OPTION.search(sample)):
        options = _OPTION.findall(
            sample[max(first.end() - 3, first.start()) :] if first.group().strip()[-1] == ":" else sample[first.start() :]
        )
        if len(options) >= 2:
            stem = sample[: first.start()]
            return (stem if len(stem) >= 12 else sample), ["options", *_option_facts(options)]
    if any(all(mark in sample for mark in marks) for marks in _INLINE_OPTIONS):
        return sample, ["options"]
    return sample, []


def _option_facts(options: list[str]) -> list[str]:
    numeric = sum([option[:1] in "$£€-+√" or option[:1].isdigit() for option in options if option])
    if numeric * 2 > len(options):
        return ["options_numeric"]
    if {option.strip().lower() for option in options} <= _VERDICTS:
        return ["options_verdict"]
    return []


_VERDICTS: Final = frozenset(
    {"yes", "no", "true", "false", "valid", "invalid", "unknown", "uncertain", "maybe", "plausible", "implausible"}
)
_NUMBER_WORDS: Final = frozenset(
    {
        *("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "twenty"),
        *("thirty", "fifty", "hundred", "thousand", "twice", "half", "double", "triple"),
    }
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
    facts += _code_facts(sample)
    if ("\\" in sample or "$" in sample) and _LATEX.search(sample):
        facts.append("latex")
    if any(sign in sample for sign in _OPERATORS):
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
    facts += [name for name, least in _NUMBER_COUNTS if numbers >= least]
    if n_chars > HEAD_CHARS + TAIL_CHARS:
        facts.append("long_text")
    if numbers >= 2 and numbers * DENSE_NUMBERS >= n_words:
        facts.append("dense_numbers")
    if any(sign in sample for sign in "%$£€"):
        facts.append("money_or_percent")
    if (max(map(len, sample.split("\n", 60))) >= PARAGRAPH_CHARS) if "\n" in sample else n_words >= PARAGRAPH_WORDS:
        facts.append("paragraph")
    return facts + _ending_facts(sample, n_words)


def _ending_facts(sample: str, n_words: int) -> list[str]:
    facts = []
    finished = not sample[-1:].isalnum()
    if sample.rstrip(" \n\t\"'”)*").endswith("?"):
        facts.append("ends_with_question")
    elif n_words <= 70 and not finished:
        facts.append("unfinished")
    if n_words <= 14 and not finished and "\n" not in sample and sample[:1].islower():
        facts.append("bare_query")
    if sample.count(". ") >= 2:
        facts.append("several_sentences")
    if "?" in sample:
        facts.append("question_mark")
    if "\n" in sample:
        facts.append("several_lines")
    return facts


_WORD_SIZES: Final = (("words_40", 40), ("words_80", 80), ("words_150", 150), ("words_300", 300))
_NUMBER_COUNTS: Final = (("a_number", 1), ("numbers", 2), ("several_numbers", 3))
_WORD_LIMITS: Final = (("at_most_14_words", 14), ("at_most_30_words", 30), ("at_most_70_words", 70))


def _code_facts(sample: str) -> list[str]:
    facts = []
    if "```" in sample:
        facts.append("code_fence")
    if _CODE_LINE.search("\n" + sample):
        facts.append("code_line")
    marks = sum([sample.count(mark) for mark in _CODE_MARKS if mark[0] in sample])
    # A bracket that touches the word before it is a call; prose puts a space there.
    if "(" in sample:
        calls = sample.count("(") - sum([sample.count(loose) for loose in _LOOSE_BRACKETS])
        marks += min(max(calls, 0), 4)
    if "`" in sample:
        marks += (sample.count("`") - 2 * sample.count("``")) // 2
    if marks >= 2:
        facts.append("code_marks")
    if marks >= 8:
        facts.append("many_code_marks")
    if ("rror" in sample or "xception" in sample or "fault" in sample) and any(fault in sample for fault in _FAULTS):
        facts.append("stack_trace")
    if _FILE_NAME.search(sample):
        facts.append("source_file")
    return facts


def _labels(lowered: str) -> frozenset[str]:
    if ":" not in lowered:
        return frozenset()
    pieces = lowered.split(":", 40)
    last = len(pieces) - 2
    return frozenset(
        word[-1]
        for i, piece in enumerate(pieces[:-1])
        if (len(pieces[i + 1]) >= LABELLED_CHARS or i == last) and (word := piece[-24:].split())
    )


FACTS: Final = frozenset(
    {
        *(name for name, _ in _WORD_SIZES),
        *(name for name, _ in _WORD_LIMITS),
        *("long_text", "a_number", "numbers", "several_numbers", "dense_numbers", "money_or_percent"),
        *("ends_with_question", "question_mark", "unfinished", "bare_query", "several_lines", "several_sentences", "paragraph"),
        *("options", "options_numeric", "options_verdict", "speakers"),
        *("code_fence", "code_line", "code_marks", "many_code_marks", "stack_trace", "source_file"),
        *("latex", "formula", "formulas"),
    }
)
"""Every name that :func:`structural_facts` can return."""
