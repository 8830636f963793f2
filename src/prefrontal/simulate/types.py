"""The decision types a simulation asks: the shipped ones, changed by what the scenario says of them."""

from __future__ import annotations

from importlib import resources
from typing import Any

import msgspec

from prefrontal.config.schema_decisions import DecisionTypeEntry
from prefrontal.config.yaml_source import parse_yaml
from prefrontal.simulate.schema import Scenario

_NOTHING = DecisionTypeEntry(instructions="-")
"""What an entry holds that says nothing."""

TOOLS = "tool_selection"
"""The type whose options are the scenario's tools."""


def shipped_types() -> dict[str, dict[str, Any]]:
    """Return the shipped types as settings below ``decisions.types``."""
    text = resources.files("prefrontal.simulate").joinpath("data", "types.yaml").read_text("utf-8")
    return parse_yaml(text, "types.yaml").raw


def type_names(scenario: Scenario) -> tuple[str, ...]:
    """Return the names of all decision types of a scenario."""
    return tuple(dict.fromkeys([*shipped_types(), *scenario.decisions]))


def types_of(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """Return the decision types of a scenario as settings below ``decisions.types``."""
    found = {name: dict(entry) for name, entry in shipped_types().items()}
    if scenario.tools:
        found[TOOLS] |= {"options": list(scenario.tools), "samples": [{"usual": scenario.tools[0]}]}
    nothing = msgspec.to_builtins(_NOTHING)
    for name, entry in scenario.decisions.items():
        own = {key: value for key, value in msgspec.to_builtins(entry).items() if value != nothing[key]}
        found[name] = {**found.get(name, {}), **own}
    return found
