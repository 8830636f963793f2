"""A small office: six agents, whose models are profiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from prefrontal.simulate.load import merged
from prefrontal.simulate.schema import Scenario

OFFICE: dict[str, Any] = {
    "name": "office",
    "seed": 7,
    "days": 3,
    "ticks_per_day": 16,
    "shifts": {"day": "09:00"},
    "roles": {
        "writer": {"count": 4, "shift": "day", "messages_per_day": 3, "incidents_per_day": 2},
        "editor": {"count": 2, "shift": "day", "incidents_per_day": 1},
    },
    "resources": {"desk": 2},
    "tools": ["cad", "document"],
    "tasks": {
        "text": {"role": "writer", "hours": 2, "tool": "document", "resource": "desk", "review": "editor", "blockers": 0.5},
        "outline": {"role": "editor", "hours": 1, "complexity": "high"},
    },
    "projects": {
        "book": {
            "every_days": 0.5,
            "at_start": 3,
            "deadline_days": 2,
            "steps": {
                "outline": {"task": "outline"},
                "one": {"task": "text", "after": ["outline"]},
                "two": {"task": "text", "after": ["outline"]},
            },
        }
    },
    "engines": {
        "small": {"latency_ms": 100, "slots": 2, "accuracy": 0.9},
        "cloud": {"latency_ms": 1000, "accuracy": 0.98},
    },
    "settings": {
        "models": {
            "small": {"profile": "llamacpp", "endpoint": "http://small.invalid/v1", "decisions": {"dialect": "systemone"}},
            "cloud": {
                "profile": "openai-compatible",
                "endpoint": "https://cloud.invalid/v1",
                "key": "profile",
                "decisions": {"dialect": "systemone"},
                "price": {"input_usd": 3, "output_usd": 15},
            },
        },
        "decisions": {"tiers": {"run_usd": None}},
    },
    "policy": "hybrid",
    "policies": {
        "hybrid": {"decisions": {"tiers": {"routine": ["small"], "complex": ["cloud"]}, "cache": {"mode": "declared"}}},
        "all-cloud": {
            "decisions": {"tiers": {"complex": ["cloud"], "cloud_calls_per_agent_day": None}, "cache": {"mode": "off"}}
        },
    },
}


@pytest.fixture
def office() -> Callable[..., Scenario]:
    """Return the scenario with other settings over it: ``office(days=1)``."""

    def make(**settings: Any) -> Scenario:
        return msgspec.convert(merged(OFFICE, settings), Scenario)

    return make
