"""The gateway's own condition over a stretch of time."""

from __future__ import annotations

import msgspec


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in the last `minutes`. Costs in USD (None: something had no known price); shares and percentages are of 100.

    covered_minutes: how much of the time this process has been up. mean_ms: of finished requests. cpu and memory are means and
    peaks of the host's samples in that time, None without a sample.
    """

    minutes: int
    covered_minutes: int = 0
    requests: int = 0
    errors: int = 0
    cancelled: int = 0
    without_model: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    mean_ms: float | None = None
    by_model: dict[str, int] = {}
    cpu_mean_percent: float | None = None
    cpu_peak_percent: float | None = None
    memory_mean_percent: float | None = None
    memory_peak_percent: float | None = None


class ModelCondition(msgspec.Struct, frozen=True, kw_only=True):
    """One model now: requests at it, waiting for it, and whether it is left alone after failures."""

    model: str
    in_flight: int = 0
    waiting: int = 0
    resting: bool = False
    last_error: str | None = None
