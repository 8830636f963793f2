"""A collector under the test's control, and a Prefrontal that reports to it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import prefrontal
from prefrontal.app.library import Prefrontal
from prefrontal.testing.upstream import MockUpstream

KINDS = {1: "internal", 2: "server", 3: "client"}


def plain(value: Any) -> Any:
    """Return an OTLP value as a Python value."""
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [plain(item) for item in found.values] if kind == "array_value" else found


def attributes(of: Any) -> dict[str, Any]:
    """Return OTLP attributes as a dict."""
    return {item.key: plain(item.value) for item in of}


class Collector:
    """Takes OTLP over HTTP on 127.0.0.1. `status` is what it answers; while `held` is not set it does not answer at all."""

    def __init__(self) -> None:
        self.status = 200
        self.held = threading.Event()
        self.held.set()
        self.headers: list[dict[str, str]] = []
        self.traces: list[ExportTraceServiceRequest] = []
        self.exported: list[ExportMetricsServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.held.wait(20)
                if collector.status == 200:
                    collector.take(self.path, body, {name.lower(): value for name, value in self.headers.items()})
                self.send_response(collector.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def take(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        """Decode and keep one export."""
        self.headers.append(headers)
        if path == "/v1/traces":
            self.traces.append(ExportTraceServiceRequest.FromString(body))
        else:
            assert path == "/v1/metrics"
            self.exported.append(ExportMetricsServiceRequest.FromString(body))

    @property
    def spans(self) -> list[SimpleNamespace]:
        """Every span, in the order it came; ids as hex digits, attributes as a dict."""
        raw = [s for request in self.traces for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
        return [
            SimpleNamespace(
                name=span.name,
                kind=KINDS[span.kind],
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                start_s=span.start_time_unix_nano / 1e9,
                end_s=span.end_time_unix_nano / 1e9,
                attributes=attributes(span.attributes),
                events=[event.name for event in span.events],
                failed=span.status.code == 2,
                message=span.status.message,
            )
            for span in raw
        ]

    @property
    def resource(self) -> dict[str, Any]:
        """The resource of the first export of spans."""
        return attributes(self.traces[0].resource_spans[0].resource.attributes)

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return the labels and the data point of each series of a metric in the last export."""
        found = []
        for resource in self.exported[-1].resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        found += [(attributes(point.attributes), point) for point in metric.histogram.data_points]
        return found

    def close(self) -> None:
        """Stop."""
        self.held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that takes everything."""
    one = Collector()
    yield one
    one.close()


Open = Callable[..., Any]


@pytest.fixture
async def upstream() -> AsyncIterator[MockUpstream]:
    """A mock upstream that echoes."""
    async with MockUpstream() as up:
        yield up


@pytest.fixture
async def opened(
    tmp_path: Path, upstream: MockUpstream, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Open]:
    """Prefrontals over the upstream, opened by awaiting it with settings, and closed before the collector is."""
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    async with AsyncExitStack() as stack:

        async def one(*, telemetry: dict[str, Any] | None = None, env: dict[str, str] | None = None, **tree: Any) -> Prefrontal:
            model = {"profile": "openai-compatible", "endpoint": upstream.base_url, "key": "k", "model": "mock-model"}
            config = {"models": {"m": model}, "discovery": {"enabled": False}, "telemetry": telemetry or {}, **tree}
            home = {"PREFRONTAL_HOME": str(tmp_path), **(env or {})}
            return await stack.enter_async_context(prefrontal.open(config, env=home))

        yield one
