"""The memory formula against numbers others have published."""

from __future__ import annotations

import pytest

from prefrontal.providers.facts import Arch, load_facts
from prefrontal.providers.memory import GIB, KV_BYTES, cache_bytes, memory_bytes, memory_parts, weights_bytes

FACTS = load_facts()
MIB = 1024**2


def arch_of(name: str) -> Arch:
    """The attention of a model of the catalogue."""
    fact = FACTS.match(name, None)
    assert fact is not None
    assert fact.arch is not None
    return fact.arch


def test_latent_attention_of_r1_matches_a_published_log() -> None:
    """A llama.cpp fork logged 1166.62 MiB for DeepSeek R1 at 32,768 tokens in q8_0."""
    assert cache_bytes(arch_of("deepseek-r1"), 32_768, KV_BYTES["q8_0"]) / MIB == pytest.approx(1_166.62, abs=0.01)


def test_grouped_attention_matches_a_published_log() -> None:
    """28 layers of 4 heads of 128 at 2,048 tokens in f16 were logged as 112 MiB."""
    assert cache_bytes(arch_of("deepseek-r1-distill-qwen-7b"), 2_048, KV_BYTES["f16"]) == 112 * MIB


def test_full_attention_matches_a_published_log() -> None:
    """LLaMA 30B at 512 tokens in f32 was logged as 1,560 MB."""
    assert cache_bytes(Arch(layers=60, kv_heads=52, head_dim=128), 512, KV_BYTES["f32"]) == 1_560 * MIB


def test_weights_match_published_files() -> None:
    """R1-Distill-Qwen-7B at 4.91 bits was logged as 4.36 GiB, and Llama 3.1 8B's file gives 4.894 bits a weight."""
    assert weights_bytes(7.62, 4.91) / GIB == pytest.approx(4.36, abs=0.01)
    assert weights_bytes(8.030261312, 4.894) == pytest.approx(4_912_898_304, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "kib"),
    [
        ("qwen2.5-1.5b", 28),
        ("smollm2-1.7b", 192),
        ("llama3.2:3b", 112),
        ("phi-3.5-mini", 384),
        ("qwen3:4b", 144),
        ("mistral-7b", 128),
        ("qwen2.5-7b", 56),
        ("codellama-7b", 512),
        ("llama3.1:8b", 128),
        ("qwen2.5-14b", 192),
        ("qwen3-30b-a3b", 96),
        ("qwen3-next-80b-a3b-instruct", 24),
        ("llama-3.3-70b", 320),
        ("deepseek-r1", 68.625),
        ("kimi-k2-thinking", 68.625),
    ],
)
def test_cache_per_token_matches_the_table(name: str, kib: float) -> None:
    """KiB a token in f16, as listed in the reference."""
    assert cache_bytes(arch_of(name), 1_000) / 1_000 / 1_024 == pytest.approx(kib)


def test_sliding_windows_stop_growing() -> None:
    """Gemma 2 9B at 8,192 tokens: 2,016 MiB with windows, and each further token costs half the layers."""
    gemma = arch_of("gemma2:9b")
    assert cache_bytes(gemma, 8_192) == 2_016 * MIB
    assert cache_bytes(gemma, 4_097) - cache_bytes(gemma, 4_096) == 21 * 2 * 8 * 256 * 2


def test_the_total_adds_slots_and_a_bounded_overhead() -> None:
    """Two slots hold two caches; the overhead stays between half a GiB and one and a half."""
    fact = FACTS.match("llama3.1:8b", None)
    assert fact is not None
    one = memory_parts(fact, bits_per_weight=4.9, context_tokens=8_192)
    two = memory_parts(fact, bits_per_weight=4.9, context_tokens=8_192, slots=2)
    assert one is not None
    assert two is not None
    assert two.cache_bytes == 2 * one.cache_bytes == 2 * GIB
    assert one.overhead_bytes == pytest.approx(0.1 * (one.weights_bytes + one.cache_bytes), rel=1e-6)
    assert memory_bytes(fact, bits_per_weight=16, context_tokens=131_072) == pytest.approx((14.96 + 16 + 1.5) * GIB, rel=1e-3)


def test_what_is_not_known_is_not_guessed() -> None:
    """A hosted model has no published size."""
    fact = FACTS.match("gpt-5.6", "openai")
    assert fact is not None
    assert memory_bytes(fact, bits_per_weight=16, context_tokens=1_000) is None
