"""From a scenario file to a scenario, with every problem reported at once, at its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from prefrontal.config.decode import decode_as, to_problem
from prefrontal.config.load import read_text
from prefrontal.config.problems import ConfigProblems, Problem, did_you_mean
from prefrontal.config.problems import Path as Where
from prefrontal.config.yaml_source import parse_yaml
from prefrontal.simulate.schema import Scenario, StepEntry

MOST_PARENTS = 8
"""Scenarios that may extend one another (assumed)."""

Note = Callable[[Where, str, str, str | None], None]


def shipped() -> tuple[str, ...]:
    """Return the names of the scenarios that come with the package."""
    found = resources.files("prefrontal.simulate").joinpath("data", "scenarios").iterdir()
    return tuple(sorted([entry.name.removesuffix(".yaml") for entry in found if entry.name.endswith(".yaml")]))


def load_scenario(name: str | Path) -> Scenario:
    """Return the scenario of a file, or the shipped one of that name.

    Raises:
        ConfigProblems: it cannot be read or used; holds every problem that was found.
    """
    text, file = _text(name)
    return read_scenario(text, file)


def read_scenario(text: str, file: str | None = None) -> Scenario:
    """Return the scenario written in `text`; `file` names it in messages. Raises like `load_scenario`."""
    source = parse_yaml(text, file)
    problems: list[Problem] = []

    def note(path: Where, rule: str, message: str, hint: str | None) -> None:
        problems.append(to_problem(file, source.lines, {}, path, rule=rule, message=message, hint=hint))

    raw = _extended(source.raw, file, note)
    scenario = decode_as(raw, Scenario, note)
    if scenario is not None and not problems:
        _check(scenario, note)
    if problems or scenario is None:
        raise ConfigProblems(problems)
    return scenario


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with the settings of `above` over it, mapping by mapping; lists and values are replaced."""
    found = dict(below)
    for key, value in above.items():
        under = found.get(key)
        found[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return found


def _text(name: str | Path) -> tuple[str, str]:
    if str(name) in shipped():
        return resources.files("prefrontal.simulate").joinpath("data", "scenarios", f"{name}.yaml").read_text(
            "utf-8"
        ), f"{name}.yaml"
    path = Path(name)
    if not path.exists() and path.suffix not in (".yaml", ".yml"):
        message, hint = f"there is no scenario `{name}`", did_you_mean(str(name), shipped()) or f"shipped: {', '.join(shipped())}"
        raise ConfigProblems([Problem(message=message, rule="scenario", hint=hint)])
    return read_text(path), str(path)


def _extended(raw: dict[str, Any], file: str | None, note: Note) -> dict[str, Any]:
    """Return the settings over those of the scenarios they extend."""
    for _ in range(MOST_PARENTS):
        parent = raw.get("extends")
        if not isinstance(parent, str):
            return raw
        beside = Path(file).parent / parent if file is not None and parent not in shipped() else Path(parent)
        text, at = _text(beside if parent not in shipped() else parent)
        own = {key: value for key, value in raw.items() if key != "extends"}
        raw = merged(parse_yaml(text, at).raw, own)
        file = at
    note(("extends",), "extends", "scenarios extend one another without an end", None)
    return {key: value for key, value in raw.items() if key != "extends"}


def _check(scenario: Scenario, note: Note) -> None:
    """Note what no single setting shows: names that lead nowhere, and steps that wait for one another."""

    def known(path: Where, what: str, name: str, names: Mapping[str, Any] | tuple[str, ...]) -> None:
        if name not in names:
            note(path, "unknown_name", f"there is no {what} `{name}`", did_you_mean(name, names))

    for name, role in scenario.roles.items():
        known(("roles", name, "shift"), "shift", role.shift, scenario.shifts)
    for name, task in scenario.tasks.items():
        known(("tasks", name, "role"), "role", task.role, scenario.roles)
        for field, value, names in (
            ("review", task.review, scenario.roles),
            ("resource", task.resource, scenario.resources),
            ("tool", task.tool, scenario.tools),
        ):
            if value is not None:
                known(("tasks", name, field), field, value, names)
    _check_projects(scenario, known, note)
    if scenario.policy is not None:
        known(("policy",), "policy", scenario.policy, scenario.policies)
    _check_script(scenario, known)


def _check_projects(scenario: Scenario, known: Callable[..., None], note: Note) -> None:
    if scenario.tools and len(scenario.tools) < 2:
        note(("tools",), "options", "a choice needs two tools", None)
    for name, project in scenario.projects.items():
        for step, entry in project.steps.items():
            known(("projects", name, "steps", step, "task"), "task", entry.task, scenario.tasks)
            for before in entry.after:
                known(("projects", name, "steps", step, "after"), "step", before, project.steps)
        circle = find_cycle(project.steps)
        if circle:
            where: Where = ("projects", name, "steps", circle[0], "after")
            note(where, "cycle", f"these steps wait for one another: {' → '.join([*circle, circle[0]])}", None)


def _check_script(scenario: Scenario, known: Callable[..., None]) -> None:
    from prefrontal.simulate.types import type_names

    names = type_names(scenario)
    for at, line in enumerate(scenario.script):
        if line.type is not None:
            known(("script", at, "type"), "decision type", line.type, names)


def find_cycle(steps: Mapping[str, StepEntry]) -> tuple[str, ...]:
    """Return steps that wait for one another in a circle, in order; empty where none do."""
    done: set[str] = set()
    for start in steps:
        path: list[str] = []
        stack: list[Iterator[str]] = [iter((start,))]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                if path:
                    done.add(path.pop())
            elif step in path:
                return tuple(path[path.index(step) :])
            elif step not in done and step in steps:
                path.append(step)
                stack.append(iter(steps[step].after))
    return ()
