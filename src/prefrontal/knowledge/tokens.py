"""Text to terms: runs of letters and digits, parts of identifiers, no stop words, stemmed.

`cafés` gives `café`, `getHTTPResponse` gives `get http respons` and, as a compound, the whole identifier. Scripts written
without spaces give overlapping pairs of characters. The same text gives the same terms on every machine: nothing depends on
the process, the locale or what was read before.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from array import array
from collections.abc import Callable

import snowballstemmer

RUNS = re.compile(r"\w+")
"""What is counted as a word wherever words are counted."""

_APART = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}

PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_SIGNS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
UNSPACED = re.compile(f"[{_SIGNS}]")
FOREIGN = re.compile(f"[{_SIGNS}]+|\\d+|[^\\W\\d_{_SIGNS}]+")

LONGEST = 64
"""Longer runs are encoded data rather than words; only their beginning counts (assumed)."""

CACHE = 400_000
"""Words remembered with their terms; then the memory starts anew (about 100 MB at most: assumed)."""

_STOP = (
    "a about above after again against all also am an and any are as at be because been before being below between both but by "
    "can could did do does doing down during each few for from further had has have having he her here hers him his how i if in "
    "into is it its itself just may me might more most must my no nor not of off on once only or other our ours out over own "
    "same shall she should so some such than that the their theirs them then there these they this those through to too under "
    "until up us very was we were what when where which while who whom why will with would you your yours s t don didn doesn isn "
    "aren wasn weren won wouldn couldn shouldn hasn haven hadn ll ve re"
)
STOP_WORDS = frozenset(_STOP.split())
"""Words that say nothing about a passage; the other rare and frequent ones are weighed by how rare they are."""


def word_runs(text: str) -> list[str]:
    """Return what `RUNS` finds, in a third of its time where the text is ASCII."""
    return text.translate(_APART).split() if text.isascii() else RUNS.findall(text)


class Tokenizer:
    """Splits text and hashes its terms. Keeps a memory of words, so use one instance a thread.

    A term is a 64-bit hash of its stem: the low 32 bits name it in statistics, the high ones place it in a vector.
    `seed` salts the hashes.
    """

    def __init__(self, seed: int = 0) -> None:
        self._key = b"prefrontal/%d" % seed
        self._stemmer = snowballstemmer.stemmer("english")
        self._words = _Memory(self._learn)
        self._compounds: dict[str, bytes] = {}

    def stems(self, text: str) -> list[str]:
        """Return the terms of `text` in order, as people can read them."""
        return [stem for run in word_runs(_normal(text)) for stem in self.split(run)]

    def split(self, run: str) -> list[str]:
        """Return the stems of one run of letters, digits and underscores, stop words left out."""
        if run.isascii() and run.isalpha() and run.islower():  # most words, and nothing to take apart
            return [] if run in STOP_WORDS else [self._stemmer.stemWord(run[:LONGEST])]
        parts: list[str] = []
        for part in PARTS.findall(run[:LONGEST]) if run.isascii() else _foreign(run[:LONGEST]):
            if not part.isascii() and UNSPACED.search(part):
                parts.extend([part[i : i + 2] for i in range(len(part) - 1)] or [part])
                continue
            word = part.lower()
            if word not in STOP_WORDS:
                parts.append(self._stemmer.stemWord(word))
        return parts

    def words(self, text: str) -> array[int]:
        """Return the hashes of the terms of `text`, in order."""
        out, _ = self.both(text)
        return out

    def both(self, text: str) -> tuple[array[int], array[int]]:
        """Return the hashes of the terms, and those of the whole identifiers that have several parts."""
        runs, whole = word_runs(_normal(text)), self._compounds
        words, compounds = array("Q"), array("Q")
        words.frombytes(b"".join(map(self._words.__getitem__, runs)))
        compounds.frombytes(b"".join(map(whole.__getitem__, filter(whole.__contains__, runs))))
        return words, compounds

    def hash(self, term: str) -> int:
        """Return the 64-bit hash of a stem."""
        digest = hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "little")

    def _learn(self, run: str) -> bytes:
        if len(self._words) >= CACHE:
            self._words.clear()
            self._compounds.clear()
        stems = self.split(run)
        if len(stems) > 1 and not UNSPACED.search(run):
            self._compounds[run] = array("Q", [self.hash("\x00" + "_".join(stems))]).tobytes()
        return array("Q", [self.hash(stem) for stem in stems]).tobytes()


class _Memory(dict[str, bytes]):
    """The hashes of terms by word, one after another as an array holds them; what is missing is learnt."""

    def __init__(self, learn: Callable[[str], bytes]) -> None:
        super().__init__()
        self._learn = learn

    def __missing__(self, run: str) -> bytes:
        found = self[run] = self._learn(run)
        return found


def _foreign(run: str) -> list[str]:
    """Return the parts of a run with letters beyond ASCII; a capital after a small letter starts a part."""
    parts: list[str] = []
    for word in FOREIGN.findall(run):
        starts = [0, *(i for i in range(1, len(word)) if word[i].isupper() and word[i - 1].islower()), len(word)]
        parts.extend(word[a:b] for a, b in itertools.pairwise(starts))
    return parts


def _normal(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


_PROBE = "running flies happily generously organization relational electricity hopefulness skis dying news exceed"


def stemmer_mark() -> str:
    """Return a short mark of what the installed stemmer does, kept in `meta`: another mark needs a new encoding."""
    stemmer = snowballstemmer.stemmer("english")
    return hashlib.blake2b(" ".join(stemmer.stemWords(_PROBE.split())).encode(), digest_size=6).hexdigest()
