"""Counts what happened, minute by minute for a day, and samples the host beside it. Bounded: 1,440 small buckets."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from prefrontal.clock import Clock
from prefrontal.contracts.record import RequestRecord
from prefrontal.contracts.vitals import ModelCondition, Vitals
from prefrontal.execute import breaker
from prefrontal.execute.runtime import Runtime
from prefrontal.reflex.host import HostMetrics

SAMPLE_S = 10.0
"""How often the host is measured (assumed: six samples a minute; one costs well under a millisecond)."""

KEPT_MINUTES = 24 * 60


class Bucket:
    """One minute."""

    def __init__(self, minute: int) -> None:
        self.minute = minute
        self.requests = self.errors = self.cancelled = self.without_model = 0
        self.input_tokens = self.output_tokens = self.unpriced = 0
        self.cost_usd = 0.0
        self.duration_ms = 0.0
        self.by_model: Counter[str] = Counter()
        self.cpu: list[float] = []
        self.memory: list[float] = []


class VitalSigns:
    """Implements `GatewayMetrics`. `observe` is called with every finished record; owned by one event loop."""

    def __init__(self, *, clock: Clock, runtime: Runtime, host: HostMetrics) -> None:
        self._clock = clock
        self._runtime = runtime
        self._host = host
        self._buckets: deque[Bucket] = deque(maxlen=KEPT_MINUTES)
        self._started_s = clock.monotonic()
        self._task: asyncio.Task[None] | None = None

    def observe(self, record: RequestRecord) -> None:
        """Count a finished request."""
        bucket = self._now()
        bucket.requests += 1
        if record.status == "error":
            bucket.errors += 1
        elif record.status == "cancelled":
            bucket.cancelled += 1
        if record.answered_by == "tool":
            bucket.without_model += 1
        if record.answered_by != "cache":  # its tokens were used once, by the call that was made
            bucket.input_tokens += record.usage.input_tokens
            bucket.output_tokens += record.usage.output_tokens
        if record.cost_usd is not None:
            bucket.cost_usd += record.cost_usd
        elif record.status == "ok":
            bucket.unpriced += 1
        bucket.duration_ms += record.duration_ms
        if record.model is not None:
            bucket.by_model[record.model] += 1

    def window(self, minutes: int) -> Vitals:
        """See `GatewayMetrics.window`."""
        oldest = int(self._clock.now() // 60) - minutes
        chosen = [bucket for bucket in self._buckets if bucket.minute > oldest]
        requests = sum(b.requests for b in chosen)
        cpu = [value for b in chosen for value in b.cpu]
        memory = [value for b in chosen for value in b.memory]
        by_model: Counter[str] = Counter()
        for bucket in chosen:
            by_model.update(bucket.by_model)
        return Vitals(
            minutes=minutes,
            covered_minutes=min(minutes, int((self._clock.monotonic() - self._started_s) // 60) + 1),
            requests=requests,
            errors=sum(b.errors for b in chosen),
            cancelled=sum(b.cancelled for b in chosen),
            without_model=sum(b.without_model for b in chosen),
            input_tokens=sum(b.input_tokens for b in chosen),
            output_tokens=sum(b.output_tokens for b in chosen),
            cost_usd=sum(b.cost_usd for b in chosen),
            unpriced=sum(b.unpriced for b in chosen),
            mean_ms=sum(b.duration_ms for b in chosen) / requests if requests else None,
            by_model=dict(by_model),
            cpu_mean_percent=sum(cpu) / len(cpu) if cpu else None,
            cpu_peak_percent=max(cpu, default=None),
            memory_mean_percent=sum(memory) / len(memory) if memory else None,
            memory_peak_percent=max(memory, default=None),
        )

    def models(self) -> list[ModelCondition]:
        """See `GatewayMetrics.models`."""
        now = self._clock.monotonic()
        return [
            ModelCondition(
                model=state.name,
                in_flight=state.slots.held,
                waiting=state.slots.waiting,
                resting=not breaker.admits(state.breaker, now),
                last_error=state.last_error,
            )
            for state in self._runtime.all()
        ]

    def start(self) -> None:
        """Begin to sample the host."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._sample(), name="vital signs")

    async def close(self) -> None:
        """Stop sampling."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _sample(self) -> None:
        await asyncio.to_thread(self._host.cpu_percent)  # the first look only starts the measurement, and loads psutil
        while True:
            await self._clock.sleep(SAMPLE_S)
            bucket = self._now()
            cpu, memory = self._host.cpu_percent(), self._host.memory()
            if cpu is not None:
                bucket.cpu.append(cpu)
            if memory is not None and memory.total_bytes:
                bucket.memory.append(100.0 * (memory.total_bytes - memory.available_bytes) / memory.total_bytes)

    def _now(self) -> Bucket:
        minute = int(self._clock.now() // 60)
        if not self._buckets or self._buckets[-1].minute != minute:
            self._buckets.append(Bucket(minute))
        return self._buckets[-1]
