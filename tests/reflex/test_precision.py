"""A reflex takes a whole question or nothing."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
import yaml

from prefrontal.reflex.proposal import ReflexAnswer, ReflexContext
from prefrontal.reflex.tools import Reflexes, builtin_reflexes

HERE = Path(__file__).parent
NEAR_MISSES: dict[str, list[str]] = yaml.safe_load((HERE / "near_misses.yaml").read_text())
PLAIN: list[str] = yaml.safe_load((HERE / "plain_prompts.yaml").read_text())
EVALUATION_SET = HERE.parents[2] / "shared" / "data" / "tasktype" / "prompts.jsonl.gz"  # beside the checkout, where there is one
CONTEXT = ReflexContext(now_s=1_779_000_000.0, allow_host=True)
# What may be taken of any set of prompts: bare questions about divisors and multiples of given numbers, which are checked.
RIGHT = re.compile(r"(gcd|lcm)\((\d+), (\d+)\) = (\d+)")


@pytest.fixture(scope="module")
def reflexes() -> Reflexes:
    """The shipped tools."""
    return builtin_reflexes()


def taken(reflexes: Reflexes, text: str) -> ReflexAnswer | None:
    """Ask, and return the answer if there is one."""
    proposal = reflexes.propose(text, CONTEXT)
    return reflexes.answer(proposal, CONTEXT) if proposal is not None else None


def test_there_are_enough_near_misses() -> None:
    """The committed near misses are at least a hundred different prompts."""
    prompts = [prompt for group in NEAR_MISSES.values() for prompt in group]
    assert len(set(prompts)) == len(prompts) >= 100


@pytest.mark.parametrize("group", NEAR_MISSES)
def test_near_misses_are_left_to_a_model(reflexes: Reflexes, group: str) -> None:
    """No prompt that only resembles a reflex's question is answered."""
    answers = {prompt: answer.text for prompt in NEAR_MISSES[group] if (answer := taken(reflexes, prompt))}
    assert answers == {}


def evaluation_prompts() -> list[str]:
    """Read the evaluation set that lies beside the checkout, or else our own small sample."""
    if not EVALUATION_SET.exists():
        return PLAIN
    with gzip.open(EVALUATION_SET, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["prompt"] for line in lines]


def plainly_right(prompt: str, answer: ReflexAnswer) -> bool:
    """Say whether an answer is one that this test can check: a divisor or multiple of the two numbers in the prompt."""
    found = RIGHT.fullmatch(answer.text)
    if found is None or re.findall(r"\d+", prompt) != [found[2], found[3]]:
        return False
    first, second = int(found[2]), int(found[3])
    divisors = [size for size in range(1, first + 1) if first % size == 0 and second % size == 0]
    return int(found[4]) == (divisors[-1] if found[1] == "gcd" else first * second // divisors[-1])


def test_at_most_one_prompt_in_a_thousand_is_taken_wrongly(reflexes: Reflexes) -> None:
    """Over the evaluation set hardly any prompt is taken that is not a reflex's question; over our own sample none."""
    prompts = evaluation_prompts()
    wrong = {text: answer.text for text in prompts if (answer := taken(reflexes, text)) and not plainly_right(text, answer)}
    assert len(wrong) <= len(prompts) // 1000, wrong


@pytest.mark.parametrize("prompt", PLAIN)
def test_everyday_prompts_are_left_to_a_model(reflexes: Reflexes, prompt: str) -> None:
    """No everyday prompt is answered by a reflex."""
    assert taken(reflexes, prompt) is None


@pytest.mark.parametrize(
    "wrapped",
    [
        "{} and explain",
        "{} in French",
        "not {}",
        "why is {}",
        "print({})",
        "{}\n{}",
        "if {} then",
        "'{}'",
        "{} apples",
        "tell a joke about {}",
    ],
)
@pytest.mark.parametrize("question", ["12 * 7", "10 miles in km", "days until christmas", "time in Tokyo", "cpu usage"])
def test_a_question_inside_a_longer_text_is_not_taken(reflexes: Reflexes, wrapped: str, question: str) -> None:
    """The same words inside a longer request are left to a model."""
    assert taken(reflexes, question) is not None or question == "cpu usage"
    assert taken(reflexes, wrapped.replace("{}", question)) is None
