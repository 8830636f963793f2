"""Cards are merged from the file, the engine, the facts and the profile, and each thing known says where from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from prefrontal.config.cards import Sources, build_card
from prefrontal.config.registry import Registry, build_registry
from prefrontal.config.schema import Config, ModelEntry
from prefrontal.contracts.model import Capability, ModelCard
from prefrontal.errors import ConfigError, UnknownModel
from prefrontal.providers.base import Found
from prefrontal.providers.effort.dialects import load_dialects
from prefrontal.providers.facts import load_facts
from prefrontal.providers.profile import Profile

FACTS = load_facts()
DIALECTS = load_dialects()


@pytest.fixture
def sources(profiles: dict[str, Profile]) -> Sources:
    """The shipped facts and dialects, the tests' profiles, and one key in the environment."""
    return Sources(
        profiles=profiles, facts=FACTS, dialects=DIALECTS, env={"OPENAI_API_KEY": "sk-from-env\n"}, models_dir=Path("/models")
    )


def tree(raw: dict[str, object]) -> Config:
    return msgspec.convert(raw, Config)


def registry(sources: Sources, raw: dict[str, object], **more: object) -> Registry:
    return build_registry(tree(raw), sources, **more)  # type: ignore[arg-type]


def test_the_entry_wins_over_engine_facts_and_profile(sources: Sources) -> None:
    """Each capability comes from the highest source that knows it, and says which."""
    entry = ModelEntry(profile="openai", model="gpt-5.6", capabilities={"tools": False, "singing": True})
    found = Found(id="gpt-5.6", capabilities={"vision": Capability(value=False, origin="engine")}, context_tokens=5000)
    card = build_card("mine", entry, sources, found=found)
    assert card.capabilities["tools"] == Capability(value=False, origin="config")
    assert card.capabilities["singing"] == Capability(value=True, origin="config")
    assert card.capabilities["vision"] == Capability(value=False, origin="engine")
    assert card.capabilities["thinking"].origin == "facts"
    assert (card.context_tokens, card.context_origin) == (5000, "engine")


def test_the_profile_speaks_last(sources: Sources) -> None:
    """What nobody else knows is assumed from the profile, and said to be."""
    card = build_card("m", ModelEntry(profile="openai", model="never-heard-of"), sources)
    assert card.capabilities["tools"] == Capability(value=True, origin="assumed")
    assert (card.context_tokens, card.context_origin) == (None, "assumed")


def test_facts_give_price_context_and_effort(sources: Sources) -> None:
    """A known model needs no more than its name."""
    card = build_card("gpt-5.6", ModelEntry(profile="openai"), sources)
    assert (card.price.input_usd, card.price.origin, card.context_tokens) == (4.0, "facts", 922_000)
    assert card.effort_dialect == "openai_effort"
    assert card.thinking is not None
    assert "high" in card.thinking.levels


def test_own_prices_replace_the_listed_ones_field_by_field(sources: Sources) -> None:
    """A window or one price in the file keeps the other listed prices."""
    raw = {"profile": "openai", "price": {"input_usd": 1, "windows": [{"from": "22:00", "to": "06:00", "output_usd": 2}]}}
    card = build_card("gpt-5.6", msgspec.convert(raw, ModelEntry), sources)
    assert (card.price.input_usd, card.price.output_usd, card.price.origin) == (1.0, 20.0, "config")
    window = card.price.windows[0]
    assert (window.start_minute, window.end_minute, window.output_usd) == (1320, 360, 2.0)


def test_what_runs_here_is_free(sources: Sources) -> None:
    """A self-hosted model costs nothing unless the file says otherwise."""
    assert build_card("qwen3-4b", ModelEntry(profile="vllm"), sources).price.input_usd == 0.0
    raw = {"profile": "vllm", "price": {"input_usd": 0.1}}
    assert build_card("qwen3-4b", msgspec.convert(raw, ModelEntry), sources).price.input_usd == 0.1


def test_facts_can_be_named(sources: Sources) -> None:
    """A wire name that says nothing gets its facts by id."""
    assert build_card("x", ModelEntry(profile="vllm", model="prod-7"), sources).effort_dialect == "fixed"
    assert (
        build_card("x", ModelEntry(profile="vllm", model="prod-7", facts="openai-o-series"), sources).effort_dialect
        == "openai_effort"
    )


