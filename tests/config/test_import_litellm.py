"""LiteLLM's file becomes ours, and what is lost is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefrontal.config.check import Known
from prefrontal.config.import_litellm import PROFILES, Imported, import_litellm
from prefrontal.config.load import load_text
from prefrontal.config.problems import ConfigProblems
from prefrontal.providers.catalogue import load_profiles

SHIPPED = load_profiles()


@pytest.fixture
def imported() -> Imported:
    text = (Path(__file__).parent / "litellm_proxy.yaml").read_text()
    return import_litellm(text, profiles=SHIPPED)


def one(params: dict[str, Any], info: dict[str, Any] | None = None) -> Imported:
    import msgspec

    row = {"model_name": "m", "litellm_params": params, "model_info": info or {}}
    return import_litellm(msgspec.yaml.encode({"model_list": [row]}).decode())


def test_every_profile_it_names_is_shipped() -> None:
    """The table of providers points at profiles that exist."""
    assert set(PROFILES.values()) <= set(SHIPPED)


def test_the_result_is_a_valid_configuration(imported: Imported, tmp_path: Path) -> None:
    """What comes out is accepted by the loader as it stands, once its variables are set."""
    names = ("OPENAI_API_KEY", "AZURE_KEY", "ANTHROPIC_API_KEY", "TEAM_SECRET", "MASTER_KEY")
    env = {"PREFRONTAL_HOME": str(tmp_path), **{name: f"value-of-{name}" for name in names}}
    config = load_text(imported.text, env=env, known=Known(profiles=SHIPPED)).config
    assert list(config.models) == ["gpt-4o", "gpt-4o-2", "claude", "local", "embed"]
    assert config.models["local"].headers == {"X-Team": "red", "X-Secret": "value-of-TEAM_SECRET"}
    assert config.server.admin_keys == ("value-of-MASTER_KEY",)


def test_models_keep_prices_windows_and_capabilities(imported: Imported) -> None:
    """Costs per token become USD per million; flags become capabilities."""
    assert imported.config["models"]["gpt-4o"] == {
        "profile": "openai",
        "model": "gpt-4o",
        "key": "${OPENAI_API_KEY}",
        "price": {"input_usd": 2.5, "output_usd": 10.0, "cache_read_usd": 1.25},
        "capabilities": {"tools": True, "vision": True},
        "context_tokens": 128_000,
        "max_output_tokens": 16_384,
    }
    assert imported.config["models"]["embed"]["capabilities"] == {"embedding": True, "chat": False}


def test_an_openai_endpoint_of_ones_own_is_not_openai(imported: Imported) -> None:
    """`openai/` with an api_base means any endpoint of that wire; a dummy key is no key."""
    local = imported.config["models"]["local"]
    assert (local["profile"], local["endpoint"], "key" in local, local["concurrency"]) == (
        "openai-compatible",
        "http://localhost:8000/v1",
        False,
        4,
    )


def test_azure_becomes_its_v1_endpoint(imported: Imported) -> None:
    """The resource's address gets the path of the v1 API."""
    azure = imported.config["models"]["gpt-4o-2"]
    assert (azure["profile"], azure["endpoint"], azure["timeout_s"]) == (
        "azure-openai",
        "https://res.openai.azure.com/openai/v1",
        30,
    )


def test_deployments_of_one_name_become_a_role(imported: Imported) -> None:
    """Load balancing over one name is a role here."""
    assert imported.config["roles"] == {"gpt-4o": ["gpt-4o", "gpt-4o-2"]}


def test_router_settings_find_their_place(imported: Imported) -> None:
    """Strategy, retries, timeout, cooldown and fallbacks are carried."""
    assert imported.config["routing"] == {"fallback": ["claude", "local"], "policy": "fastest"}
    assert imported.config["limits"] == {
        "rates": [{"scope": "model", "of": "gpt-4o", "window": "minute", "requests": 60}],
        "retries": {"attempts": 3},
        "timeouts": {"total_s": 120.0},
        "breaker": {"failures": 3, "open_s": 20.0},
    }


def test_a_secret_in_the_file_is_not_copied(imported: Imported) -> None:
    """The result refers to a variable, and a note says which to set."""
    assert imported.config["models"]["claude"]["key"] == "${ANTHROPIC_API_KEY}"
    assert "REALLY" not in imported.text
    assert any("put it into the environment variable ANTHROPIC_API_KEY" in note for note in imported.notes)


