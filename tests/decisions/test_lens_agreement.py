"""Rank agreement: the measure itself, the prompts that come along, and what is said of a lens that is no better."""

from __future__ import annotations

import itertools
import random

import pytest

from prefrontal.decisions.lenses.agreement import Ranked, compare, parse, shipped, sign_test, tau
from prefrontal.errors import ConfigError, NotFound

ORDER = {"a": 0, "b": 1, "c": 2, "d": 3}


def test_tau_is_one_for_the_same_order_and_minus_one_for_its_reverse() -> None:
    """And 0 where either side has no order."""
    assert tau(ORDER, {"a": 4, "b": 3, "c": 2, "d": 1}) == 1.0
    assert tau(ORDER, {"a": 1, "b": 2, "c": 3, "d": 4}) == -1.0
    assert tau(ORDER, dict.fromkeys("abcd", 0.5)) == 0.0
    assert tau({"a": 0, "b": 0, "c": 0, "d": 0}, {"a": 4, "b": 3, "c": 2, "d": 1}) == 0.0


def test_tau_agrees_with_its_definition_on_all_orders() -> None:
    """One swapped neighbour costs 2/6; the mean over all orders is 0."""
    assert tau(ORDER, {"a": 3, "b": 4, "c": 2, "d": 1}) == pytest.approx(4 / 6)
    all_orders = [tau(ORDER, dict(zip("abcd", order, strict=True))) for order in itertools.permutations(range(4))]
    assert sum(all_orders) == pytest.approx(0.0)


def test_ties_count_as_ties_on_both_sides() -> None:
    """τ-b: a tie of the reader where there is an order costs, and one where there is none does not."""
    assert tau({"a": 0, "b": 1, "c": 1}, {"a": 3, "b": 2, "c": 2}) == 1.0
    assert 0 < tau({"a": 0, "b": 1, "c": 2}, {"a": 3, "b": 2, "c": 2}) < 1


def test_the_sign_test_is_exact() -> None:
    """Against the binomial by hand."""
    assert sign_test(0, 0) == 1.0
    assert sign_test(5, 5) == 1.0
    assert sign_test(10, 0) == pytest.approx(2 / 1024)
    assert sign_test(9, 1) == sign_test(1, 9) == pytest.approx(22 / 1024)


def test_there_are_a_hundred_prompts_with_both_of_the_seed() -> None:
    """All different, each with all four domains, and each domain first in about a quarter."""
    prompts = shipped("domains")
    assert len(prompts) >= 100
    assert len({one.prompt for one in prompts}) == len(prompts)
    found = {one.prompt: one.groups for one in prompts}
    assert found["How do I implement quicksort?"] == (("computational",), ("scientific",), ("experiential",), ("cultural",))
    assert found["What does it feel like to understand deeply?"][0] == ("experiential",)
    firsts = [one.groups[0][0] for one in prompts]
    assert all(firsts.count(name) >= 20 for name in ("computational", "scientific", "cultural", "experiential"))


@pytest.mark.parametrize(
    "text",
    [
        "labels: {a: x, b: y}\nprompts: ['a>c | p']",
        "labels: {a: x, b: y}\nprompts: ['a | p']",
        "labels: {a: x, b: y}\nprompts: ['a>b>b | p']",
        "labels: {a: x, b: y}\nprompts: ['a>b']",
        "labels: {a: x}\nprompt: []",
        "- 1",
        ": : :",
    ],
)
def test_wrong_files_are_refused_with_the_place(text: str) -> None:
    """Every label exactly once, and a prompt."""
    with pytest.raises(ConfigError):
        parse(text)


def test_a_lens_without_prompts_says_so() -> None:
    """Only `domains` ranks anything."""
    with pytest.raises(NotFound):
        shipped("risk")


def test_the_verdict_needs_a_lead_that_chance_does_not_explain() -> None:
    """Better, worse, or not shown: by the sign test over prompts."""
    prompts = [Ranked(prompt=str(n), groups=(("a",), ("b",), ("c",), ("d",))) for n in range(40)]
    right = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}
    wrong = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    chance = random.Random(3)
    noise = [{name: chance.random() for name in "abcd"} for _ in prompts]
    other = [{name: chance.random() for name in "abcd"} for _ in prompts]
    assert compare(prompts, [right] * 40, noise, by_model=40).verdict == "better"
    assert compare(prompts, [wrong] * 40, noise, by_model=40).verdict == "worse"
    assert compare(prompts, other, noise, by_model=40).verdict == "no difference shown"
    same = compare(prompts, noise, noise, by_model=0)
    assert (same.wins, same.losses, same.ties, same.p) == (0, 0, 40, 1.0)
    with pytest.raises(ValueError, match="no prompt"):
        compare([], [], [], by_model=0)
