"""Scenario files: what is wrong in them is said at its place, all at once, before anything runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from prefrontal.config.problems import ConfigProblems
from prefrontal.config.yaml_source import write_yaml
from prefrontal.simulate.load import find_cycle, load_scenario, read_scenario, shipped
from prefrontal.simulate.schema import StepEntry
from prefrontal.simulate.types import shipped_types, types_of

from .conftest import OFFICE


def problems(text: str) -> dict[str, str]:
    with pytest.raises(ConfigProblems) as caught:
        read_scenario(text, "s.yaml")
    return {problem.path: f"{problem.message} ({problem.hint})" for problem in caught.value.problems}


def office_with(**changes: object) -> str:
    return write_yaml({**OFFICE, **changes})


def test_the_shipped_scenario_is_the_seeds() -> None:
    """Fifty agents, 32 decisions on each of 130 days: 208,000, of seventeen types in three tiers."""
    assert shipped() == ("engineering",)
    scenario = load_scenario("engineering")
    agents = sum(role.count for role in scenario.roles.values())
    assert agents * scenario.days * scenario.ticks_per_day == 208_000
    assert len(shipped_types()) == 17
    assert {entry["tier"] for entry in shipped_types().values()} == {1, 2, 3}


def test_a_cycle_of_steps_is_named() -> None:
    """Steps that wait for one another are refused, and the circle is written out."""
    steps = {"a": {"task": "text", "after": ["c"]}, "b": {"task": "text", "after": ["a"]}, "c": {"task": "text", "after": ["b"]}}
    found = problems(office_with(projects={"book": {"every_days": 1, "steps": steps}}))
    assert "a → c → b → a" in found["projects.book.steps.a.after"]


def test_a_step_may_not_wait_for_itself_and_a_diamond_may_stand() -> None:
    """Only circles are refused, not steps with two ways to them."""
    diamond = {
        "a": StepEntry(task="t"),
        "b": StepEntry(task="t", after=("a",)),
        "c": StepEntry(task="t", after=("a",)),
        "d": StepEntry(task="t", after=("b", "c")),
    }
    assert find_cycle(diamond) == ()
    assert find_cycle({**diamond, "e": StepEntry(task="t", after=("e",))}) == ("e",)


def test_every_problem_is_said_with_its_neighbour() -> None:
    """Unknown settings and names come with what was probably meant."""
    assert "days" in problems(office_with(dayz=3))["dayz"]
    roles = {"writer": {"count": 1, "shift": "dya"}, "editor": {"count": 1, "shift": "day"}}
    found = problems(office_with(roles=roles, script=[{"answer": "idle", "type": "next_acton"}]))
    assert "`day`" in found["roles.writer.shift"] or "'day'" in found["roles.writer.shift"]
    assert "next_action" in found["script[0].type"]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"days": -1}, "days"),
        ({"seed": -1}, "seed"),
        ({"engines": {"small": {"latency_ms": 0}}}, "engines.small.latency_ms"),
        ({"start": "soon"}, "start"),
        ({"policy": "best"}, "policy"),
        ({"resources": {"desk": 0}}, "resources.desk"),
    ],
)
def test_wrong_values_are_refused(changes: dict[str, object], path: str) -> None:
    """Numbers out of range and names that lead nowhere stop the scenario."""
    assert path in problems(office_with(**changes))


def test_the_line_of_a_problem_is_told() -> None:
    """A problem of a file names its line."""
    with pytest.raises(ConfigProblems) as caught:
        read_scenario("name: x\ndays: none\nshifts: {day: '09:00'}\n", "s.yaml")
    assert any(problem.line == 2 for problem in caught.value.problems)


def test_a_scenario_extends_another(tmp_path: Path) -> None:
    """What a file says lies over what it extends, mapping by mapping."""
    (tmp_path / "base.yaml").write_text(write_yaml(OFFICE))
    (tmp_path / "more.yaml").write_text("name: more\nextends: base.yaml\nroles: {writer: {count: 9}}\n")
    scenario = load_scenario(tmp_path / "more.yaml")
    assert scenario.name == "more"
    assert scenario.roles["writer"].count == 9
    assert scenario.roles["writer"].messages_per_day == 3
    assert scenario.roles["editor"].count == 2
    (tmp_path / "base.yaml").write_text("extends: more.yaml\n")
    with pytest.raises(ConfigProblems, match="without an end"):
        load_scenario(tmp_path / "more.yaml")


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    """A name that is neither a file nor shipped says which there are."""
    with pytest.raises(ConfigProblems, match="engineering"):
        load_scenario("enginering")


def test_own_decision_types_lie_over_the_shipped_ones() -> None:
    """A scenario changes a type's rule and leaves the rest of it."""
    text = office_with(decisions={"task_transition": {"instructions": "Begin?", "rule": "'defer'"}})
    types = types_of(read_scenario(text))
    assert types["task_transition"]["rule"] == "'defer'"
    assert types["task_transition"]["options"] == ["start", "defer"]
    assert types["tool_selection"]["options"] == ["cad", "document"]
    assert msgspec.json.encode(shipped_types()["task_transition"]["rule"]) != msgspec.json.encode("'defer'")
