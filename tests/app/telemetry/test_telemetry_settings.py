"""Where telemetry goes, from the file and from the standard variables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from prefrontal.app.telemetry.settings import Destination, Resolved, resolve
from prefrontal.config.changes import diff
from prefrontal.config.redact import redact, secrets_of
from prefrontal.config.schema import Config
from prefrontal.config.schema_telemetry import Telemetry

BASE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}


def found(env: dict[str, str], **settings: Any) -> Resolved:
    return resolve(Telemetry(**settings), env, version="1")


def where(env: dict[str, str], **settings: Any) -> Destination:
    destination = found(env, **settings).destination
    assert destination is not None
    return destination


def test_without_an_endpoint_nothing_is_sent() -> None:
    """Other variables alone configure nothing."""
    assert found({"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}).destination is None


def test_the_signals_have_their_paths_below_the_base() -> None:
    """A base gets /v1/traces and /v1/metrics; a signal's own variable is taken as it is."""
    both = where(BASE)
    assert (both.traces_url, both.metrics_url) == ("http://c:4318/v1/traces", "http://c:4318/v1/metrics")
    own = where({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x"})
    assert (own.traces_url, own.metrics_url) == ("http://t/x", None)


def test_the_file_wins_over_the_environment() -> None:
    """Endpoint, name, headers and share."""
    env = {**BASE, "OTEL_SERVICE_NAME": "env", "OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=2", "OTEL_TRACES_SAMPLER": "always_off"}
    one = where(env, endpoint="http://f/", service_name="file", headers={"b": "3"}, sample=0.25)
    assert one.traces_url == "http://f/v1/traces"
    assert one.resource["service.name"] == "file"
    assert one.headers == {"a": "1", "b": "3"}
    assert one.sample == 0.25


@pytest.mark.parametrize(
    ("env", "share"),
    [
        ({}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, 0.1),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, 1.0),
    ],
)
def test_the_sampler_is_followed_where_it_is_known(env: dict[str, str], share: float) -> None:
    """Shares by trace id; an unknown sampler is said and sends all."""
    resolved = found({**BASE, **env})
    assert resolved.destination is not None
    assert resolved.destination.sample == share
    assert bool(resolved.notes) == (env.get("OTEL_TRACES_SAMPLER") == "jaeger_remote" or "many" in env.values())


def test_signals_and_everything_can_be_switched_off() -> None:
    """By the file, by exporter `none`, and by the SDK's own switch."""
    assert where(BASE, traces=False).traces_url is None
    assert where({**BASE, "OTEL_METRICS_EXPORTER": "none"}).metrics_url is None
    assert found({**BASE, "OTEL_SDK_DISABLED": "true"}).destination is None


def test_a_protocol_that_is_not_spoken_is_said() -> None:
    """An endpoint for gRPC is not tried; one in the file is ours."""
    resolved = found({**BASE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert resolved.destination is None
    assert "http/protobuf" in resolved.notes[0]
    assert found({**BASE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, endpoint="http://f").destination is not None


def test_intervals_are_read_in_their_units() -> None:
    """Milliseconds for delays, seconds for the timeout; nonsense is said."""
    env = {**BASE, "OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "1500", "OTEL_EXPORTER_OTLP_TIMEOUT": "3"}
    one = where(env)
    assert (one.interval_s, one.metrics_interval_s, one.timeout_s) == (0.2, 1.5, 3.0)
    assert found({**BASE, "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}).notes


def test_headers_for_the_collector_are_secrets() -> None:
    """`config show` masks them, logs lose them, and a change waits for a restart."""
    config = Config(telemetry=Telemetry(headers={"x": "abcdefghijklmnop"}))
    assert redact(config)["telemetry"]["headers"]["x"] == "…mnop"
    assert "abcdefghijklmnop" in secrets_of(config)
    (change,) = diff(Config(), msgspec.structs.replace(Config(), telemetry=Telemetry(endpoint="http://c")))
    assert (change.path, change.restart) == ("telemetry.endpoint", True)
