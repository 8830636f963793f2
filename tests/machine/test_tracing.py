"""The caller's trace goes through us to the upstream, and into the record."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.app.compose import compose
from prefrontal.chat.embeddings import EmbeddingsRequest
from prefrontal.contracts.trace import TraceContext, span_id_of, trace_id_of
from prefrontal.machine.context import CallContext
from prefrontal.testing.faults import Fault

TRACE = TraceContext(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", parent_id="00f067aa0ba902b7", state="v=1")
INBOUND = CallContext(trace=TRACE)


async def test_the_callers_trace_reaches_the_upstream_under_our_attempt(house: Any) -> None:
    """Whole, streamed and embedding requests carry the trace on; the record names it and the caller's span."""
    pf = await house.open({"m": house.model(), "e": house.model(capabilities={"embedding": True})})
    request = compose("Hello", {"model": "m"}, stream=False)
    await pf.answer(request, INBOUND)
    stream = await pf.open_stream(msgspec.structs.replace(request, stream=True), INBOUND)
    while await stream.read():
        pass
    await stream.aclose()
    await pf.embeddings(EmbeddingsRequest(model="e", inputs=("x",)), INBOUND)
    assert len(house.records) == len(house.asked) == 3
    for record, asked in zip(house.records, house.asked, strict=True):
        assert (record.trace_id, record.parent_span_id, record.trace_sampled) == (TRACE.trace_id, TRACE.parent_id, True)
        assert asked.headers["traceparent"] == f"00-{TRACE.trace_id}-{span_id_of(record.id, 1)}-01"
        assert asked.headers["tracestate"] == "v=1"


async def test_without_a_trace_nothing_is_told_and_the_record_has_one_of_its_own(house: Any) -> None:
    """Upstreams of a gateway without telemetry see no header that the caller did not send."""
    pf = await house.open()
    await pf.chat("Hello", model="m")
    (record,) = house.records
    assert (record.trace_id, record.parent_span_id) == (trace_id_of(record.id), None)
    assert "traceparent" not in house.asked[0].headers


async def test_each_attempt_has_a_span_of_its_own(house: Any) -> None:
    """A retry is another child of the same trace."""
    pf = await house.open(limits={"retries": {"base_s": 0, "max_s": 0}})
    house.up.fail(Fault(kind="status", status=503), Fault(kind="status", status=503))
    await pf.answer(compose("Hello", {"model": "m"}, stream=False), INBOUND)
    (record,) = house.records
    spans = [asked.headers["traceparent"].split("-")[2] for asked in house.asked]
    assert spans == [span_id_of(record.id, number) for number in (1, 2, 3)]


async def test_the_record_names_what_the_upstream_called_itself(house: Any) -> None:
    """The upstream's own name for the model and the number of visible chunks are kept for traces."""
    pf = await house.open()
    await pf.chat("Hello", model="m")
    async for _ in pf.stream("Hello", model="m"):
        pass
    whole, streamed = [record.attempts[0] for record in house.records]
    assert whole.response_model == streamed.response_model is not None
    assert whole.chunks is None
    assert streamed.chunks is not None
    assert streamed.chunks >= 1
