"""What the executor is asked to do."""

from __future__ import annotations

import msgspec

from prefrontal.chat.embeddings import EmbeddingsRequest
from prefrontal.chat.request import ChatRequest
from prefrontal.config.schema_service import Limits
from prefrontal.contracts.effort import Effort
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import Reach
from prefrontal.contracts.resilience import Hedge, Priority
from prefrontal.contracts.trace import Propagation
from prefrontal.execute.exchange import Exchange
from prefrontal.execute.media import Fetched
from prefrontal.ledger.purse import Purse

LEAST_TIME_S = 0.001
"""A deadline that has just passed still gives a timer something to count (assumed)."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request with the models that may serve it, best first, and the bounds that hold.

    For embeddings `request` holds the texts as one message, for estimates, and `embeddings` what is sent; for any other
    request that is no chat, `exchange` says how it is written and read. `deadline` is a moment of the monotonic clock (None:
    only the configured timeouts). `default_cap` is the output cap in tokens to use when the caller gave none and the model needs
    one. `trace` is told to upstreams (None: nothing). `reach` says which hosts the request may go to (None: what holds for
    all). `fetched` keeps what was fetched for it by URL. `reason` says why a further call is made (``repair``, ``escalation``).
    """

    request: ChatRequest
    cards: tuple[ModelCard, ...]
    effort: Effort
    limits: Limits
    deadline: float | None = None
    default_cap: int | None = None
    embeddings: EmbeddingsRequest | None = None
    exchange: Exchange | None = None
    purse: Purse | None = None
    trace: Propagation | None = None
    reach: Reach | None = None
    reason: str | None = None
    prefer: str | None = None
    hedge: Hedge | None = None
    who: str | None = None
    priority: Priority = "normal"
    fetched: dict[str, Fetched] = {}

    def remaining_s(self, now: float, limit_s: float | None) -> float | None:
        """Return the seconds that `limit_s` and the deadline leave at monotonic time `now`; None: without end."""
        if self.deadline is None:
            return limit_s
        left = max(LEAST_TIME_S, self.deadline - now)
        return left if limit_s is None else min(limit_s, left)
