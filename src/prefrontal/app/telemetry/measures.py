"""The measurements of a finished request, in the metrics of OpenTelemetry's GenAI conventions. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from prefrontal.app.telemetry.vocabulary import (
    OURSELVES,
    Attributes,
    CardOf,
    asked_model,
    error_of,
    operation_of,
    provider_of,
    sent_model,
    server_of,
)
from prefrontal.contracts.record import Attempt, RequestRecord

TOKENS = tuple(4**power for power in range(14))
"""1 to 67,108,864 (specified by the conventions, like all bounds here)."""
OPERATION_S = tuple(0.01 * 2**power for power in range(14))
"""0.01 to 81.92, doubling."""
FIRST_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
EACH_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One histogram: name, unit, meaning, upper bounds of its buckets."""

    name: str
    unit: str
    description: str
    bounds: tuple[float, ...]


INSTRUMENTS = (
    Instrument(name="gen_ai.client.token.usage", unit="{token}", description="Tokens of a call upstream.", bounds=TOKENS),
    Instrument(name="gen_ai.client.operation.duration", unit="s", description="A call upstream.", bounds=OPERATION_S),
    Instrument(
        name="gen_ai.client.operation.time_to_first_chunk",
        unit="s",
        description="From a call upstream to its first token.",
        bounds=OPERATION_S,
    ),
    Instrument(
        name="gen_ai.client.operation.time_per_output_chunk",
        unit="s",
        description="Mean time between the chunks of one streamed answer, after the first.",
        bounds=OPERATION_S,
    ),
    Instrument(
        name="gen_ai.server.request.duration", unit="s", description="A request, from arrival to end.", bounds=OPERATION_S
    ),
    Instrument(
        name="gen_ai.server.time_to_first_token",
        unit="s",
        description="From a streamed request's arrival to its first token.",
        bounds=FIRST_S,
    ),
    Instrument(
        name="gen_ai.server.time_per_output_token",
        unit="s",
        description="Mean time of the tokens of one streamed answer, after the first.",
        bounds=EACH_S,
    ),
)


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement for the instrument `name`."""

    name: str
    value: float
    attributes: Attributes


def measures_of(record: RequestRecord, card_of: CardOf) -> list[Measure]:
    """Return all measurements of a request. Labels are bounded: names a client invented are ``unknown``."""
    found = list(_server(record))
    for attempt in record.attempts:
        found.extend(_client(record, attempt, card_of))
    return found


def _server(record: RequestRecord) -> Iterator[Measure]:
    error = error_of(record)
    attributes: Attributes = {
        "gen_ai.operation.name": operation_of(record),
        "gen_ai.provider.name": OURSELVES,
        "gen_ai.request.model": asked_model(record),
    }
    if record.model is not None:
        attributes["gen_ai.response.model"] = record.model
    if error is not None:
        attributes["error.type"] = error
    yield Measure(name="gen_ai.server.request.duration", value=record.duration_ms / 1000.0, attributes=attributes)
    first_ms = record.first_token_ms
    if not record.stream or first_ms is None:
        return
    yield Measure(name="gen_ai.server.time_to_first_token", value=first_ms / 1000.0, attributes=attributes)
    tokens = record.usage.output_tokens
    if tokens > 1 and record.duration_ms > first_ms:
        each_s = (record.duration_ms - first_ms) / (tokens - 1) / 1000.0
        yield Measure(name="gen_ai.server.time_per_output_token", value=each_s, attributes=attributes)


def _client(record: RequestRecord, attempt: Attempt, card_of: CardOf) -> Iterator[Measure]:
    attributes: Attributes = {
        "gen_ai.operation.name": operation_of(record),
        "gen_ai.provider.name": provider_of(attempt),
        "gen_ai.request.model": sent_model(attempt, card_of),
        **server_of(attempt, card_of),
    }
    if attempt.response_model is not None:
        attributes["gen_ai.response.model"] = attempt.response_model
    usage = attempt.usage
    if usage.source != "unknown":
        for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            labelled: Attributes = {**attributes, "gen_ai.token.type": kind}
            yield Measure(name="gen_ai.client.token.usage", value=count, attributes=labelled)
    error = error_of(attempt)
    ended: Attributes = attributes if error is None else {**attributes, "error.type": error}
    began_ms = attempt.started_ms + attempt.queued_ms
    duration_s = max(0.0, attempt.ended_ms - began_ms) / 1000.0
    yield Measure(name="gen_ai.client.operation.duration", value=duration_s, attributes=ended)
    first_ms, chunks = attempt.first_token_ms, attempt.chunks
    if first_ms is None or not record.stream:
        return
    first_s = max(0.0, first_ms - began_ms) / 1000.0
    yield Measure(name="gen_ai.client.operation.time_to_first_chunk", value=first_s, attributes=attributes)
    if chunks is not None and chunks > 1 and attempt.ended_ms > first_ms:
        each_s = (attempt.ended_ms - first_ms) / (chunks - 1) / 1000.0
        yield Measure(name="gen_ai.client.operation.time_per_output_chunk", value=each_s, attributes=attributes)
