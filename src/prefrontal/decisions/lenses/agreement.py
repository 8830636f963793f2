"""How well a lens ranks: its order of scores against orders made by hand, and against its own formula. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import combinations
from typing import Literal

import msgspec
import yaml

from prefrontal.errors import ConfigError, NotFound

SURE = 0.05
"""Chance of a lead at least so great between equals, below which it counts as shown (the usual convention)."""

Verdict = Literal["better", "worse", "no difference shown"]


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt with its labels in groups, the first first; the labels of a group are equal."""

    prompt: str
    groups: tuple[tuple[str, ...], ...]

    @property
    def ranks(self) -> dict[str, int]:
        """The place of each label, 0 first."""
        return {label: place for place, group in enumerate(self.groups) for label in group}


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    labels: dict[str, str]
    prompts: tuple[str, ...]


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How one reader did on `prompts` prompts, of which a model read `by_model` and left the others to the formula.

    tau: Kendall's τ-b, the mean over the prompts, −1 to 1. first: share of prompts whose first label it puts first.
    """

    tau: float
    first: float
    prompts: int
    by_model: int = 0


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A lens beside its formula on the same prompts. p: two-sided sign test over the prompts on which they differ."""

    lens: Score
    formula: Score
    wins: int
    losses: int
    ties: int
    p: float

    @property
    def verdict(self) -> Verdict:
        """Whether the lens ranks better than its formula."""
        if self.p >= SURE:
            return "no difference shown"
        return "better" if self.wins > self.losses else "worse"


def shipped(lens: str) -> tuple[Ranked, ...]:
    """Return the prompts ranked by hand that come with a lens. Raises NotFound where there are none."""
    source = files("prefrontal.decisions.lenses") / "data" / f"{lens}.yaml"
    if not source.is_file():
        raise NotFound(f"No ranked prompts come with the lens '{lens}'.", param="lens")
    return parse(source.read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Ranked, ...]:
    """Return the prompts of a file: `labels` with a letter each, and `prompts` as ``a>b=c | words``. Raises ConfigError."""
    try:
        found = msgspec.convert(yaml.safe_load(text), _File)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigError(f"this is no file of ranked prompts: {error}") from None
    return tuple([_ranked(line, found.labels, number) for number, line in enumerate(found.prompts)])


def _ranked(line: str, labels: Mapping[str, str], number: int) -> Ranked:
    order, mark, prompt = line.partition(" | ")
    groups = [[key.strip() for key in group.split("=")] for group in order.split(">")]
    if not mark or not prompt.strip() or sorted([key for group in groups for key in group]) != sorted(labels):
        raise ConfigError("write `a>b=c | the prompt`, with every label once", path=f"prompts[{number}]")
    return Ranked(prompt=prompt.strip(), groups=tuple([tuple([labels[key] for key in group]) for group in groups]))


def tau(expected: Mapping[str, int], scores: Mapping[str, float]) -> float:
    """Return Kendall's τ-b between places (0 first) and scores (highest first); 0 where either has no order at all."""
    agree = in_places = in_scores = 0
    for one, other in combinations(expected, 2):
        place = (expected[other] > expected[one]) - (expected[other] < expected[one])
        score = (scores[one] > scores[other]) - (scores[one] < scores[other])
        agree += place * score
        in_places += place != 0
        in_scores += score != 0
    return agree / math.sqrt(in_places * in_scores) if in_places and in_scores else 0.0


def compare(
    prompts: Sequence[Ranked],
    lens: Sequence[Mapping[str, float]],
    formula: Sequence[Mapping[str, float]],
    *,
    by_model: int,
) -> Comparison:
    """Return how a lens and its formula rank the same prompts. Raises ValueError when there are none."""
    ours = [tau(one.ranks, scores) for one, scores in zip(prompts, lens, strict=True)]
    theirs = [tau(one.ranks, scores) for one, scores in zip(prompts, formula, strict=True)]
    wins = sum([a > b + 1e-9 for a, b in zip(ours, theirs, strict=True)])
    losses = sum([b > a + 1e-9 for a, b in zip(ours, theirs, strict=True)])
    return Comparison(
        lens=_score(prompts, lens, ours, by_model),
        formula=_score(prompts, formula, theirs, 0),
        wins=wins,
        losses=losses,
        ties=len(prompts) - wins - losses,
        p=sign_test(wins, losses),
    )


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided probability of a lead at least so great if each prompt were a fair coin."""
    count, fewer = wins + losses, min(wins, losses)
    tail = sum([math.comb(count, k) for k in range(fewer + 1)])
    return min(1.0, tail / 2.0 ** (count - 1))


def _score(prompts: Sequence[Ranked], scores: Sequence[Mapping[str, float]], taus: list[float], by_model: int) -> Score:
    if not prompts:
        raise ValueError("there is no prompt to compare on")
    first = [max(each, key=each.__getitem__) in one.groups[0] for one, each in zip(prompts, scores, strict=True)]
    return Score(tau=sum(taus) / len(taus), first=sum(first) / len(first), prompts=len(prompts), by_model=by_model)