def test_a_gguf_file_is_known_by_its_name(sources: Sources) -> None:
    """A local file lies under the models folder and is matched by its file name."""
    card = build_card("small", ModelEntry(path="Qwen3-4B-Q4_K_M.gguf"), sources)
    assert (card.local_path, card.base_url, card.profile, card.self_hosted) == (
        "/models/Qwen3-4B-Q4_K_M.gguf",
        None,
        "llamacpp",
        True,
    )
    assert card.capabilities["thinking"].origin == "facts"
    assert card.effort_dialect == "llamacpp"


@pytest.mark.parametrize(
    ("profile", "endpoint", "url"),
    [
        ("openai", None, "https://api.openai.example/v1"),
        ("openai", "https://proxy.example", "https://proxy.example/v1"),
        ("openai", "https://proxy.example/other/", "https://proxy.example/other"),
        ("vllm", None, "http://127.0.0.1:8000/v1"),
        ("vllm", "http://gpu:8000/", "http://gpu:8000/v1"),
        ("generic", "http://h:1", "http://h:1"),
    ],
)
def test_an_endpoint_without_a_path_gets_the_profiles(profile: str, endpoint: str | None, url: str, sources: Sources) -> None:
    """People write the host; the profile knows the rest."""
    assert build_card("m", ModelEntry(profile=profile, endpoint=endpoint), sources).base_url == url


def test_a_key_of_the_environment_goes_only_to_its_own_host(sources: Sources) -> None:
    """OPENAI_API_KEY is used for OpenAI, and never sent to another endpoint."""
    assert build_card("m", ModelEntry(profile="openai"), sources).key == "sk-from-env"
    assert build_card("m", ModelEntry(profile="openai", endpoint="https://evil.example/v1"), sources).key is None
    assert (
        build_card("m", ModelEntry(profile="openai", endpoint="https://evil.example/v1", key="sk-own"), sources).key == "sk-own"
    )


def test_a_model_without_its_key_is_out_of_service_and_says_why(sources: Sources) -> None:
    """A newcomer's file may name providers whose keys are not set yet."""
    bare = msgspec.structs.replace(sources, env={})
    found = registry(bare, {"models": {"m": {"profile": "openai"}, "n": {"profile": "vllm"}}})
    assert [card.id for card in found.enabled] == ["n"]
    assert found.notes[0].message == "not in service: set OPENAI_API_KEY, or write `key:`"
    with pytest.raises(UnknownModel) as refused:
        found.require("m")
    assert "set OPENAI_API_KEY" in str(refused.value.hint)


def test_a_model_that_cannot_think_gets_no_effort_control(sources: Sources) -> None:
    """Saying `thinking: false` is enough."""
    card = build_card("gpt-5.6", ModelEntry(profile="openai", capabilities={"thinking": False}), sources)
    assert (card.effort_dialect, card.thinking) == ("fixed", None)


def test_effort_corrections_reach_the_card(sources: Sources) -> None:
    """Template key, levels and budget bounds are handed to the dialect."""
    effort = {"dialect": "vllm_template", "template_key": "thinking", "budget_max_tokens": 900}
    entry = msgspec.convert({"profile": "vllm", "effort": effort}, ModelEntry)
    card = build_card("qwen3-4b", entry, sources)
    assert card.effort_overrides is not None
    assert (card.effort_overrides["key"], card.effort_overrides["budget_max_tokens"]) == ("thinking", 900)
    assert card.thinking is not None
    assert card.thinking.max_tokens == 900


def test_an_effort_dialect_that_does_not_exist_is_refused(sources: Sources) -> None:
    """A registry is never half built."""
    with pytest.raises(ConfigError, match="effort dialect"):
        registry(sources, {"models": {"m": {"profile": "vllm", "effort": {"dialect": "nope"}}}})


def test_names_resolve_by_id_by_wire_name_and_whatever_their_case(sources: Sources) -> None:
    """A wire name stands for the one model that has it; one that several have stands for none."""
    models = {
        "big": {"profile": "vllm", "model": "Org/Big"},
        "a": {"profile": "vllm", "model": "same"},
        "b": {"profile": "deepseek", "model": "same"},
        "off": {"profile": "vllm", "enabled": False},
    }
    found = registry(sources, {"models": models})
    assert [getattr(found.resolve(name), "id", None) for name in ("big", "Org/Big", "org/big", "BIG", "same", "off", "x")] == [
        "big",
        "big",
        "big",
        "big",
        None,
        None,
        None,
    ]


