"""What the effort tests share: the shipped data, cards made from it, and the shape of a body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefrontal.contracts.model import Capability, ModelCard
from prefrontal.providers.effort import Dialects, load_dialects
from prefrontal.providers.facts import Facts, load_facts


@pytest.fixture(scope="session")
def dialects() -> Dialects:
    """The shipped dialects."""
    return load_dialects()


@pytest.fixture(scope="session")
def facts() -> Facts:
    """The shipped catalogue."""
    return load_facts()


@pytest.fixture(scope="session")
def card_of(facts: Facts) -> Callable[..., ModelCard]:
    """Makes the card a registry would make for a model's name behind a profile; `dialect` overrides the catalogue's."""

    def make(name: str, profile: str, dialect: str | None = None, **more: Any) -> ModelCard:
        fact = facts.match(name, profile)
        assert fact is not None, name
        known = {
            "effort_dialect": dialect or fact.effort_dialect or "fixed",
            "effort_levels": fact.effort_levels,
            "effort_overrides": fact.effort_overrides,
            "capabilities": {key: Capability(value=value, origin="facts") for key, value in fact.capabilities.items()},
        }
        return ModelCard(id=name, wire_name=name, profile=profile, **{**known, **more})

    return make


@pytest.fixture(scope="session")
def nested() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Turns dotted paths into the JSON object they mean."""

    def build(fields: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for path, value in fields.items():
            *heads, leaf = path.split(".")
            node = body
            for head in heads:
                node = node.setdefault(head, {})
            node[leaf] = value
        return body

    return build
