"""How much memory a model needs: weights, attention cache and working space, from its published numbers."""

from __future__ import annotations

import msgspec

from prefrontal.providers.facts import Arch, ModelFact

GIB = 1024**3

OVERHEAD_SHARE = 0.10
"""Assumed: compute buffers take about a tenth of weights and cache …"""

OVERHEAD_MIN_BYTES = GIB // 2
OVERHEAD_MAX_BYTES = 3 * GIB // 2
"""… and between 0.5 and 1.5 GiB (a rule of thumb nobody published a check for)."""

BITS_PER_WEIGHT: dict[str, float] = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "fp8": 8.0,
    "q8_0": 8.5,  # specified: blocks of 32 int8 with one f16 scale
    "q4_k_m": 4.9,  # measured: 4.89 to 4.99 on published files
    "int4": 4.25,  # specified: groups of 128
}
"""Bits a weight takes in common formats."""

KV_BYTES: dict[str, float] = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "fp8": 1.0, "q8_0": 34 / 32}
"""Bytes one number of the attention cache takes."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes a loaded model needs, by part."""

    weights_bytes: int
    cache_bytes: int
    overhead_bytes: int

    @property
    def total_bytes(self) -> int:
        """All parts together."""
        return self.weights_bytes + self.cache_bytes + self.overhead_bytes


def memory_bytes(
    fact: ModelFact, *, bits_per_weight: float, context_tokens: int, kv_bytes: float = 2.0, slots: int = 1
) -> int | None:
    """Return the total of `memory_parts`; None when it cannot be known."""
    parts = memory_parts(fact, bits_per_weight=bits_per_weight, context_tokens=context_tokens, kv_bytes=kv_bytes, slots=slots)
    return None if parts is None else parts.total_bytes


def memory_parts(
    fact: ModelFact, *, bits_per_weight: float, context_tokens: int, kv_bytes: float = 2.0, slots: int = 1
) -> Memory | None:
    """Return what loading the model takes; None when its size or its attention is not known.

    bits_per_weight: see `BITS_PER_WEIGHT`. context_tokens: of one slot. kv_bytes: see `KV_BYTES`. slots: sequences at once,
    each with a context of its own. All parameters are held even when few are active.
    """
    if fact.params_b is None or fact.arch is None:
        return None
    weights = weights_bytes(fact.params_b, bits_per_weight)
    cache = cache_bytes(fact.arch, context_tokens, kv_bytes) * slots
    overhead = min(OVERHEAD_MAX_BYTES, max(OVERHEAD_MIN_BYTES, int((weights + cache) * OVERHEAD_SHARE)))
    return Memory(weights_bytes=weights, cache_bytes=cache, overhead_bytes=overhead)


def weights_bytes(params_b: float, bits_per_weight: float) -> int:
    """Return the bytes of the weights of `params_b` billion parameters."""
    return int(params_b * 1e9 * bits_per_weight / 8)


def cache_bytes(arch: Arch, context_tokens: int, kv_bytes: float = 2.0) -> int:
    """Return the bytes of one slot's attention cache when it is full.

    Latent attention keeps one compressed vector a token and layer; an engine that does not support it needs far more.
    """
    if arch.kv_lora_rank is not None:
        return int(arch.layers * (arch.kv_lora_rank + (arch.qk_rope_head_dim or 0)) * context_tokens * kv_bytes)
    per_token = 2 * (arch.kv_heads or 0) * (arch.head_dim or 0) * kv_bytes
    window_layers = arch.window_layers
    full_layers = arch.full_attention_layers if arch.full_attention_layers is not None else arch.layers - window_layers
    window = min(context_tokens, arch.window_tokens or context_tokens)
    return int(per_token * (full_layers * context_tokens + window_layers * window))
