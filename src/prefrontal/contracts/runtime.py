"""What a policy may know of a model at this moment."""

from __future__ import annotations

import msgspec


class ModelRuntime(msgspec.Struct, frozen=True, kw_only=True):
    """A model's condition. Latencies are running means in milliseconds, None before the first call.

    open: the breaker keeps requests away. full: neither a slot nor a place in the queue is left. ready: a local engine is up
    (None: not ours to know). spent_out: its spend limit for today is used up.
    """

    open: bool = False
    full: bool = False
    in_flight: int = 0
    limit: int = 0
    waiting: int = 0
    queue_wait_ms: float = 0.0
    first_token_ms: float | None = None
    tokens_per_s: float | None = None
    ready: bool | None = None
    spent_out: bool = False

    @property
    def occupancy(self) -> float:
        """Share of the slots in use, [0, 1]."""
        return min(1.0, self.in_flight / self.limit) if self.limit else 0.0


IDLE = ModelRuntime()
