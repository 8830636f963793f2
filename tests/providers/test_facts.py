"""The catalogue of models: names are recognised in all their spellings, and no model is taken for another."""

from __future__ import annotations

from importlib import resources

import pytest

from prefrontal.contracts.model import ModelCard
from prefrontal.providers.effort import load_dialects
from prefrontal.providers.effort.resolve import dialect_of
from prefrontal.providers.facts import load_facts

FACTS = load_facts()

KNOWN = [
    ("Qwen/Qwen3-4B", "qwen3-4b"),
    ("qwen3:4b", "qwen3-4b"),
    ("qwen3-4b-q4_k_m.gguf", "qwen3-4b"),
    ("models/Qwen3-4B-UD-Q4_K_XL.gguf", "qwen3-4b"),
    ("C:\\models\\Qwen3-4B-Q8_0.gguf", "qwen3-4b"),
    ("hf.co/unsloth/Qwen3-4B-GGUF:Q4_K_M", "qwen3-4b"),
    ("Qwen/Qwen3-4B-FP8", "qwen3-4b"),
    ("Qwen/Qwen3-4B-AWQ", "qwen3-4b"),
    ("mlx-community/Qwen3-4B-4bit", "qwen3-4b"),
    ("qwen/qwen3-4b:free", "qwen3-4b"),
    ("Qwen/Qwen3-4B-Thinking-2507", "qwen3-4b-thinking-2507"),
    ("qwen3:4b-thinking-2507-q4_K_M", "qwen3-4b-thinking-2507"),
    ("Qwen3-4B-Instruct-2507-Q4_K_M.gguf", "qwen3-4b-instruct-2507"),
    ("qwen3:0.6b", "qwen3-hybrid"),
    ("Qwen/Qwen3-32B", "qwen3-hybrid"),
    ("qwen3-235b-a22b", "qwen3-hybrid"),
    ("Qwen/Qwen3-30B-A3B", "qwen3-30b-a3b"),
    ("Qwen/Qwen3-30B-A3B-Thinking-2507", "qwen3-thinking-2507"),
    ("Qwen/Qwen3-235B-A22B-Instruct-2507", "qwen3-instruct-2507"),
    ("qwen3-coder:30b", "qwen3-coder-30b-a3b-instruct"),
    ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3-coder-30b-a3b-instruct"),
    ("Qwen/Qwen3-Coder-480B-A35B-Instruct", "qwen3-coder"),
    ("qwen3-next-80b-a3b-instruct", "qwen3-next-80b-a3b-instruct"),
    ("qwen3-next-80b-a3b-thinking", "qwen3-next-80b-a3b-thinking"),
    ("qwen2.5:7b-instruct-q4_K_M", "qwen2.5-7b-instruct"),
    ("accounts/fireworks/models/qwen2p5-7b-instruct", "qwen2.5-7b-instruct"),
    ("Qwen2.5-1.5B-Instruct", "qwen2.5-1.5b-instruct"),
    ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct"),
    ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct"),
    ("llama3.1:8b", "llama-3.1-8b-instruct"),
    ("meta.llama3-1-8b-instruct-v1:0", "llama-3.1-8b-instruct"),
    ("llama3.2:1b", "llama-3.2-1b-instruct"),
    ("llama3:8b", "llama-3-8b-instruct"),
    ("Llama-3.3-70B-Instruct-Turbo", "llama-3.3-70b-instruct"),
    ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
    ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
    ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
    ("claude-sonnet-4-20250514", "claude-4-budget"),
    ("claude-opus-5", "claude-opus-5"),
    ("claude-opus-4-8", "claude-opus-4-8"),
    ("claude-opus-4-7", "claude-adaptive"),
    ("gpt-5.1", "gpt-5.1"),
    ("gpt-5.1-2025-11-13", "gpt-5.1"),
    ("openai/gpt-5.6", "gpt-5.6"),
    ("gpt-4o-mini-2024-07-18", "openai-no-thinking"),
    ("o3-mini", "openai-o-series"),
    ("openai/gpt-oss-120b", "gpt-oss-120b"),
    ("gpt-oss:20b", "gpt-oss-20b"),
    ("models/gemini-2.5-pro", "gemini-2.5-pro"),
    ("gemini-2.5-pro-preview-06-05", "gemini-2.5-pro"),
    ("gemini-2.5-flash", "gemini-2.5-flash"),
    ("gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
    ("gemini-3.5-flash", "gemini-3.5-flash"),
    ("grok-4.3", "grok-4.3"),
    ("x-ai/grok-4.3", "grok-4.3"),
    ("deepseek-r1:14b", "deepseek-r1-distill-qwen-14b"),
    ("DeepSeek-R1-Distill-Llama-8B-Q4_K_M.gguf", "deepseek-r1-distill-llama-8b"),
    ("deepseek-ai/DeepSeek-R1", "deepseek-r1"),
    ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1"),
    ("deepseek-v4-pro", "deepseek-v4-pro"),
    ("kimi-k2-thinking", "kimi-k2-thinking"),
    ("moonshotai/Kimi-K2.6", "kimi-k2.6"),
    ("kimi-k3.1-pro", "kimi-k3.1-pro"),
    ("kimi-k3", "kimi-k3"),
    ("mistral-small-latest", "mistral-small-latest"),
    ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-instruct-v0.3"),
    ("Devstral-Small-2-24B-Instruct-2512", "devstral-small-2-24b"),
    ("gemma2:2b", "gemma-2-2b-it"),
    ("google/gemma-2-27b-it", "gemma-2-27b-it"),
    ("Phi-3.5-mini-instruct-Q8_0.gguf", "phi-3.5-mini-instruct"),
    ("SmolLM2-360M-Instruct", "smollm2-360m-instruct"),
    ("codellama:13b-instruct", "codellama-13b-instruct"),
    ("deepseek-coder:6.7b", "deepseek-coder-6.7b-instruct"),
]

UNKNOWN = [
    "",
    "   ",
    "/",
    "auto",
    "model",
    "qwen3",
    "Qwen3-Embedding-4B",
    "Qwen3-Reranker-4B",
    "Qwen/Qwen3-4B-Base",
    "Qwen3-VL-4B-Instruct",
    "gpt-5",
    "gpt-5.1-codex",
    "gpt-5.6-mini",
    "gpt-51",
    "gpt-4",
    "kimi-k3.2",
    "kimi-k2",
    "claude-opus-6",
    "claude-instant",
    "gemini-2.5-flash-image",
    "gemini-2.5",
    "gemini-25-pro",
    "grok-4",
    "grok-4.31",
    "llama-3.1-405b-instruct",
    "llama-31-8b",
    "llama-guard-3-8b",
    "mistral-small-24b",
    "mistral-large-latest",
    "deepseek-v4",
    "deepseek-r1-zero",
    "deepseek-coder-33b",
    "gemma-3-27b-it",
    "gemma-22b",
    "phi-4",
    "my-qwen3-4b-finetune",
    "text-embedding-3-small",
    "whisper-large-v3",
    "日本語モデル",
]


@pytest.mark.parametrize(("name", "expected"), KNOWN, ids=[name for name, _ in KNOWN])
def test_a_name_is_recognised_in_its_spelling(name: str, expected: str) -> None:
    """Ids, tags, files, routes and dated versions lead to the one entry."""
    fact = FACTS.match(name, None)
    assert fact is not None
    assert fact.id == expected


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_name_that_is_another_model_matches_nothing(name: str) -> None:
    """A relative with other properties is unknown rather than mistaken."""
    fact = FACTS.match(name, None)
    assert fact is None


@pytest.mark.parametrize(
    ("profile", "dialect"),
    [
        ("vllm", "vllm_template"),
        ("sglang", "sglang_template"),
        ("llamacpp", "llamacpp"),
        ("ollama", "ollama_think"),
        ("dashscope", "dashscope_budget"),
        ("groq", "groq_qwen3"),
        ("openrouter", "openrouter_reasoning"),
        ("tgi", "prompt_switch"),
        (None, "prompt_switch"),
    ],
)
def test_the_same_weights_are_steered_by_who_serves_them(profile: str | None, dialect: str) -> None:
    """Qwen3's switch depends on the engine."""
    fact = FACTS.match("Qwen/Qwen3-4B", profile)
    assert fact is not None
    assert fact.effort_dialect == dialect


def test_a_price_applies_only_on_the_route_it_was_listed_for() -> None:
    """Claude over its own API has a price; a GGUF of a model that others sell has none."""
    hosted = FACTS.match("claude-haiku-4-5", "anthropic")
    assert hosted is not None
    assert hosted.price is not None
    assert (hosted.price.input_usd, hosted.price.output_usd, hosted.price.cache_read_usd) == (1.0, 5.0, 0.1)
    assert (hosted.price.origin, hosted.price.date) == ("facts", "2026-11-20")
    for profile in ("vllm", "llamacpp", None):
        local = FACTS.match("Qwen/Qwen3-4B", profile)
        assert local is not None
        assert local.price is None
        assert local.listed_price is not None


def test_self_hosted_devstral_does_not_think() -> None:
    """Only the hosted alias takes an effort."""
    hosted, local = FACTS.match("devstral-small-latest", "mistral"), FACTS.match("devstral-small-2", "vllm")
    assert hosted is not None
    assert local is not None
    assert (hosted.capabilities["thinking"], hosted.effort_dialect) == (True, "mistral_effort")
    assert (local.capabilities["thinking"], local.effort_dialect) == (False, "fixed")


def test_every_entry_makes_a_valid_card_on_every_profile() -> None:
    """Dialects, levels and overrides of the catalogue exist."""
    dialects = load_dialects()
    for entry in FACTS.catalogue.models:
        tables = FACTS.catalogue.serving.get(entry.serving or "", {"*": "fixed"})
        for profile in [*tables, "unheard-of"]:
            fact = FACTS.match(entry.patterns[0].replace("#", "9"), profile)
            assert fact is not None, entry.id
            assert fact.id == entry.id
            card = ModelCard(
                id=entry.id,
                wire_name=entry.id,
                profile=profile,
                effort_dialect=fact.effort_dialect or "fixed",
                effort_levels=fact.effort_levels,
                effort_overrides=fact.effort_overrides,
            )
            dialect_of(card, dialects)


def test_every_entry_is_found_by_each_of_its_patterns() -> None:
    """No pattern is shadowed by another entry."""
    for entry in FACTS.catalogue.models:
        for pattern in entry.patterns:
            fact = FACTS.match(pattern.replace("#", "9"), None)
            assert fact is not None
            assert fact.id == entry.id, pattern


def test_the_catalogue_is_sound() -> None:
    """Ids are unique, numbers are in range, every entry has evidence, and the file stays small."""
    assert len(FACTS.ids) == len(set(FACTS.ids)) >= 70
    for entry in FACTS.catalogue.models:
        assert entry.evidence == "unverified" or entry.sources, entry.id
        assert entry.params_b is None or 0.1 < entry.params_b < 3_000
        assert entry.active_b is None or entry.active_b < (entry.params_b or 0)
        assert entry.context_tokens is None or 4_096 <= entry.context_tokens <= 2_000_000
        assert entry.price is None or 0 <= entry.price.input_usd <= entry.price.output_usd
    size = len(resources.files("prefrontal.providers").joinpath("data", "model_facts.yaml").read_bytes())
    assert size < 60_000
