"""The gateway's own counters."""

from __future__ import annotations

from prefrontal.app.vitals import VitalSigns
from prefrontal.chat.usage import Usage
from prefrontal.clock import SystemClock
from prefrontal.contracts.record import RequestRecord
from prefrontal.execute.runtime import Runtime
from prefrontal.reflex.host import PsutilHost


class HandClock(SystemClock):
    """Time moved by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1_700_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


def record(**given: object) -> RequestRecord:
    fields: dict[str, object] = {
        "id": "req_1",
        "started_s": 0.0,
        "route": "/",
        "dialect": "openai",
        "requested_model": "auto",
        "status": "ok",
        "answered_by": "model",
        "model": "m",
        "duration_ms": 100.0,
        "usage": Usage(uncached_input_tokens=10, output_tokens=5, source="reported"),
        "cost_usd": 0.5,
    }
    return RequestRecord(**{**fields, **given})  # type: ignore[arg-type]


def test_a_window_counts_only_its_own_minutes() -> None:
    """Older records fall out of a short window and stay in a long one."""
    clock = HandClock()
    signs = VitalSigns(clock=clock, runtime=Runtime(default_limit=1, default_queue=1), host=PsutilHost())
    signs.observe(record())
    clock.at += 600
    signs.observe(record(status="error", answered_by="none", model=None, cost_usd=None, duration_ms=300.0))
    signs.observe(record(answered_by="tool", model="reflex/calculator", cost_usd=0.0))
    short, long = signs.window(5), signs.window(60)
    assert (short.requests, short.errors, short.without_model, short.cost_usd) == (2, 1, 1, 0.0)
    assert (long.requests, long.cost_usd, long.input_tokens, long.output_tokens) == (3, 0.5, 30, 15)
    assert long.by_model == {"m": 1, "reflex/calculator": 1}
    assert short.mean_ms == 200.0
    assert long.covered_minutes == 11


def test_an_answer_without_a_price_is_counted_apart_from_a_free_one() -> None:
    """Unknown cost is not zero cost."""
    signs = VitalSigns(clock=HandClock(), runtime=Runtime(default_limit=1, default_queue=1), host=PsutilHost())
    signs.observe(record(cost_usd=None))
    signs.observe(record(cost_usd=0.0))
    assert signs.window(1).unpriced == 1


def test_a_day_of_minutes_is_all_that_is_kept() -> None:
    """Memory is bounded: the 1,441st minute pushes the first out."""
    clock = HandClock()
    signs = VitalSigns(clock=clock, runtime=Runtime(default_limit=1, default_queue=1), host=PsutilHost())
    for _ in range(1500):
        signs.observe(record())
        clock.at += 60
    assert signs.window(1440).requests <= 1440
    assert len(signs._buckets) == 1440
