"""The part of the tree that says what an OpenTelemetry collector is told."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Share


class Telemetry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Traces and metrics for an OpenTelemetry collector, over OTLP/HTTP; needs the extra `otel`. Read at start."""

    endpoint: Annotated[
        str | None,
        Meta(
            description="Base URL of the collector, such as `http://127.0.0.1:4318`; left out: `$OTEL_EXPORTER_OTLP_ENDPOINT`. "
            "Without either nothing is sent."
        ),
    ] = None
    headers: Annotated[
        dict[str, str],
        Meta(description="Headers for the collector, secrets as `${NAME}`; beside those of `$OTEL_EXPORTER_OTLP_HEADERS`."),
    ] = {}
    service_name: Annotated[
        str | None, Meta(description="`service.name` of everything sent; left out: `$OTEL_SERVICE_NAME`, else `prefrontal`.")
    ] = None
    traces: Annotated[bool, Meta(description="Whether spans are sent.")] = True
    metrics: Annotated[bool, Meta(description="Whether metrics are sent.")] = True
    propagate: Annotated[
        bool,
        Meta(description="Whether upstreams are told of traces that begin here (`traceparent`). Those of callers always go on."),
    ] = True
    sample: Annotated[
        Share | None,
        Meta(
            description="Share of requests whose spans are sent; a caller's trace follows the caller. Left out: "
            "`$OTEL_TRACES_SAMPLER`, else all.",
        ),
    ] = None
    queue_size: Annotated[
        int,
        Meta(ge=16, description="Requests waiting to be sent; more are not sent, and counted. Specified: 2048, OpenTelemetry's."),
    ] = 2048
    interval_s: Annotated[
        float, Meta(gt=0, description="Spans are sent at least this often, s. Specified: 5, OpenTelemetry's.")
    ] = 5.0
    metrics_interval_s: Annotated[
        float, Meta(gt=0, description="Metrics are sent this often, s. Specified: 60, OpenTelemetry's.")
    ] = 60.0
