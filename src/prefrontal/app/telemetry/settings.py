"""Where telemetry goes: the configuration, then the standard OTEL_* variables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from prefrontal.config.schema_telemetry import Telemetry

SERVICE = "prefrontal"
TIMEOUT_S = 10.0
"""For one export (specified: OpenTelemetry's default)."""
PROTOCOL = "http/protobuf"


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send, and how often. traces_url, metrics_url: None is not sent. sample: share of traces in [0, 1]."""

    traces_url: str | None = None
    metrics_url: str | None = None
    headers: dict[str, str] = {}
    resource: dict[str, str] = {}
    sample: float = 1.0
    queue_size: int = 2048
    interval_s: float = 5.0
    metrics_interval_s: float = 60.0
    timeout_s: float = TIMEOUT_S


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """The destination (None: nothing is sent), and what of the variables cannot be followed."""

    destination: Destination | None = None
    notes: tuple[str, ...] = ()


def resolve(settings: Telemetry, env: Mapping[str, str], *, version: str) -> Resolved:
    """Return where telemetry goes. What the configuration says wins over a variable; without an endpoint nothing is sent.

    version: of this program, for the resource.
    """
    if _word(env, "OTEL_SDK_DISABLED").lower() == "true":
        return Resolved()
    notes: list[str] = []
    traces = _url(settings, env, "traces") if settings.traces and _wanted(env, "TRACES", notes) else None
    metrics = _url(settings, env, "metrics") if settings.metrics and _wanted(env, "METRICS", notes) else None
    if traces is None and metrics is None:
        return Resolved()
    protocol = _word(env, "OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in ("", PROTOCOL) and settings.endpoint is None:
        return Resolved(notes=(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, and only {PROTOCOL} is spoken; nothing is sent",))
    found = Destination(
        traces_url=traces,
        metrics_url=metrics,
        headers={**_pairs(_word(env, "OTEL_EXPORTER_OTLP_HEADERS")), **settings.headers},
        resource=_resource(settings, env, version),
        sample=_sample(env, notes) if settings.sample is None else settings.sample,
        queue_size=settings.queue_size,
        interval_s=settings.interval_s,
        metrics_interval_s=settings.metrics_interval_s,
        timeout_s=_milliseconds(env, "OTEL_EXPORTER_OTLP_TIMEOUT", notes, unit_s=1.0) or TIMEOUT_S,
    )
    schedule_s = _milliseconds(env, "OTEL_BSP_SCHEDULE_DELAY", notes)
    interval_s = _milliseconds(env, "OTEL_METRIC_EXPORT_INTERVAL", notes)
    if schedule_s is not None and settings.interval_s == Telemetry().interval_s:
        found = msgspec.structs.replace(found, interval_s=schedule_s)
    if interval_s is not None and settings.metrics_interval_s == Telemetry().metrics_interval_s:
        found = msgspec.structs.replace(found, metrics_interval_s=interval_s)
    return Resolved(destination=found, notes=tuple(notes))


def _url(settings: Telemetry, env: Mapping[str, str], signal: str) -> str | None:
    own = _word(env, f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    if own and settings.endpoint is None:
        return own
    base = settings.endpoint or _word(env, "OTEL_EXPORTER_OTLP_ENDPOINT")
    return f"{base.rstrip('/')}/v1/{signal}" if base else None


def _wanted(env: Mapping[str, str], signal: str, notes: list[str]) -> bool:
    name = f"OTEL_{signal}_EXPORTER"
    exporters = {part.strip() for part in _word(env, name).split(",") if part.strip()}
    if exporters and not exporters & {"otlp", "none"}:
        notes.append(f"{name} is {','.join(sorted(exporters))}, and only otlp is spoken; not sent")
    return not exporters or "otlp" in exporters


def _resource(settings: Telemetry, env: Mapping[str, str], version: str) -> dict[str, str]:
    given = _pairs(_word(env, "OTEL_RESOURCE_ATTRIBUTES"))
    name = settings.service_name or _word(env, "OTEL_SERVICE_NAME") or given.get("service.name") or SERVICE
    return {"service.version": version, **given, "service.name": name}


def _sample(env: Mapping[str, str], notes: list[str]) -> float:
    """Return the share of traces that begin here and are sent."""
    sampler = _word(env, "OTEL_TRACES_SAMPLER").removeprefix("parentbased_")
    if sampler in ("", "always_on"):
        return 1.0
    if sampler == "always_off":
        return 0.0
    if sampler != "traceidratio":
        notes.append(f"OTEL_TRACES_SAMPLER is {sampler}, which is not known; all traces are sent")
        return 1.0
    share = _number(_word(env, "OTEL_TRACES_SAMPLER_ARG") or "1")
    if share is None or not 0 <= share <= 1:
        notes.append("OTEL_TRACES_SAMPLER_ARG is no number from 0 to 1; all traces are sent")
        return 1.0
    return share


def _milliseconds(env: Mapping[str, str], name: str, notes: list[str], *, unit_s: float = 0.001) -> float | None:
    """Return a variable's time in seconds, None where it is not set or no positive number."""
    text = _word(env, name)
    if not text:
        return None
    value = _number(text)
    if value is None or value <= 0:
        notes.append(f"{name} is no positive number")
        return None
    return value * unit_s


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _pairs(text: str) -> dict[str, str]:
    """Return ``a=b,c=d`` with percent signs decoded (specified: the form of W3C Baggage)."""
    split = (part.partition("=") for part in text.split(","))
    return {name.strip(): unquote(value.strip()) for name, found, value in split if found and name.strip()}


def _word(env: Mapping[str, str], name: str) -> str:
    return env.get(name, "").strip()
