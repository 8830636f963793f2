"""Metrics that are read from the live objects at the moment of a scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prefrontal.app.library import Prefrontal
from prefrontal.execute import breaker
from prefrontal.plan.parking import WORDS

PHASES = ("closed", "half_open", "open")


class Gauges:
    """Everything that has a value now, whether or not a request came."""

    def __init__(self, pf: Prefrontal) -> None:
        self._pf = pf

    def collect(self) -> Iterable[Any]:
        """Yield the families."""
        yield from self._models()
        yield from self._deployments()
        yield from self._engines()
        yield from self._gateway()

    def describe(self) -> Iterable[Any]:
        """Name nothing in advance: the registry then does not collect while registering."""
        return []

    def _models(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        in_flight = GaugeMetricFamily("prefrontal_in_flight", "Requests at a model now.", labels=["model"])
        waiting = GaugeMetricFamily("prefrontal_queue", "Requests waiting for a model now.", labels=["model"])
        opened = GaugeMetricFamily("prefrontal_breaker_open", "1 while a model is left alone.", labels=["model"])
        phases = GaugeMetricFamily("prefrontal_breaker_state", "1 for the state a breaker is in.", labels=["model", "state"])
        now = self._pf.clock.monotonic()
        for state in self._pf.runtime.all():
            if state.deployment is not None:
                continue
            in_flight.add_metric([state.name], state.slots.held)
            waiting.add_metric([state.name], state.slots.waiting)
            opened.add_metric([state.name], 0.0 if breaker.admits(state.breaker, now) else 1.0)
            phase = breaker.phase(state.breaker, now)
            for name in PHASES:
                phases.add_metric([state.name, name], float(name == phase))
        for card in self._pf.registry.enabled:
            if card.deployments:
                condition = self._pf.runtime.snapshot(card, now)
                in_flight.add_metric([card.id], condition.in_flight)
                waiting.add_metric([card.id], condition.waiting)
                opened.add_metric([card.id], float(condition.open))
        yield from (in_flight, waiting, opened, phases)

    def _deployments(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        labels = ["model", "deployment"]
        in_flight = GaugeMetricFamily("prefrontal_deployment_in_flight", "Requests at a deployment now.", labels=labels)
        opened = GaugeMetricFamily("prefrontal_deployment_breaker_open", "1 while a deployment is left alone.", labels=labels)
        parked = GaugeMetricFamily(
            "prefrontal_deployment_parked", "1 while a deployment or its key rests.", labels=[*labels, "reason"]
        )
        runtime, now = self._pf.runtime, self._pf.clock.monotonic()
        for card in self._pf.registry.enabled:
            for one in card.deployments:
                state, rests = runtime.find(one.place), runtime.parking.of(one, now)
                name = [card.id, one.deployment or ""]
                in_flight.add_metric(name, 0 if state is None else state.slots.held)
                opened.add_metric(name, 0.0 if state is None or breaker.admits(state.breaker, now) else 1.0)
                for why in WORDS:
                    parked.add_metric([*name, why], float(rests is not None and rests.why == why))
        door = self._pf.machine.parts.door
        inside = GaugeMetricFamily("prefrontal_admitted", "Requests that were let in and have not ended.")
        before = GaugeMetricFamily("prefrontal_admission_queue", "Requests that wait to be let in.")
        if door is not None:
            inside.add_metric([], door.slots.held)
            before.add_metric([], door.slots.waiting)
        yield from (in_flight, opened, parked, inside, before)

    def _engines(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        ready = GaugeMetricFamily("prefrontal_engine_ready", "1 while a local engine serves.", labels=["model"])
        load = GaugeMetricFamily("prefrontal_engine_load_seconds", "The latest start of a local engine.", labels=["model"])
        restarts = CounterMetricFamily("prefrontal_engine_restarts", "Starts of an engine after a crash.", labels=["model"])
        memory = GaugeMetricFamily(
            "prefrontal_engine_memory_bytes",
            "Memory of a running local engine, since its process began.",
            labels=["model", "kind", "stat"],
        )
        measured = self._pf.engine_memory
        for status in self._pf.engines.status():
            ready.add_metric([status.model_id], float(status.state == "ready"))
            restarts.add_metric([status.model_id], status.restarts)
            if status.load_time_s is not None:
                load.add_metric([status.model_id], status.load_time_s)
            use = None if measured is None else measured.of(status.model_id)
            for kind, found in () if use is None else (("rss", use.rss), ("vram", use.vram)):
                if found is not None:
                    memory.add_metric([status.model_id, kind, "now"], found.now_bytes)
                    memory.add_metric([status.model_id, kind, "mean"], found.mean_bytes)
                    memory.add_metric([status.model_id, kind, "peak"], found.peak_bytes)
        yield from (ready, load, restarts, memory)

    def _gateway(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        pf = self._pf
        config = pf.status()
        yield GaugeMetricFamily("prefrontal_config_ok", "1 when the newest file is the one in use.", value=float(config.ok))
        yield GaugeMetricFamily("prefrontal_config_generation", "Generation in use.", value=config.generation)
        ledger = pf.ledger.status()
        yield GaugeMetricFamily("prefrontal_ledger_queue", "Records not yet on disk.", value=ledger.queued)
        yield GaugeMetricFamily("prefrontal_ledger_writable", "1 while records can be written.", value=float(ledger.writable))
        yield GaugeMetricFamily(
            "prefrontal_ledger_content_dropped", "Records whose content was left out.", value=ledger.content_dropped
        )
        meter = pf.machine.parts.meter
        yield GaugeMetricFamily(
            "prefrontal_discovered_spend_usd", "Spent this UTC day on discovered models.", value=meter.spent_usd(pf.clock.now())
        )
        yield GaugeMetricFamily(
            "prefrontal_discovered_spend_limit_usd", "What may be spent on them in a UTC day.", value=meter.limit_usd
        )
        yield from self._shared()
        telemetry = None if pf.telemetry is None else pf.telemetry.status()
        yield CounterMetricFamily(
            "prefrontal_telemetry_dropped",
            "Requests that an OpenTelemetry collector was too slow for.",
            value=0 if telemetry is None else telemetry.dropped,
        )
        yield CounterMetricFamily(
            "prefrontal_telemetry_failed", "Spans a collector did not take.", value=0 if telemetry is None else telemetry.failed
        )

    def _shared(self) -> Iterator[Any]:
        """Yield how the server shared with other gateways stands; families without a value where there is none."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        up = GaugeMetricFamily("prefrontal_redis_up", "1 while the shared Redis answers.", labels=[])
        outages = CounterMetricFamily("prefrontal_redis_outages", "Times the shared Redis went away.", labels=[])
        if self._pf.replicas is not None:
            status = self._pf.replicas.link.status()
            up.add_metric([], float(status.up))
            outages.add_metric([], status.outages)
        yield from (up, outages)
