"""What the configuration, the edge and the executor tell each other about balancing, hedging and priorities."""

from __future__ import annotations

from typing import Literal

import msgspec

Balance = Literal["least_outstanding", "latency", "weighted"]
"""How one of a model's deployments is chosen."""

HedgeTo = Literal["deployment", "model"]
"""Where a second attempt goes: to another deployment only, or, where there is none, to the next model of the plan."""

Priority = Literal["low", "normal", "high"]
"""How much a request matters when there is more work than room: of two classes the lower is refused first."""

PRIORITIES: tuple[Priority, ...] = ("low", "normal", "high")
"""From the one that is refused first to the one that is refused last."""

Shed = Literal["full", "displaced", "congested", "waited"]
"""Why a request was refused unanswered: no place to wait; its place went to another; a standing queue; no place in time."""


class Hedge(msgspec.Struct, frozen=True, kw_only=True):
    """When a second attempt is made beside a slow first one.

    after_ms: fixed; None: the share `quantile` of the deployment's measured times. max_share: of the requests that may be
    hedged, at most this share is, in (0, 1].
    """

    after_ms: float | None = None
    quantile: float = 0.95
    max_share: float = 0.05
    to: HedgeTo = "deployment"


def lower(one: Priority, other: Priority) -> Priority:
    """Return the lower of two priorities."""
    return one if PRIORITIES.index(one) <= PRIORITIES.index(other) else other
