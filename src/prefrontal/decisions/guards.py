"""What two states must have in common before an answer may serve both, however alike their words are. Pure.

Numbers, negations, tenses, quantities, names and opposites: each of them turns a sentence into another one while changing one
word of it, which likeness does not see. What a guard is not sure of, it objects to; a paraphrase that is missed costs one call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any

import msgspec

LONG = 3
"""Texts of no more words than this are taken for one of a set of values, and must be equal (assumed)."""

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,:]\d+)*")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_MIXED = re.compile(r"\b(?=\w*\d)(?=\w*[^\W\d_])\w+\b|\S+@\S+|https?://\S+")
_SENTENCE = re.compile(r"(?:^|[.!?:;]\s+)\W*$")
_COUNTED = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty
"""
_NUMERALS = {word: str(number) for number, word in enumerate(_COUNTED.split()) if word != "one"}
_TIMES = {"once": "1", "twice": "2", "thrice": "3", "double": "2", "half": "0.5", "hundred": "100", "thousand": "1000"}
_DENYING = """
not no never none nobody nothing neither nor cannot without unable hardly barely scarcely refuse refuses refused lacks
"""
_DENIES = frozenset(_DENYING.split())
_AMOUNTS = {
    **dict.fromkeys(("all", "every", "each", "everybody", "everyone", "entire", "whole"), "all"),
    **dict.fromkeys(("some", "several", "few", "part", "partly"), "some"),
    **dict.fromkeys(("only", "merely"), "only"),
    **dict.fromkeys(("most", "mostly", "many"), "many"),
    **dict.fromkeys(("maybe", "perhaps", "possibly", "probably", "might", "may"), "maybe"),
    **dict.fromkeys(("should", "must", "shall"), "must"),
    **dict.fromkeys(("always", "constantly"), "always"),
    **dict.fromkeys(("more", "less", "fewer"), "compared"),
}
_WILL = frozenset(["will", "shall", "won't", "tomorrow"])
_WAS = frozenset(["was", "were", "had", "did", "yesterday", "ago", "could"])
_IRREGULAR_PAST = """
broke sent went came took made said paid lost left found began wrote ran fell bought sold kept held told felt met stood gave
became chose drew drove ate flew forgot froze hid knew led lent rose shook spoke stole swam threw wore won thought brought
caught taught built spent got has have wanted asked
"""
_IRREGULAR = frozenset(_IRREGULAR_PAST.split())
_IS = frozenset(["is", "are", "am", "be", "been", "being", "isn't", "aren't"])
_NO_PAST = """
need feed speed seed exceed proceed succeed indeed hundred red bed shed united related based
"""
_NOT_PAST = frozenset(_NO_PAST.split())
_STATE = _IS | frozenset(["was", "were", "wasn't", "weren't"])
_ORDINARY = """
i we you he she it they the a an this that these those there here my our your his her its their please could can would may if
when while as for in on at by with without from to and or but because since after before due according all some every each no
any what which who how why hello hi dear thanks yes ok customer client task ticket user
"""
_COMMON = frozenset(_ORDINARY.split())


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What of a state must be equal, and what is compared.

    fixed: bytes that are equal for states whose values, numbers, negations, tenses and amounts are. names: words that name
    somebody or something, in order; maybe: words at the beginning of a sentence, which may be names. words: all, in lower case.
    """

    fixed: bytes
    names: tuple[str, ...]
    maybe: frozenset[str]
    words: tuple[str, ...]


class Lexicon(msgspec.Struct, frozen=True, kw_only=True):
    """Word → the word that stands for its group; words that say nothing; word → its opposites; phrases → one word for each."""

    groups: Mapping[str, str]
    fillers: frozenset[str]
    apart: Mapping[str, frozenset[str]]
    phrases: tuple[tuple[re.Pattern[str], str], ...] = ()


def load_lexicon() -> Lexicon:
    """Return the shipped words."""
    groups: dict[str, str] = {}
    fillers: set[str] = set()
    apart: dict[str, set[str]] = {}
    phrases: list[tuple[re.Pattern[str], str]] = []
    for line in (files("prefrontal.decisions") / "data" / "words.txt").read_text(encoding="utf-8").splitlines():
        head, colon, rest = line.partition(":")
        if line.startswith("#") or not line.strip():
            continue
        if colon and head == "filler":
            fillers.update(rest.split())
        elif colon and head == "phrase":
            pairs = [part.strip().partition("=") for part in rest.split(";")]
            phrases += [(re.compile(rf"\b{re.escape(words)}\b", re.IGNORECASE), word) for words, _, word in pairs]
        elif colon and head == "apart":
            for pair in rest.split():
                one, _, other = pair.partition("/")
                apart.setdefault(one, set()).add(other)
                apart.setdefault(other, set()).add(one)
        else:
            first, *others = line.split()
            groups.update(dict.fromkeys(others, first))
    opposites = {word: frozenset(others) for word, others in apart.items()}
    return Lexicon(groups=groups, fillers=frozenset(fillers), apart=opposites, phrases=tuple(phrases))


def features_of(state: Any, lexicon: Lexicon) -> Features:
    """Return the features of a state: a text, or JSON whose short texts are values."""
    texts: list[str] = []
    skeleton = _skeleton(state, texts)
    text = "\n".join(texts).replace("’", "'")
    for phrase, word in lexicon.phrases:
        text = phrase.sub(word, text)
    lowered = [word.lower() for word in _WORD.findall(text)]
    numbers = [number for word in lowered if (number := _number(word)) is not None]
    tense = _tense(lowered)
    amounts = sorted({_AMOUNTS[word] for word in lowered if word in _AMOUNTS})
    fixed = msgspec.json.encode((skeleton, numbers, _denials(lowered), tense, amounts, sorted(_MIXED.findall(text.lower()))))
    names, maybe = _names(text)
    return Features(fixed=fixed, names=names, maybe=maybe, words=tuple(lowered))


def agree(one: Features, other: Features, lexicon: Lexicon) -> bool:
    """Return whether no guard objects.

    Values, numbers, negations, tenses and amounts are equal, the same is named in the same order, and no word of one is the
    opposite of a word of the other.
    """
    if one.fixed != other.fixed or not _same_names(one, other):
        return False
    mine, theirs = set(one.words), set(other.words)
    for word in mine - theirs:
        if any(opposite in theirs and opposite not in mine for opposite in _opposites(word, lexicon)):
            return False
    return True


def stemmed(lexicon: Lexicon, stem: Callable[[str], list[str]]) -> dict[str, str]:
    """Return stem → the stem that stands for its group."""
    return {"".join(stem(word)): "".join(stem(first)) for word, first in lexicon.groups.items()}


def concepts(features: Features, lexicon: Lexicon, stem: Callable[[str], list[str]], groups: Mapping[str, str]) -> frozenset[str]:
    """Return what a state speaks of: the stems of its words, each as the one that stands for its group, without fillers."""
    said = [word for word in features.words if word not in lexicon.fillers and not word[0].isdigit() and word not in _NUMERALS]
    return frozenset([groups.get(one, one) for one in stem(" ".join(said))])


def says_other(one: frozenset[str], other: frozenset[str]) -> bool:
    """Return whether each of two states speaks of something that the other does not: then one word stands in place of another."""
    return bool(one - other) and bool(other - one)


def _skeleton(value: Any, texts: list[str]) -> Any:
    """Return a state with its sentences taken out into `texts`; what is left must be equal."""
    if isinstance(value, str):
        if len(value.split()) <= LONG:
            return value
        texts.append(value)
        return None
    if isinstance(value, dict):
        return [[key, _skeleton(value[key], texts)] for key in sorted(value)]
    return [_skeleton(one, texts) for one in value] if isinstance(value, list) else value


def _number(word: str) -> str | None:
    return word if _NUMBER.fullmatch(word) else _NUMERALS.get(word) or _TIMES.get(word)


def _denials(words: Iterable[str]) -> int:
    return sum(1 for word in words if word in _DENIES or word.endswith("n't"))


def _tense(words: list[str]) -> str:
    """Return ``future``, ``past`` or ``present``. A participle after a form of `be` in the present is a state, not the past."""
    past = False
    for place, word in enumerate(words):
        if word in _WILL or word.endswith("'ll") or (word == "going" and words[place + 1 : place + 2] == ["to"]):
            return "future"
        if word in ("has", "have"):
            past = past or _is_past(words[place + 1 : place + 3])
        elif word in _WAS or word in ("wasn't", "weren't", "didn't", "hadn't", "couldn't"):
            past = True
        elif (_looks_past(word) or word in _IRREGULAR) and not _STATE & set(words[max(0, place - 3) : place]):
            past = past or not _by(words, place)
    return "past" if past else "present"


def _by(words: list[str], place: int) -> bool:
    """Return whether a participle follows a name without a verb, as in `assigned to`."""
    return words[place] in ("assigned", "called", "named") and words[place + 1 : place + 2] in (["to"], ["by"])


def _is_past(following: list[str]) -> bool:
    perfect = ("been", "taken", "done", "gone", "given")
    return any(_looks_past(word) or word in _IRREGULAR or word in perfect for word in following)


def _looks_past(word: str) -> bool:
    return len(word) > 4 and word.endswith("ed") and word not in _NOT_PAST


def _names(text: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the capitalised words inside sentences, in order, and those at their beginning."""
    names: list[str] = []
    maybe: set[str] = set()
    for found in _WORD.finditer(text):
        word = found[0].removesuffix("'s")
        if not word[0].isupper() or word == "I":
            continue
        if _SENTENCE.search(text[: found.start()]):
            maybe.add(word)
        names.append(word)
    return tuple(names), frozenset(maybe)


def _same_names(one: Features, other: Features) -> bool:
    """Return whether both name the same in the same order; a word at the beginning of a sentence may be no name at all."""
    first = [word for word in one.names if _is_name(word, one, other)]
    second = [word for word in other.names if _is_name(word, other, one)]
    return first == second


def _is_name(word: str, own: Features, other: Features) -> bool:
    """Return whether a capitalised word is a name: not one that only begins a sentence and is an ordinary word."""
    if word not in own.maybe:
        return True
    if own.names.count(word) > 1 or (word in other.names and word not in other.maybe):
        return True
    low = word.lower()
    if low in _COMMON:
        return False
    return not (low in other.words and word not in other.names)


def _opposites(word: str, lexicon: Lexicon) -> Iterable[str]:
    for form in (word, word.removesuffix("s"), word.removesuffix("d"), word.removesuffix("ed"), word.removesuffix("ing")):
        for opposite in lexicon.apart.get(form, ()):
            yield from (opposite, f"{opposite}s", f"{opposite}d", f"{opposite}ed", f"{opposite}ing")

