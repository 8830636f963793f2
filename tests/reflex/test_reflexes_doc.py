"""What docs/reflexes.md says is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prefrontal.reflex.proposal import ReflexContext
from prefrontal.reflex.tools import Reflexes, builtin_reflexes

DOC = (Path(__file__).parents[2] / "docs" / "reflexes.md").read_text()
ANSWERED = re.findall(r"^\| `(\w+)` \| (.*) \|$", DOC, re.MULTILINE)
ABSTAINED = re.findall(r"`([^`]+)`", DOC[DOC.index("- `what is 3/4`") : DOC.index("- `1,5 + 2`")])
CONTEXT = ReflexContext(now_s=4_000_000_000.0, allow_host=True)  # later than any start of a host


@pytest.mark.parametrize(("tool", "examples"), ANSWERED)
def test_examples_are_answered(tool: str, examples: str) -> None:
    """Every question shown in the table is answered by the tool of its row."""
    reflexes = builtin_reflexes()
    reflexes.warm()
    for question in re.findall(r"`([^`]+)`", examples):
        proposal = reflexes.propose(question, CONTEXT)
        assert proposal is not None, question
        assert proposal.tool == tool
        assert reflexes.answer(proposal, CONTEXT) is not None, question


def test_every_shipped_tool_is_described() -> None:
    """The table has one row for each shipped tool."""
    assert sorted(tool for tool, _ in ANSWERED) == sorted(builtin_reflexes().names())


@pytest.mark.parametrize("question", ABSTAINED)
def test_questions_with_two_readings_are_left_to_a_model(question: str) -> None:
    """The sums shown as ambiguous are not answered."""
    reflexes = builtin_reflexes()
    proposal = reflexes.propose(question, CONTEXT)
    assert proposal is None or reflexes.answer(proposal, CONTEXT) is None


def test_the_example_tool_works() -> None:
    """The tool in the document can be registered and answers its question."""
    names: dict[str, type] = {}
    exec(re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)[0], names)
    reflexes = Reflexes([names["Dice"]()])
    proposal = reflexes.propose("Hey, how many faces has a die?", CONTEXT)
    assert proposal is not None
    answer = reflexes.answer(proposal, CONTEXT)
    assert answer is not None
    assert answer.value == "6"
