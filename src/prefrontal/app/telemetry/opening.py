"""Starts telemetry, when it is configured. Nothing of OpenTelemetry is imported otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from prefrontal import __version__
from prefrontal.app.telemetry.settings import resolve
from prefrontal.app.telemetry.vocabulary import CardOf
from prefrontal.app.telemetry.worker import Carrier, TelemetryWorker
from prefrontal.clock import Clock
from prefrontal.config.schema_telemetry import Telemetry

log = logging.getLogger(__name__)


def open_telemetry(
    settings: Telemetry, env: Mapping[str, str], *, card_of: CardOf, allow: Callable[[str], None], clock: Clock
) -> TelemetryWorker | None:
    """Return the running worker, or None where nothing is to be sent. `allow` is the hook that egress rules are asked through."""
    resolved = resolve(settings, env, version=__version__)
    for note in resolved.notes:
        log.warning("telemetry: %s", note)
    destination = resolved.destination
    if destination is None:
        return None

    def make() -> Carrier:
        from prefrontal.app.telemetry.export import Exporter

        return Exporter(destination, card_of=card_of, allow=allow, version=__version__)

    log.info("telemetry goes to %s", destination.traces_url or destination.metrics_url)
    return TelemetryWorker(
        make,
        clock=clock,
        queue_size=destination.queue_size,
        interval_s=destination.interval_s,
        metrics_interval_s=destination.metrics_interval_s,
    )