def test_an_unknown_model_suggests_the_nearest(sources: Sources) -> None:
    """The error names what the caller may have meant."""
    found = registry(sources, {"models": {"kimi-k3": {"profile": "vllm"}, "other": {"profile": "vllm"}}})
    with pytest.raises(UnknownModel) as refused:
        found.require("kimi-3")
    assert (refused.value.details, refused.value.hint) == ({"nearest": ["kimi-k3"]}, "Did you mean kimi-k3?")


def test_roles_keep_the_tables_order_then_priority(sources: Sources) -> None:
    """The roles table comes first; models that claim a role follow, highest priority first; disabled ones are left out."""
    models = {
        "a": {"profile": "vllm", "roles": ["coding"]},
        "b": {"profile": "vllm", "roles": ["coding"], "priority": 5},
        "c": {"profile": "vllm"},
        "d": {"profile": "vllm", "enabled": False},
    }
    found = registry(sources, {"models": models, "roles": {"coding": ["d", "c", "a"]}})
    assert [card.id for card in found.role("coding")] == ["c", "a", "b"]


def test_tags_group_models(sources: Sources) -> None:
    """by_tag lists the models of each tag."""
    found = registry(sources, {"models": {"a": {"profile": "vllm", "tags": ["x"]}, "b": {"profile": "vllm", "tags": ["x", "y"]}}})
    assert found.by_tag == {"x": ("a", "b"), "y": ("b",)}


def discovered(name: str, url: str, wire: str | None = None) -> ModelCard:
    return ModelCard(id=name, wire_name=wire or name, profile="vllm", base_url=url, origin="discovered")


def test_the_file_hides_what_discovery_finds_again(sources: Sources) -> None:
    """The same model at the same address is one model, also when the file disables it; another address makes another model."""
    models = {"m": {"profile": "vllm", "endpoint": "http://h:1/v1", "model": "w", "enabled": False}}
    found = registry(
        sources,
        {"models": models},
        discovered=[discovered("w", "http://h:1/v1"), discovered("m", "http://h:2/v1"), discovered("z", "http://h:2/v1")],
    )
    assert list(found.cards) == ["m", "vllm/m", "z"]
    assert not found.cards["m"].enabled
    assert "offered as vllm/m" in found.notes[0].message


def test_a_probe_adds_what_the_engine_says(sources: Sources) -> None:
    """The engine's word beats the facts for a configured model."""
    probed = {"qwen3-4b": Found(id="qwen3-4b", context_tokens=8192, effort_levels=("low", "high"))}
    card = registry(sources, {"models": {"qwen3-4b": {"profile": "vllm"}}}, probed=probed).cards["qwen3-4b"]
    assert (card.context_tokens, card.context_origin) == (8192, "engine")


def test_equal_trees_have_equal_hashes(sources: Sources) -> None:
    """The hash names the content, not the file."""
    one, two = registry(sources, {}), registry(sources, {"server": {"port": 4123}})
    assert one.hash == two.hash
    assert one.hash != registry(sources, {"server": {"port": 1}}).hash


def test_a_model_whose_file_is_missing_is_out_of_service_with_a_note(sources: Sources) -> None:
    """The others serve, roles leave it out, and asking for it says which file and what fetches it."""
    raw = {"models": {"here": {"path": "here.gguf"}, "gone": {"path": "gone.gguf"}}, "roles": {"coding": ["gone", "here"]}}
    built = registry(sources, raw, missing={"gone": Path("/models/gone.gguf")})
    assert [card.id for card in built.enabled] == ["here"]
    assert built.roles == {"coding": ("here",)}
    assert [note.model for note in built.notes] == ["gone"]
    with pytest.raises(UnknownModel) as refused:
        built.require("gone")
    assert "no such file: /models/gone.gguf" in (refused.value.hint or "")
    assert "models pull OWNER/REPO:gone.gguf" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("raw", "watched"),
    [
        ({}, True),
        ({"models": {"m": {"profile": "vllm"}}}, False),
        ({"models": {"m": {"profile": "vllm"}}, "discovery": {"enabled": True}}, True),
        ({"discovery": {"enabled": False}}, False),
    ],
)
def test_an_unknown_name_says_how_long_a_new_file_takes(sources: Sources, raw: dict[str, object], watched: bool) -> None:
    """Who has just dropped a file into the folder is told to wait, and only where the folder is looked at."""
    with pytest.raises(UnknownModel) as refused:
        registry(sources, raw).require("never-heard-of")
    hint = refused.value.hint or ""
    assert "`prefrontal models list`" in hint
    assert ("within about 5 seconds" in hint) is watched
