"""A collector that is away, slow or wrong costs no request anything but a count."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from prefrontal.app.telemetry.worker import INSTALL, TelemetryWorker
from prefrontal.clock import SystemClock
from prefrontal.contracts.record import RequestRecord
from prefrontal.errors import EgressDenied


def record(number: int) -> RequestRecord:
    return RequestRecord(
        id=f"req_{number}",
        started_s=1.0,
        route="library",
        dialect="chat",
        requested_model="m",
        status="ok",
        answered_by="model",
    )


class Fake:
    """A carrier that waits while `gate` is closed, and keeps what it took."""

    def __init__(self, error: Exception | None = None) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.took: list[str] = []
        self.error = error
        self.interrupted = 0

    def take(self, records: Sequence[RequestRecord]) -> int:
        self.gate.wait(10)
        self.took += [one.id for one in records]
        if self.error is not None:
            raise self.error
        return 0

    def send_metrics(self) -> None:
        pass

    def interrupt(self) -> None:
        self.interrupted += 1
        self.gate.set()


def worker(carrier: Any, **settings: Any) -> TelemetryWorker:
    given = {"queue_size": 100, "interval_s": 0.01, "metrics_interval_s": 60.0, "close_s": 0.2} | settings
    make = carrier if callable(carrier) else lambda: carrier
    return TelemetryWorker(make, clock=SystemClock(), **given)


async def test_a_refusing_collector_slows_nothing(opened: Any, collector: Any) -> None:
    """With the port closed, requests take what they always take, and closing does not hang."""
    url = collector.url
    collector.close()
    pf = await opened(telemetry={"endpoint": url, "interval_s": 0.01})
    began = time.perf_counter()
    for _ in range(50):
        await pf.chat("1 + 1")
    assert time.perf_counter() - began < 2.0
    assert pf.telemetry.status().dropped == 0


async def test_a_collector_that_refuses_what_it_is_sent_is_counted(opened: Any, collector: Any) -> None:
    """A 400 is not tried again; the spans count as failed."""
    collector.status = 400
    pf = await opened(telemetry={"endpoint": collector.url, "metrics": False})
    await pf.chat("1 + 1")
    await pf.telemetry.flush()
    assert pf.telemetry.status().failed == 2


async def test_the_queue_is_bounded_while_the_collector_hangs() -> None:
    """Beyond the bound requests are counted and let go, each in microseconds; what was queued is sent later."""
    carrier = Fake()
    carrier.gate.clear()
    one = worker(carrier, queue_size=16)
    one.observe(record(0))
    while one.status().queued:  # noqa: ASYNC110 - a thread empties it, which sets no event of a loop
        await asyncio.sleep(0.005)
    began = time.perf_counter()
    for number in range(1, 1001):
        one.observe(record(number))
    assert time.perf_counter() - began < 0.2
    assert (one.status().queued, one.status().dropped) == (16, 984)
    carrier.gate.set()
    await one.flush()
    assert carrier.took == [f"req_{number}" for number in range(17)]
    await one.close()


async def test_closing_waits_for_the_last_export_and_no_longer() -> None:
    """What is queued at the end is sent; a collector that hangs is given up and told to stop waiting."""
    carrier = Fake()
    one = worker(carrier, interval_s=60.0)
    one.observe(record(1))
    await one.close()
    assert carrier.took == ["req_1"]
    hanging = Fake()
    hanging.gate.clear()
    two = worker(hanging)
    two.observe(record(2))
    began = time.perf_counter()
    await two.close()
    assert time.perf_counter() - began < 1.0
    assert hanging.interrupted >= 1


async def test_many_requests_are_sent_before_the_next_turn() -> None:
    """The queue does not fill up between two turns under load."""
    carrier = Fake()
    one = worker(carrier, queue_size=2048, interval_s=60.0)
    await asyncio.sleep(0.05)
    for number in range(300):
        one.observe(record(number))
    for _ in range(200):
        if carrier.took:
            break
        await asyncio.sleep(0.01)
    assert len(carrier.took) >= 256
    await one.close()


@pytest.mark.parametrize("error", [ValueError("a bug"), EgressDenied("The host 'x' may not be contacted.")])
async def test_no_failure_ends_the_thread(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next requests are sent."""
    carrier = Fake(error)
    one = worker(carrier)
    one.observe(record(1))
    await one.flush()
    carrier.error = None
    one.observe(record(2))
    await one.flush()
    assert carrier.took == ["req_1", "req_2"]
    assert "sent" in caplog.text
    await one.close()


async def test_without_the_extra_the_log_says_what_to_install(caplog: pytest.LogCaptureFixture) -> None:
    """Requests go on; nothing piles up."""

    def missing() -> Any:
        raise ImportError("opentelemetry")

    with caplog.at_level(logging.WARNING):
        one = worker(missing)
        await one.flush()
        one.observe(record(1))
    assert INSTALL in caplog.text
    assert (one.status().queued, one.status().dropped) == (0, 1)
    await one.close()


async def test_nobody_waits_for_a_worker_whose_exporter_could_not_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the collector's library raises at its start: requests are counted as dropped, a flush returns."""
    ends: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: ends.append(str(told.exc_value)))

    def broken() -> Fake:
        raise ValueError("a bug of the library")

    found = TelemetryWorker(broken, clock=SystemClock(), queue_size=10, interval_s=0.01, metrics_interval_s=60.0)
    async with asyncio.timeout(5):
        await found.flush()
    found.observe(record(1))
    assert found.status().dropped == 1
    await found.close()
    assert ends == ["a bug of the library"]
