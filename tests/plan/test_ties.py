"""Models of which nobody knows enough for a score are told apart by what is known of their size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefrontal.chat.request import Hints
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.plan import Plan
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.planner import make_plan
from prefrontal.plan.policies import builtin_policies
from prefrontal.plan.ties import billions

Card = Callable[..., ModelCard]
Snapshot = Callable[..., PlanInputs]
GIB = 1024**3


def plan(*cards: ModelCard, snapshot: Snapshot, **more: Any) -> Plan:
    return make_plan(snapshot(*cards, **more), builtin_policies())


def lost(found: Plan) -> str:
    return str(found.candidates[1].lost)


@pytest.mark.parametrize(
    ("one", "two", "prefer", "winner", "why"),
    [
        ({"id": "a-1.5b"}, {"id": "b-7b"}, "balanced", "b-7b", "it is larger (7B against 1.5B)"),
        ({"id": "a-7b"}, {"id": "b-1.5b"}, "latency", "b-1.5b", "it is smaller, and speed is preferred (1.5B against 7B)"),
        ({"id": "a"}, {"id": "b-7b"}, "balanced", "b-7b", "its size is known (7B)"),
        ({"id": "a"}, {"id": "b-7b"}, "latency", "b-7b", "its size is known (7B)"),
        (
            {"id": "a", "memory_bytes": GIB},
            {"id": "b", "memory_bytes": 3 * GIB},
            "quality",
            "b",
            "it is larger (3 GiB against 1 GiB)",
        ),
        (
            {"id": "a", "context_tokens": 4096},
            {"id": "b", "context_tokens": 32768},
            "balanced",
            "b",
            "its window is larger (32,768",
        ),
        ({"id": "a"}, {"id": "b", "context_tokens": 32768}, "balanced", "b", "against unknown)"),
        ({"id": "a"}, {"id": "b"}, "balanced", "a", "nothing known tells them apart but their names"),
    ],
)
def test_equal_scores_are_told_apart_by_what_is_known(
    one: dict[str, Any], two: dict[str, Any], prefer: Any, winner: str, why: str, card: Card, snapshot: Snapshot
) -> None:
    """Parameters in the name, then memory, then the window decide, and both sentences say which did."""
    cards = [card(known.pop("id"), **known) for known in (dict(one), dict(two))]
    found = plan(*cards, snapshot=snapshot, hints=Hints(prefer=prefer))
    assert found.model == winner
    assert why in lost(found)
    assert any(why in reason.effect for reason in found.reasons)


def test_a_model_that_is_loaded_comes_first(card: Card, snapshot: Snapshot) -> None:
    """What would have to be started waits; the sentence says so."""
    runtime = {"a-7b": ModelRuntime(ready=False), "b-1b": ModelRuntime(ready=True)}
    found = plan(card("a-7b"), card("b-1b"), snapshot=snapshot, runtime=runtime)
    assert found.model == "b-1b"
    assert lost(found).endswith("its first token is expected later; it would have to be loaded first")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("qwen3:4b", 4.0),
        ("Qwen3-Coder-30B-A3B-Instruct-Q4_K_M", 30.0),
        ("mixtral-8x7b", 56.0),
        ("qwen2.5-0.5b-instruct", 0.5),
        ("llama_3_8b", 8.0),
        ("gpt-5.6", 0.0),
        ("web2b", 0.0),
        ("q4b0", 0.0),
    ],
)
def test_parameters_are_read_from_a_name(name: str, size: float, card: Card) -> None:
    """Only a number that stands alone and ends in b counts."""
    assert billions(card(name)) == size
