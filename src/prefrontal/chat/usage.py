"""Token usage, with its source."""

from __future__ import annotations

from typing import Literal

import msgspec

UsageSource = Literal["reported", "estimated", "unknown"]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one call. All counts are >= 0.

    Input is split so that each part has its own price: `uncached_input_tokens` + `cache_read_tokens` + `cache_write_tokens`.
    `output_tokens` includes `reasoning_tokens`. `source` says whether the engine reported this, we estimated it, or nobody
    knows (then the counts are 0 and mean nothing).
    """

    uncached_input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    source: UsageSource = "unknown"

    @property
    def input_tokens(self) -> int:
        """All input tokens, cached or not."""
        return self.uncached_input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: Usage) -> Usage:
        """Return the sum; the weaker of the two sources wins."""
        order = ("reported", "estimated", "unknown")
        source = max(self.source, other.source, key=order.index)
        return Usage(
            uncached_input_tokens=self.uncached_input_tokens + other.uncached_input_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            source=source,
        )


UNKNOWN_USAGE = Usage()
