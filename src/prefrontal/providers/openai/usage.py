"""Usage objects of OpenAI-compatible upstreams → `Usage` → the object clients know."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.usage import UNKNOWN_USAGE, Usage

_KNOWN = frozenset(
    {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "reasoning_tokens",
        "prompt_cache_hit_tokens",
        "prompt_cache_miss_tokens",
        "cached_tokens",
    }
)


def parse_usage(raw: object, shape: str = "openai") -> Usage:
    """Return the usage in `raw`; unknown when it is absent or has no counts.

    Cached input is read from ``prompt_tokens_details.cached_tokens``, ``prompt_cache_hit_tokens`` (DeepSeek) or ``cached_tokens``
    (Moonshot); reasoning from ``completion_tokens_details`` or beside the totals (SGLang). In shape ``xai`` reasoning tokens
    stand beside the completion's and are added to the output, unless the total shows that they are already inside.
    """
    if not isinstance(raw, dict):
        return UNKNOWN_USAGE
    prompt, completion = raw.get("prompt_tokens"), raw.get("completion_tokens")
    if type(prompt) is not int and type(completion) is not int:
        return UNKNOWN_USAGE
    in_details, out_details = raw.get("prompt_tokens_details"), raw.get("completion_tokens_details")
    inputs = in_details if isinstance(in_details, dict) else _EMPTY
    outputs = out_details if isinstance(out_details, dict) else _EMPTY
    total_in = _count(prompt)
    read = _count(inputs.get("cached_tokens") or raw.get("prompt_cache_hit_tokens") or raw.get("cached_tokens"))
    write = _count(inputs.get("cache_write_tokens"))
    reasoning = _count(outputs.get("reasoning_tokens") or raw.get("reasoning_tokens"))
    output = _count(completion)
    if shape == "xai" and raw.get("total_tokens") != total_in + output:
        output += reasoning
    read = min(read, total_in)
    write = min(write, total_in - read)
    return Usage(
        uncached_input_tokens=total_in - read - write,
        cache_read_tokens=read,
        cache_write_tokens=write,
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
        source="reported",
    )


_EMPTY: dict[str, Any] = {}


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def unknown_fields(raw: dict[str, Any]) -> dict[str, Any]:
    """Return what a usage object holds beyond the known counts (a cost, queue times …), nulls left out."""
    return {key: value for key, value in raw.items() if key not in _KNOWN and value is not None}


def render_usage(usage: Usage, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the usage object of chat completions; reasoning tokens are part of the completion's."""
    inputs = {"cached_tokens": usage.cache_read_tokens}
    if usage.cache_write_tokens:
        inputs["cache_write_tokens"] = usage.cache_write_tokens
    total_in = usage.input_tokens
    out: dict[str, Any] = {
        "prompt_tokens": total_in,
        "completion_tokens": usage.output_tokens,
        "total_tokens": total_in + usage.output_tokens,
        "prompt_tokens_details": inputs,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    return {**extra, **out} if extra else out
