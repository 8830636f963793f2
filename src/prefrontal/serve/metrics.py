"""Prometheus metrics. Labels are bounded: models come from the registry, never from what a client wrote."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefrontal.app.library import Prefrontal
from prefrontal.contracts.record import RequestRecord
from prefrontal.errors import PrefrontalError
from prefrontal.execute import breaker

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Buckets for answers: from a reflex to ten minutes of thinking."""

OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
"""Buckets for the time that is ours."""

NO_MODEL = "none"


class Metrics:
    """One process's metrics, in a registry of its own. `observe` is called for each finished request."""

    def __init__(self, pf: Prefrontal) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self._pf = pf
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "prefrontal_requests", "Finished requests.", ["model", "status", "answered_by"], registry=self.registry
        )
        self._duration = Histogram(
            "prefrontal_request_duration_seconds",
            "From arrival to the end of the answer.",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._first_token = Histogram(
            "prefrontal_time_to_first_token_seconds",
            "From arrival to the first token.",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._overhead = Histogram(
            "prefrontal_overhead_seconds",
            "Time of a request that was not spent waiting for an upstream.",
            buckets=OVERHEAD_SECONDS,
            registry=self.registry,
        )
        self._tokens = Counter("prefrontal_tokens", "Tokens.", ["model", "type"], registry=self.registry)
        self._cost = Counter("prefrontal_cost_usd", "Known cost in USD.", ["model"], registry=self.registry)
        self._attempts = Counter(
            "prefrontal_attempts", "Calls to upstreams.", ["model", "outcome", "code"], registry=self.registry
        )
        self._errors = Counter("prefrontal_errors", "Errors answered to clients.", ["code"], registry=self.registry)
        self.registry.register(_Gauges(pf))
        self._children: dict[tuple[Any, ...], Any] = {}

    def observe(self, record: RequestRecord) -> None:
        """Count a finished request."""
        model = record.model or NO_MODEL
        self._child(self._requests, model, record.status, record.answered_by).inc()
        self._child(self._duration, model).observe(record.duration_ms / 1000.0)
        self._overhead.observe(record.overhead_ms / 1000.0)
        if record.first_token_ms is not None:
            self._child(self._first_token, model).observe(record.first_token_ms / 1000.0)
        usage = record.usage
        if usage.uncached_input_tokens:
            self._child(self._tokens, model, "input").inc(usage.uncached_input_tokens)
        if usage.cache_read_tokens:
            self._child(self._tokens, model, "cached_input").inc(usage.cache_read_tokens)
        if usage.output_tokens:
            self._child(self._tokens, model, "output").inc(usage.output_tokens)
        if record.cost_usd:
            self._child(self._cost, model).inc(record.cost_usd)
        for attempt in record.attempts:
            self._child(self._attempts, attempt.model, attempt.outcome, attempt.error_code or "").inc()

    def error(self, error: PrefrontalError) -> None:
        """Count an error answered to a client."""
        self._child(self._errors, error.code).inc()

    def render(self) -> bytes:
        """Return the text exposition."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)

    def _child(self, family: Any, *labels: str) -> Any:
        """Return the labelled child; looking it up in the family costs more than the count itself."""
        key = (family, *labels)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = family.labels(*labels)
        return found


class _Gauges:
    """What is read from the live objects at the moment of a scrape."""

    def __init__(self, pf: Prefrontal) -> None:
        self._pf = pf

    def collect(self) -> Iterable[Any]:
        """Yield the gauges."""
        from prometheus_client.core import GaugeMetricFamily

        in_flight = GaugeMetricFamily("prefrontal_in_flight", "Requests at a model now.", labels=["model"])
        waiting = GaugeMetricFamily("prefrontal_queue", "Requests waiting for a model now.", labels=["model"])
        opened = GaugeMetricFamily("prefrontal_breaker_open", "1 while a model is left alone.", labels=["model"])
        now = self._pf.clock.monotonic()
        for state in self._pf.runtime.all():
            in_flight.add_metric([state.name], state.slots.held)
            waiting.add_metric([state.name], state.slots.waiting)
            opened.add_metric([state.name], 0.0 if breaker.admits(state.breaker, now) else 1.0)
        yield from (in_flight, waiting, opened)
        config = self._pf.status()
        yield GaugeMetricFamily("prefrontal_config_ok", "1 when the newest file is the one in use.", value=float(config.ok))
        yield GaugeMetricFamily("prefrontal_config_generation", "Generation in use.", value=config.generation)
        ledger = self._pf.ledger.status()
        yield GaugeMetricFamily("prefrontal_ledger_queue", "Records not yet on disk.", value=ledger.queued)
        yield GaugeMetricFamily("prefrontal_ledger_writable", "1 while records can be written.", value=float(ledger.writable))
        yield GaugeMetricFamily(
            "prefrontal_ledger_content_dropped", "Records whose content was left out.", value=ledger.content_dropped
        )

    def describe(self) -> Iterable[Any]:
        """Name nothing in advance: the registry then does not collect while registering."""
        return []
