"""Budgets and rates in the configuration: what is wrong is refused at its path, what can never apply is said."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from prefrontal.app.money import rules_of
from prefrontal.config.check import Known
from prefrontal.config.load import Loaded, load_text
from prefrontal.contracts.money import Budget, Rate
from prefrontal.errors import ConfigError
from prefrontal.providers.catalogue import load_profiles

MODEL = {"m": {"profile": "openai", "key": "k", "roles": ["coding"]}}


def read(**tree: Any) -> Loaded:
    text = msgspec.json.encode({"models": MODEL, **tree}).decode()
    return load_text(text, env={}, known=Known(profiles=load_profiles()))


def test_what_the_file_says_is_what_holds() -> None:
    """Amounts become whole picodollars; names are made where none is given; a global rule has no member."""
    loaded = read(
        budgets=[
            {"usd": 12.345678, "of": "ignored"},
            {"name": "n", "scope": "team", "of": "red", "window": "week", "tokens": 9, "on_exhaustion": "degrade"},
        ],
        limits={"rates": [{"requests": 5}, {"scope": "global", "window": "second", "concurrency": 2}]},
    )
    rules = rules_of(loaded.config)
    assert rules.budgets == (
        Budget(name="global per month", scope="global", window="month", limit_pico=12_345_678_000_000),
        Budget(name="n", scope="team", of="red", window="week", limit_tokens=9, on_exhaustion="degrade"),
    )
    assert rules.rates == (
        Rate(name="key per minute", scope="key", requests=5),
        Rate(name="global per second", scope="global", window="second", concurrency=2),
    )


@pytest.mark.parametrize(
    ("tree", "path", "said"),
    [
        ({"budget": [{"usd": 1}]}, "budget", "did you mean `budgets`"),
        ({"budgets": [{"usd": 1, "max_budget": 2}]}, "budgets[0].max_budget", "unknown setting"),
        ({"budgets": [{"window": "day"}]}, "budgets[0]", "says no amount"),
        ({"budgets": [{"usd": -1}]}, "budgets[0].usd", "at least 0"),
        ({"budgets": [{"usd": 1, "window": "fortnight"}]}, "budgets[0].window", "not a choice"),
        ({"budgets": [{"name": "a", "usd": 1}, {"name": "a", "usd": 2}]}, "budgets[1].name", "another one"),
        ({"limits": {"rates": [{"scope": "key"}]}}, "limits.rates[0]", "says no bound"),
        ({"limits": {"rates": [{"requests": 0}]}}, "limits.rates[0].requests", "at least 1"),
        ({"limits": {"rates": [{"window": "day", "requests": 1}]}}, "limits.rates[0].window", "not a choice"),
    ],
)
def test_peers_7_a_wrong_field_is_an_error_at_its_path(tree: dict[str, Any], path: str, said: str) -> None:
    """bifrost#5673: `budget` for `budgets` is no budget that silently does not hold, but an error with the right name."""
    with pytest.raises(ConfigError) as caught:
        read(**tree)
    assert f"{path}:" in str(caught.value)
    assert said in str(caught.value).lower()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"scope": "model", "of": "mm"}, "no model of the file is called `mm`"),
        ({"scope": "role", "of": "codin"}, "no model has the role `codin`"),
        ({"scope": "global", "of": "x"}, "means nothing"),
    ],
)
def test_what_can_never_apply_is_a_warning(entry: dict[str, Any], said: str) -> None:
    """Models may still be discovered and roles be filled later, so it is said and not refused."""
    loaded = read(budgets=[{"usd": 1, **entry}])
    assert any(said in warning.message for warning in loaded.warnings)