def test_everything_that_is_lost_is_listed(imported: Imported) -> None:
    """One line for each thing without a counterpart, and none for what came along."""
    assert list(imported.notes) == [
        "model_list[1]: api_version not carried: the v1 API has none; `model` must be the deployment's name",
        "model_list[2].api_key: the secret was written in the file; put it into the environment variable ANTHROPIC_API_KEY",
        "model_list[2]: temperature not carried",
        "model_list[5]: provider `bedrock` has no profile here",
        "model_list[5]: not carried",
        "model_list[6]: litellm_params.model is a wildcard or missing: name each model",
        "model_list[6]: not carried",
        "gpt-4o: 2 deployments became gpt-4o, gpt-4o-2; `role/gpt-4o` stands for all of them",
        "fallbacks: `nowhere` is not in model_list",
        "fallbacks: 2 chains became one, claude → local, used after any model",
        "context_window_fallbacks: not needed, `auto` only considers models whose window is large enough",
        "router_settings.redis_host: not carried",
        "litellm_settings.drop_params: not needed, what a model does not take is always left out here, and reported",
        "litellm_settings.success_callback: not carried",
        "general_settings.database_url: not carried",
    ]


def test_one_chain_for_one_model_is_said_to_be_for_all() -> None:
    """Here a chain follows any model: that is another meaning, also with a single chain."""
    text = (
        "model_list:\n- {model_name: a, litellm_params: {model: openai/gpt-5.1, drop_params: true}}\n"
        "- {model_name: b, litellm_params: {model: openai/gpt-5.1}}\nlitellm_settings: {fallbacks: [{a: [b]}], json_logs: true}\n"
    )
    notes = import_litellm(text, file="litellm.yaml").notes
    assert "fallbacks: the chain of a became one for all, b, used after any model" in notes
    assert any(note.startswith("model_list[0]: drop_params: not needed") for note in notes)
    assert any(note.startswith("litellm_settings.json_logs: not carried, `logging.format: json`") for note in notes)


@pytest.mark.parametrize(
    ("model", "profile", "wire_name"),
    [
        ("gpt-5.1", "openai", "gpt-5.1"),
        ("claude-opus-5", "anthropic", "claude-opus-5"),
        ("gemini/gemini-2.5-pro", "gemini", "gemini-2.5-pro"),
        ("openrouter/meta/llama", "openrouter", "meta/llama"),
        ("hosted_vllm/Org/Model", "vllm", "Org/Model"),
        ("ollama_chat/qwen3:4b", "ollama", "qwen3:4b"),
    ],
)
def test_the_prefix_names_the_profile(model: str, profile: str, wire_name: str) -> None:
    """The provider's prefix goes, the wire name stays whole."""
    entry = one({"model": model}).config["models"]["m"]
    assert (entry["profile"], entry["model"]) == (profile, wire_name)


@pytest.mark.parametrize("text", ["", "model_list:\n", "model_list: 5\n", "model_list: [5, {}]\n", "router_settings: [1]\n"])
def test_odd_files_give_notes_not_crashes(text: str) -> None:
    """A file of another shape gives an empty registry and says why."""
    assert import_litellm(text).config["models"] == {}


def test_broken_yaml_is_refused() -> None:
    """The importer reports syntax like the loader."""
    with pytest.raises(ConfigProblems, match="not YAML"):
        import_litellm("model_list: [", file="litellm.yaml")


MONEY = """
model_list:
  - model_name: big
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/K, rpm: 60, tpm: 90000, max_budget: 5, budget_duration: 1d}
litellm_settings: {max_budget: 100, budget_duration: 30d}
general_settings: {global_max_parallel_requests: 50}
"""


def test_budgets_and_limits_come_along() -> None:
    """Of the proxy and of a model; what changes its meaning is said, and the result can be used."""
    found = import_litellm(MONEY, profiles=SHIPPED)
    assert found.config["budgets"] == [
        {"scope": "model", "of": "big", "window": "day", "usd": 5},
        {"scope": "global", "window": "month", "usd": 100},
    ]
    assert found.config["limits"] == {
        "rates": [{"scope": "model", "of": "big", "window": "minute", "requests": 60, "tokens": 90000}],
        "concurrency": 50,
    }
    assert list(found.notes) == [
        "budget of big: a calendar day, in UTC, instead of 1d from the first call",
        "litellm_settings.max_budget: a calendar month, in UTC, instead of 30d from the first call",
    ]
    known = Known(profiles=SHIPPED)
    assert load_text(found.text, env={"K": "sk-x"}, known=known).config.budgets[1].usd == 100


def test_a_budget_of_an_odd_length_becomes_a_month_and_is_said() -> None:
    """No window of ours is ninety days long; a budget without a length never starts anew."""
    found = import_litellm("litellm_settings: {max_budget: 7, budget_duration: 90d}")
    assert found.config["budgets"] == [{"scope": "global", "window": "month", "usd": 7}]
    assert "`90d` is no window here" in found.notes[0]
    assert import_litellm("litellm_settings: {max_budget: 7}").config["budgets"][0]["window"] == "total"
