"""Numbers as people write them: read exactly into fractions, shown without floating-point noise."""

from __future__ import annotations

import re
from fractions import Fraction

# Digits, grouped in the Western or the Indian way or not at all, with a decimal point. "1,5" is no number here: whether
# its comma groups or separates decimals cannot be known.
NUMBER = r"(?:(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d{1,30})(?:\.\d{1,30})?|\.\d{1,30})"
SIGNED = rf"[+-]?{NUMBER}"
# A number, a common fraction ("3/4") or a mixed number ("1 1/2").
AMOUNT = rf"(?:[+-]?(?:\d{{1,6}} )?\d{{1,6}}/\d{{1,6}}|{SIGNED})"

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve "
    "thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: value for value, word in enumerate(_ONES.split())} | {
    word: 20 + 10 * index for index, word in enumerate(_TENS.split())
}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORD = rf"(?:{'|'.join([*_SMALL, 'hundred', *_LARGE])})\b"
_WORDS = re.compile(rf"\b{_WORD}(?:(?:[ -]| and (?=\w)){_WORD})*", re.IGNORECASE)
_A_HUNDRED = re.compile(rf"\b(?<!half )a (?=(?:hundred|{'|'.join(_LARGE)})\b)", re.IGNORECASE)
_SCALED = re.compile(rf"({NUMBER}) ({'|'.join(_LARGE)})\b", re.IGNORECASE)
_LARGE_WORDS = frozenset(["hundred", *_LARGE])
_MAX_SPELLED_WORDS = 20  # assumed: a question with its numbers in words is shorter; reading words is the slowest step
_NUMBER_WORDS = frozenset([*_SMALL, "hundred", *_LARGE])
HAS_DIGIT = re.compile(r"[0-9]").search
_MAX_SHOWN_DIGITS = 200  # assumed: longer integers help nobody in a chat


def parse_number(text: str) -> Fraction:
    """Return the exact value of a NUMBER, SIGNED or AMOUNT. Raises ValueError or ZeroDivisionError on anything else."""
    text = text.replace(",", "").strip()
    if "/" in text:
        whole, _, part = text.rpartition(" ")
        value = Fraction(part)
        return value if not whole else Fraction(whole) + (-value if whole.startswith("-") else value)
    return Fraction(text)


def has_number_words(text: str) -> bool:
    """Say whether a short text has a number word. Cheap: it runs on every short prompt."""
    if text.count(" ") > _MAX_SPELLED_WORDS:
        return False
    return not _NUMBER_WORDS.isdisjoint(text.lower().replace("-", " ").split(" "))


def with_digits(text: str) -> str:
    """Return `text` with number words ("twenty-five", "two hundred and six", "2.5 million") written as digits.

    Word sequences that are no single number ("one two") stay as they are, so no grammar takes them.
    """
    words = text.lower().split(" ")
    large = not _LARGE_WORDS.isdisjoint(words)
    if large:
        text = _A_HUNDRED.sub("one ", text)
    text = _WORDS.sub(lambda match: _value_of_words(match[0]), text)
    return _SCALED.sub(lambda match: plain(parse_number(match[1]) * _LARGE[match[2].lower()]), text) if large else text


def _value_of_words(phrase: str) -> str:
    total, part, last = 0, 0, 10**15
    words = phrase.lower().replace("-", " ").split()
    if words[0] in _LARGE or words[0] == "hundred":
        return phrase  # "2.5 million": the digits in front are scaled afterwards
    for position, word in enumerate(words):
        if word == "and":
            if words[position - 1] not in ("hundred", *_LARGE):
                return phrase
        elif word == "hundred":
            if not 0 < part < 100 or last == 100:
                return phrase
            part, last = part * 100, 100
        elif word in _LARGE:
            if not part or (total and _LARGE[word] >= last):
                return phrase
            total, part, last = total + part * _LARGE[word], 0, _LARGE[word]
        else:
            value = _SMALL[word]
            if part % 100 and (part % 100 < 20 or part % 10 or not 0 < value < 10):
                return phrase
            part += value
    return str(total + part)


def plain(value: Fraction) -> str:
    """Return an exact decimal without exponent or grouping, or the fraction "a/b" when no finite decimal exists."""
    places = finite_places(value)
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    return decimal(value, places)


def finite_places(value: Fraction) -> int | None:
    """Return how many decimal places write `value` exactly, or None when it never ends."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def decimal(value: Fraction, places: int) -> str:
    """Return `value` rounded half away from zero to `places` decimals, without trailing zeros."""
    scaled = abs(value) * 10**places
    digits = str(int(scaled + Fraction(1, 2))).rjust(places + 1, "0")
    whole, part = (digits[:-places], digits[-places:].rstrip("0")) if places else (digits, "")
    sign = "-" if value < 0 and (whole.strip("0") or part) else ""
    return f"{sign}{whole}.{part}" if part else f"{sign}{whole}"


def rounded(value: Fraction, significant: int) -> tuple[str, bool]:
    """Return `value` with at most `significant` digits (never cutting its integer part), and whether nothing was lost."""
    size, places = abs(value), 0
    if size:
        exponent = len(str(size.numerator)) - len(str(size.denominator))
        while size >= Fraction(10) ** (exponent + 1):
            exponent += 1
        while size < Fraction(10) ** exponent:
            exponent -= 1
        places = max(0, significant - 1 - exponent)
    text = decimal(value, places)
    return text, Fraction(text) == value


def shown_exactly(value: Fraction) -> str | None:
    """Return `value` in full if that is short enough to read (12 decimals, 200 digits), else None."""
    places = finite_places(value)
    if places is None or places > 12:
        return None
    text = decimal(value, places)
    return text if len(text) <= _MAX_SHOWN_DIGITS else None
