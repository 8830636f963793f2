"""Take the courtesies off a question, and match what is left against whole-sentence grammars."""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_CHARACTERS = 200  # specified: a longer text is never one short question, and must cost next to nothing

_GREETING = (
    r"(?:hey|hi|hello|hiya|yo|ok|okay|so|um|uh|hmm|well|please|pls|plz|sorry|excuse me|quick question|quick one|question|"
    r"just curious|just wondering|good (?:morning|afternoon|evening))(?: there)?(?: ?[,:;.!?-]+ ?| )"
)
_REQUEST = (
    r"(?:(?:can|could|would|will) you (?:please |kindly |quickly |just )?(?:help me (?:to )?)?"
    r"|(?:i(?:'d| would) like|i need|i want|i have) to |i'm trying to |help me (?:to )?|i (?:was )?wonder(?:ing)? |let's )"
)
_TELL = (
    r"(?:(?:tell me|let me know|give me|show me|remind me|know|find out|do you (?:happen to )?know|any idea|i need|i want) "
    r"(?:the answer to )?)"
)
_OPENING = re.compile(rf"(?:{_GREETING}){{0,3}}(?:{_REQUEST})?(?:{_TELL})?(?:please )?", re.IGNORECASE)
_THANKS = (
    "please", "pls", "plz", "thanks", "thanks a lot", "thanks so much", "thanks in advance", "thank you", "thank you very much",
    "thank you so much", "thx", "ty", "cheers", "for me", "real quick", "quickly",
)  # fmt: skip
_MARKS = " ,;:.?"
_SAME = str.maketrans(
    {"\u2019": "'", "\u2018": "'", "\u2032": "'", "\u201c": '"', "\u201d": '"', "\u2033": '"', "\u2212": "-", "\u2013": "-"}
)
_SLOT = re.compile(r"\{(\w+):(\w+)\}")


def bare_question(text: str) -> str:
    """Return the question without greeting, "can you tell me", "please", "thanks" and closing marks; letter case is kept.

    Whitespace is collapsed to single spaces, typographic quotes and minus signs become the plain ones.
    """
    text = " ".join(text.split())
    if not text.isascii():
        text = text.translate(_SAME)
    opening = _OPENING.match(text)
    if opening is not None and opening.end():
        text = text[opening.end() :]
    return _without_thanks(text)


def _without_thanks(text: str) -> str:
    """Drop closing marks and thanks. "!" is dropped only behind a word: behind a number it may be a factorial."""
    while True:
        text = text.rstrip(_MARKS)
        bare = text.rstrip("!")
        if bare is not text and bare[-1:].isalpha():
            text = bare
        lowered = text[-20:].lower()
        if not lowered.endswith(_THANKS):
            return text
        ending = max((thanks for thanks in _THANKS if lowered.endswith(thanks)), key=len)
        rest = text[: -len(ending)]
        if rest[-1:].isalnum():
            return text  # the end of another word
        text = rest


class Grammar:
    """Named patterns, tried in order, each of which must match the whole question.

    A pattern is a regular expression in which `{name:kind}` stands for a captured part of the kind given in `kinds`.
    """

    def __init__(self, patterns: Mapping[str, str | tuple[str, ...]], kinds: Mapping[str, str]) -> None:
        def expand(pattern: str) -> str:
            return _SLOT.sub(lambda slot: f"(?P<{slot[1]}>{kinds[slot[2]]})", pattern)

        self._patterns = tuple(
            (form, re.compile(expand(pattern), re.IGNORECASE))
            for form, given in patterns.items()
            for pattern in ((given,) if isinstance(given, str) else given)
        )

    def match(self, text: str) -> tuple[str, dict[str, str]] | None:
        """Return the first matching form and its captured parts (absent ones left out), or None."""
        for form, pattern in self._patterns:
            found = pattern.fullmatch(text)
            if found is not None:
                return form, {name: part for name, part in found.groupdict().items() if part is not None}
        return None
