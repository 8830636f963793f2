"""Speaks to the collector through OpenTelemetry's own exporters. Blocks; used by the worker's thread alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from prefrontal.app.telemetry.measures import INSTRUMENTS, measures_of
from prefrontal.app.telemetry.settings import Destination
from prefrontal.app.telemetry.spans import SpanData, is_sampled, spans_of
from prefrontal.app.telemetry.vocabulary import CardOf
from prefrontal.app.telemetry.watched import watched_session
from prefrontal.contracts.record import RequestRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

SCOPE = "prefrontal"
SPANS_AT_ONCE = 512
"""Spans in one export (specified: OpenTelemetry's default)."""

Allow = Callable[[str], None]


class Exporter:
    """Turns records into spans and measurements and sends them. `allow` raises EgressDenied for a host that is not to be asked.

    Raises:
        ImportError: the extra ``otel`` is not installed.
    """

    def __init__(self, destination: Destination, *, card_of: CardOf, allow: Allow, version: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._destination = destination
        self._card_of = card_of
        self._allow = allow
        self._resource = Resource.create(dict(destination.resource))
        self._scope = InstrumentationScope(SCOPE, version)
        self._closed = False
        self._spans = self._span_exporter()
        self._metrics, self._reader = self._instruments(version)

    def _span_exporter(self) -> Any:
        destination = self._destination
        if destination.traces_url is None:
            return None
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        headers, session = dict(destination.headers), watched_session(self._allow)
        return OTLPSpanExporter(
            endpoint=destination.traces_url, headers=headers, timeout=destination.timeout_s, session=session
        )

    def _instruments(self, version: str) -> tuple[dict[str, Any], Any]:
        """Return the histograms by name, and the reader that sends what they hold when it is told to."""
        destination = self._destination
        if destination.metrics_url is None:
            return {}, None
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        headers, session = dict(destination.headers), watched_session(self._allow)
        exporter = OTLPMetricExporter(
            endpoint=destination.metrics_url, headers=headers, timeout=destination.timeout_s, session=session
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)  # without a thread of its own
        provider = MeterProvider([reader], resource=self._resource, shutdown_on_exit=False)
        meter = provider.get_meter(SCOPE, version)
        made = {
            one.name: meter.create_histogram(
                one.name, unit=one.unit, description=one.description, explicit_bucket_boundaries_advisory=one.bounds
            )
            for one in INSTRUMENTS
        }
        return made, reader

    def take(self, records: Sequence[RequestRecord]) -> int:
        """Count and send what these requests left; return how many spans could not be sent. Raises EgressDenied."""
        if self._metrics:
            for record in records:
                for measure in measures_of(record, self._card_of):
                    self._metrics[measure.name].record(measure.value, measure.attributes)
        if self._spans is None or self._destination.traces_url is None:
            return 0
        sampled = [record for record in records if is_sampled(record, self._destination.sample)]
        spans = [self._span(data) for record in sampled for data in spans_of(record, self._card_of)]
        if not spans:
            return 0
        self._allow(self._destination.traces_url)
        batches = [spans[at : at + SPANS_AT_ONCE] for at in range(0, len(spans), SPANS_AT_ONCE)]
        return sum(len(batch) for batch in batches if not self._sent(batch))

    def _sent(self, batch: list[ReadableSpan]) -> bool:
        from opentelemetry.sdk.trace.export import SpanExportResult

        return bool(self._spans.export(batch) is SpanExportResult.SUCCESS)

    def send_metrics(self) -> None:
        """Send what the histograms hold. Raises EgressDenied."""
        if self._reader is not None and self._destination.metrics_url is not None:
            self._allow(self._destination.metrics_url)
            self._reader.force_flush(timeout_millis=self._destination.timeout_s * 1000.0)

    def interrupt(self) -> None:
        """Close, and end an export that waits to try again. May be called from another thread, and more than once."""
        if self._closed:
            return
        self._closed = True
        if self._spans is not None:
            self._spans.shutdown()
        if self._reader is not None:
            self._reader.shutdown(timeout_millis=0)

    def _span(self, data: SpanData) -> ReadableSpan:
        from opentelemetry.sdk.trace import Event, ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
        from opentelemetry.trace.status import Status, StatusCode

        trace_id, flags = int(data.trace_id, 16), TraceFlags(TraceFlags.SAMPLED)
        parent = None
        if data.parent_id is not None:
            parent = SpanContext(trace_id, int(data.parent_id, 16), is_remote=data.foreign_parent, trace_flags=flags)
        kinds = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
        return ReadableSpan(
            data.name,
            context=SpanContext(trace_id, int(data.span_id, 16), is_remote=False, trace_flags=flags),
            parent=parent,
            resource=self._resource,
            attributes=data.attributes,
            events=[Event(name, timestamp=moment) for name, moment in data.events],
            kind=kinds[data.kind],
            status=Status(StatusCode.UNSET) if data.error is None else Status(StatusCode.ERROR, data.error),
            start_time=data.start_ns,
            end_time=data.end_ns,
            instrumentation_scope=self._scope,
        )
