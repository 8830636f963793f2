"""Keeps the collector away from requests: a bounded queue, and one thread that empties it.

A request pays for one append to a deque. Whatever the collector does, the queue's bound is the most it can cost.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.record import RequestRecord
from prefrontal.errors import EgressDenied

log = logging.getLogger(__name__)

WAKE_AT = 256
"""So many waiting requests are sent at once instead of at the next turn (assumed: about one export of 512 spans)."""

CLOSE_S = 3.0
"""How long closing waits for the last export (assumed: shorter than the grace a container gives)."""

INSTALL = "telemetry needs the extra `otel`: pip install 'prefrontal[otel]'; nothing is sent"


class Carrier(Protocol):
    """What sends: see `Exporter`."""

    def take(self, records: Sequence[RequestRecord]) -> int:
        """Send; return how many spans could not be sent."""
        ...

    def send_metrics(self) -> None:
        """Send the metrics."""
        ...

    def interrupt(self) -> None:
        """End an export that waits."""
        ...


class TelemetryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """queued: requests waiting. dropped: requests that found the queue full. failed: spans the collector did not take."""

    queued: int = 0
    dropped: int = 0
    failed: int = 0


class TelemetryWorker:
    """Takes finished records on the event loop; sends what they say on its own thread. `make` opens the exporter there."""

    def __init__(
        self,
        make: Callable[[], Carrier],
        *,
        clock: Clock,
        queue_size: int,
        interval_s: float,
        metrics_interval_s: float,
        close_s: float = CLOSE_S,
    ) -> None:
        self._make = make
        self._clock = clock
        self._bound = queue_size
        self._interval_s = interval_s
        self._metrics_interval_s = metrics_interval_s
        self._close_s = close_s
        self._queue: deque[RequestRecord] = deque()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._served_more = threading.Condition()
        self._asked = self._served = 0
        self._alive = True
        self._given_up = False
        self._carrier: Carrier | None = None
        self._dropped = self._failed = 0
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def observe(self, record: RequestRecord) -> None:
        """Take a finished record. Never waits; over the bound it is counted and let go."""
        if len(self._queue) >= self._bound or not self._alive:
            self._dropped += 1
            return
        self._queue.append(record)
        if len(self._queue) >= WAKE_AT:
            self._wake.set()

    def status(self) -> TelemetryStatus:
        """Return how things stand."""
        return TelemetryStatus(queued=len(self._queue), dropped=self._dropped, failed=self._failed)

    async def flush(self) -> None:
        """Return when everything taken before was sent, metrics too, or its sending has failed."""
        await asyncio.to_thread(self._flush)

    async def close(self) -> None:
        """Send what is left, for at most `close_s`; then give up."""
        self._stopping.set()
        self._wake.set()
        await asyncio.to_thread(self._thread.join, self._close_s)
        if self._thread.is_alive() and self._carrier is not None:
            log.warning("the telemetry collector does not answer: what it has not taken is not sent")
            self._given_up = True
            await asyncio.to_thread(self._carrier.interrupt)

    def _flush(self) -> None:
        with self._served_more:
            self._asked += 1
            wanted = self._asked
            self._wake.set()
            self._served_more.wait_for(lambda: self._served >= wanted or not self._alive)

    # -- on the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._carrier = self._make()
        except ImportError:
            log.warning(INSTALL)
        else:
            self._serve(self._carrier)
        finally:  # however it ends: nobody may wait for this thread, or fill its queue
            with self._served_more:
                self._alive = False
                self._queue.clear()
                self._served_more.notify_all()

    def _serve(self, carrier: Carrier) -> None:
        due = self._clock.monotonic() + self._metrics_interval_s
        while not self._stopping.is_set():
            self._wake.wait(self._interval_s)
            self._wake.clear()
            asked, now = self._asked, self._clock.monotonic()
            over = now >= due
            if over:
                due = now + self._metrics_interval_s
            self._turn(carrier, metrics=over or asked > self._served)
            with self._served_more:
                self._served = asked
                self._served_more.notify_all()
        if not self._given_up:
            self._turn(carrier, metrics=True)
        carrier.interrupt()

    def _turn(self, carrier: Carrier, *, metrics: bool) -> None:
        records = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            self._failed += carrier.take(records)
            if metrics:
                carrier.send_metrics()
        except EgressDenied as error:
            log.warning("telemetry is not sent: %s", error.message)
        except Exception:  # the thread's edge: a collector, or the library that speaks to it, must not end it
            log.exception("telemetry could not be sent")
