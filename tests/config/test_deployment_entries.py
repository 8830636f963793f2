"""Several places and keys for one model: what the file says, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from prefrontal.config.cards import Sources
from prefrontal.config.check import Known, check
from prefrontal.config.load import load_text
from prefrontal.config.problems import ConfigProblems
from prefrontal.config.redact import redact, secrets_of
from prefrontal.config.registry import build_registry
from prefrontal.config.schema import Config
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import ConfigError
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.effort import load_dialects
from prefrontal.providers.facts import load_facts

PROFILES = load_profiles()


def card(entry: dict[str, object], env: dict[str, str] | None = None) -> ModelCard:
    """Return the card of one model, ``m``."""
    config = msgspec.convert({"models": {"m": entry}}, Config)
    sources = Sources(profiles=PROFILES, facts=load_facts(), dialects=load_dialects(), env=env or {})
    return build_registry(config, sources).cards["m"]


def test_a_deployment_says_what_differs_and_the_model_the_rest() -> None:
    """Address, key, bounds, headers and the engine's name for the model may differ; everything else is the model's."""
    made = card(
        {
            "profile": "openai-compatible",
            "endpoint": "http://one.test/v1",
            "key": "k",
            "model": "wire",
            "concurrency": 9,
            "headers": {"x-a": "1"},
            "context_tokens": 4096,
            "balance": "latency",
            "deployments": [
                {},
                {"name": "west", "endpoint": "http://two.test/v1", "key": "w", "weight": 2, "concurrency": 3}
                | {"headers": {"x-b": "2"}},
                {"endpoint": "http://three.test", "model": "other"},
            ],
        }
    )
    first, west, third = made.deployments
    assert [one.place for one in made.deployments] == ["m#d1", "m#west", "m#d3"]
    assert (first.base_url, first.key, first.wire_name, first.weight) == ("http://one.test/v1", "k", "wire", 1.0)
    assert (west.base_url, west.key, west.weight, west.max_concurrency) == ("http://two.test/v1", "w", 2.0, 3)
    assert west.headers == (("x-a", "1"), ("x-b", "2"))
    assert (third.wire_name, third.context_tokens, third.key) == ("other", 4096, "k")
    assert (made.place, made.base_url, made.max_concurrency, made.balance) == ("m", "http://one.test/v1", 9, "latency")
    assert all(not one.deployments for one in made.deployments)


def test_each_key_is_a_deployment_of_its_own() -> None:
    """In the short form and inside a deployment; their names tell nothing of the keys."""
    short = card({"profile": "openai", "model": "gpt-5-mini", "keys": ["sk-one", "sk-two"]})
    assert [(one.deployment, one.key) for one in short.deployments] == [("key1", "sk-one"), ("key2", "sk-two")]
    assert "sk-" not in repr(short)
    entry = {"profile": "openai-compatible", "endpoint": "http://a.test/v1", "keys": ["x", "y"]}
    inside = card({**entry, "deployments": [{"name": "a"}, {"name": "b", "endpoint": "http://b.test/v1", "key": "z"}]})
    assert [(one.deployment, one.key) for one in inside.deployments] == [("a/key1", "x"), ("a/key2", "y"), ("b", "z")]


def test_a_deployment_without_the_key_it_needs_is_left_out() -> None:
    """With one left the model is in service, with none it is not."""
    entry = {"profile": "openai", "model": "gpt-5-mini", "deployments": [{"name": "none"}, {"name": "own", "key": "sk-x"}]}
    made = card(entry)
    assert (made.enabled, [one.deployment for one in made.deployments]) == (True, ["own"])
    assert made.key == "sk-x"
    assert not card({**entry, "deployments": [{"name": "none"}]}).enabled
    found = card(entry, {"OPENAI_API_KEY": "sk-env"})
    assert [one.key for one in found.deployments] == ["sk-env", "sk-x"]


def test_a_model_with_one_place_is_as_it_always_was() -> None:
    """No deployment, no name for it."""
    made = card({"profile": "openai-compatible", "endpoint": "http://one.test/v1"})
    assert (made.deployments, made.deployment, made.place, made.hedge) == ((), None, "m", None)


def test_keys_of_deployments_are_secrets() -> None:
    """They are masked where the configuration is shown, and known to whatever takes secrets out of texts."""
    text = """
models:
  m:
    profile: openai-compatible
    endpoint: http://one.test/v1
    keys: [first-secret-of-twenty, second-secret-of-twenty]
    deployments:
      - {key: third-secret-of-twenty}
      - {keys: [fourth-secret-of-twenty], headers: {x-token: fifth-secret-of-twenty}}
"""
    config = load_text(text, env={}, known=Known(profiles=PROFILES)).config
    words = ("first", "second", "third", "fourth", "fifth")
    assert {f"{word}-secret-of-twenty" for word in words} <= set(secrets_of(config))
    assert "secret-of" not in str(redact(config))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"endpoint": "http://a.test/v1", "key": "k", "keys": ["a"]}, "`key` and `keys` exclude each other"),
        ({"deployments": [{"name": "x"}]}, "neither the deployment nor the model says where it is"),
        ({"endpoint": "http://a.test/v1", "deployments": [{"name": "x"}, {"name": "x"}]}, "is called `x` too"),
        ({"endpoint": "http://a.test/v1", "deployments": [{}, {"name": "d1"}]}, "is called `d1` too"),
        ({"endpoint": "http://a.test/v1", "deployments": [{"endpoint": "a.test"}]}, "not an http or https URL"),
        ({"endpoint": "http://a.test/v1", "keys": ["a\nb"]}, "holds a line break"),
        ({"endpoint": "http://a.test/v1", "deployments": [{"name": "a#b"}]}, "holds no #"),
        ({"endpoint": "http://a.test/v1", "deployments": [{"weight": 0}]}, "weight"),
        ({"endpoint": "http://a.test/v1", "deployment": []}, "deployments"),
        ({"endpoint": "http://a.test/v1", "hedge": {"max_share": 1.5}}, "max_share"),
    ],
)
def test_mistakes_are_told(entry: dict[str, object], said: str) -> None:
    """Each with its place in the file."""
    body = {"models": {"m": {"profile": "openai-compatible", **entry}}}
    with pytest.raises((ConfigProblems, ConfigError)) as refused:
        load_text(msgspec.json.encode(body).decode(), env={}, known=Known(profiles=PROFILES))
    assert said in str(refused.value)


def test_hedging_that_can_never_happen_is_a_warning() -> None:
    """One deployment has no other to go to."""
    entry = {"profile": "openai-compatible", "endpoint": "http://a.test/v1", "hedge": {}}
    config = msgspec.convert({"models": {"m": entry}}, Config)
    assert hedge_findings(config) == [("unused", False)]
    assert hedge_findings(msgspec.convert({"models": {"m": {**entry, "hedge": {"to": "model"}}}}, Config)) == []


def hedge_findings(config: Config) -> list[tuple[str, bool]]:
    """Return rule and weight of what is said of the model's hedging."""
    found = check(config, Known(profiles=PROFILES), models_dir=Path())
    return [(one.rule, one.fatal) for one in found if one.path == ("models", "m", "hedge")]
