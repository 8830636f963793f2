"""How many models' states are remembered."""

from __future__ import annotations

import pytest

from prefrontal.contracts.model import ModelCard
from prefrontal.execute import runtime as module
from prefrontal.execute.runtime import Runtime


def card(name: str) -> ModelCard:
    return ModelCard(id=name, profile="openai", wire_name=name)


def test_models_that_clients_invent_do_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the least used idle state goes; one that works, or is used much, stays."""
    monkeypatch.setattr(module, "MAX_STATES", 10)
    runtime = Runtime(default_limit=2, default_queue=2)
    runtime.state(card("busy")).slots.try_take()
    runtime.state(card("known")).calls = 100
    for number in range(50):
        runtime.state(card(f"openai/{number}")).calls = 1
    assert len(runtime.all()) == 10
    assert runtime.find("busy") is not None
    assert runtime.find("known") is not None
    assert runtime.find("openai/49") is not None
    assert runtime.find("openai/0") is None
