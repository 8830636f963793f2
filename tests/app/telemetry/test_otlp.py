"""What reaches an OpenTelemetry collector, decoded from the bytes that were sent."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from prefrontal.app.compose import compose
from prefrontal.app.telemetry.measures import FIRST_S, INSTRUMENTS, OPERATION_S, TOKENS
from prefrontal.contracts.trace import TraceContext, span_id_of, trace_id_of
from prefrontal.errors import PrefrontalError
from prefrontal.machine.context import CallContext
from prefrontal.testing.faults import Fault

INBOUND = TraceContext(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", parent_id="00f067aa0ba902b7")
QUIET = {"retries": {"base_s": 0, "max_s": 0}}
NAMES = {one.name for one in INSTRUMENTS}


async def test_a_request_is_a_server_span_with_a_child_for_each_attempt(opened: Any, collector: Any, upstream: Any) -> None:
    """Two failures and a success are three children of one span, with their own times, codes and usage."""
    pf = await opened(telemetry={"endpoint": collector.url}, limits=QUIET)
    upstream.fail(Fault(kind="status", status=503), Fault(kind="status", status=503))
    reply = await pf.chat("Write a haiku about the sea.")
    await pf.telemetry.flush()
    own, *children = collector.spans
    record = reply.record
    assert (own.name, own.kind, own.parent_id) == ("chat auto", "server", "")
    assert (own.trace_id, own.span_id) == (record.trace_id, span_id_of(record.id, 0)) == (trace_id_of(record.id), own.span_id)
    assert own.start_s == pytest.approx(record.started_s, abs=1e-5)
    assert (own.end_s - own.start_s) * 1000 == pytest.approx(record.duration_ms, abs=0.01)
    assert own.attributes["gen_ai.operation.name"] == "chat"
    assert own.attributes["gen_ai.request.model"] == "auto"
    assert own.attributes["gen_ai.response.model"] == "m"
    assert own.attributes["prefrontal.states"] == list(record.states)
    assert [child.name for child in children] == ["chat mock-model"] * 3
    assert {child.parent_id for child in children} == {own.span_id}
    assert len({child.span_id for child in children}) == 3
    assert [child.failed for child in children] == [True, True, False]
    assert [child.attributes.get("error.type") for child in children] == [a.error_code for a in record.attempts]
    for child, attempt in zip(children, record.attempts, strict=True):
        assert (child.end_s - child.start_s) * 1000 == pytest.approx(attempt.ended_ms - attempt.started_ms, abs=0.01)


async def test_an_attempt_carries_models_server_and_usage(opened: Any, collector: Any, upstream: Any) -> None:
    """The name that was sent, the one that answered, the one that was asked for, the address, and each kind of token."""
    from prefrontal.testing.answers import Answer

    upstream.answers = {"Hello": Answer(text="Hi.", reasoning="A greeting.")}
    pf = await opened(telemetry={"endpoint": collector.url})
    reply = await pf.chat("Hello", model="m")
    await pf.telemetry.flush()
    found = collector.spans[1].attributes
    assert collector.spans[1].kind == "client"
    assert found["gen_ai.request.model"] == "mock-model"
    assert found["gen_ai.response.model"] == reply.record.attempts[0].response_model
    assert found["gen_ai.original.model"] == "m"
    assert found["prefrontal.model"] == "m"
    assert found["server.address"] == "127.0.0.1"
    assert upstream.base_url.endswith(f":{found['server.port']}/v1")
    assert found["gen_ai.usage.input_tokens"] == reply.usage.input_tokens
    assert found["gen_ai.usage.output_tokens"] == reply.usage.output_tokens
    assert found.get("gen_ai.usage.reasoning.output_tokens", 0) == reply.usage.reasoning_tokens
    assert found["gen_ai.response.finish_reasons"] == ["stop"]


async def test_a_reflex_is_a_tool_span(opened: Any, collector: Any) -> None:
    """What was answered without a model has no attempt, but the tool's span."""
    pf = await opened(telemetry={"endpoint": collector.url})
    await pf.chat("What is 17.5% of 2,340?")
    await pf.telemetry.flush()
    own, tool = collector.spans
    assert (tool.name, tool.kind, tool.parent_id) == ("execute_tool calculator", "internal", own.span_id)
    assert tool.attributes["gen_ai.tool.name"] == "calculator"
    assert own.attributes["prefrontal.answered_by"] == "tool"


async def test_the_callers_trace_goes_on(opened: Any, collector: Any, upstream: Any) -> None:
    """Our span is a child of the caller's, and the upstream is told that it is a child of our attempt."""
    pf = await opened(telemetry={"endpoint": collector.url})
    await pf.answer(compose("Hello", {"model": "m"}, stream=False), CallContext(trace=INBOUND))
    await pf.telemetry.flush()
    own, child = collector.spans
    assert (own.trace_id, own.parent_id) == (INBOUND.trace_id, INBOUND.parent_id)
    sent = next(r for r in upstream.requests if r.method == "POST" and "traceparent" in r.headers)
    assert sent.headers["traceparent"] == f"00-{INBOUND.trace_id}-{child.span_id}-01"


async def test_a_trace_that_begins_here_is_told_upstream_unless_that_is_switched_off(
    opened: Any, collector: Any, upstream: Any
) -> None:
    """An instrumented engine joins our trace; `propagate: false` keeps it to ourselves."""
    pf = await opened(telemetry={"endpoint": collector.url})
    reply = await pf.chat("Hello", model="m")
    told = [r.headers.get("traceparent") for r in upstream.requests if r.path.endswith("completions")]
    assert told == [f"00-{reply.record.trace_id}-{span_id_of(reply.record.id, 1)}-01"]
    silent = await opened(telemetry={"endpoint": collector.url, "propagate": False})
    await silent.chat("Hello", model="m")
    assert "traceparent" not in upstream.requests[-1].headers


async def test_a_caller_who_does_not_keep_its_trace_gets_no_spans(opened: Any, collector: Any) -> None:
    """The flag of the inbound header is obeyed; the metrics count the request all the same."""
    pf = await opened(telemetry={"endpoint": collector.url})
    trace = TraceContext(trace_id=INBOUND.trace_id, parent_id=INBOUND.parent_id, sampled=False)
    await pf.answer(compose("Hello", {"model": "m"}, stream=False), CallContext(trace=trace))
    await pf.telemetry.flush()
    assert collector.spans == []
    assert collector.points("gen_ai.server.request.duration")[0][1].count == 1


async def test_a_share_of_the_traces_is_sent(opened: Any, collector: Any) -> None:
    """Which ones depends on the trace id alone, so that all parts of a trace agree."""
    pf = await opened(telemetry={"endpoint": collector.url, "sample": 0.5})
    replies = [await pf.chat(f"{n} + 1") for n in range(40)]
    await pf.telemetry.flush()
    kept = {span.trace_id for span in collector.spans}
    assert kept == {r.record.trace_id for r in replies if int(r.record.trace_id[16:], 16) < 2**63}
    assert 0 < len(kept) < 40


async def test_every_metric_of_the_conventions_arrives_with_its_buckets(opened: Any, collector: Any) -> None:
    """A streamed and a whole request fill all instruments; the bounds are those of the conventions."""
    pf = await opened(telemetry={"endpoint": collector.url})
    await pf.chat("Hello there, how are you?", model="m")
    async for _ in pf.stream("Tell me about the sea, at length and with care.", model="m"):
        pass
    await pf.telemetry.flush()
    for name in NAMES:
        assert collector.points(name), name
    bounds = {name: list(collector.points(name)[0][1].explicit_bounds) for name in NAMES}
    assert bounds["gen_ai.client.token.usage"] == list(TOKENS) == [4**n for n in range(14)]
    assert bounds["gen_ai.client.operation.duration"] == pytest.approx(OPERATION_S)
    assert (OPERATION_S[0], OPERATION_S[-1]) == (0.01, 81.92)
    assert bounds["gen_ai.server.time_to_first_token"] == list(FIRST_S)
    tokens = collector.points("gen_ai.client.token.usage")
    assert {labels["gen_ai.token.type"] for labels, _ in tokens} == {"input", "output"}
    assert all(labels["gen_ai.request.model"] == "mock-model" for labels, _ in tokens)
    assert sum(point.count for _, point in collector.points("gen_ai.server.request.duration")) == 2
    assert collector.points("gen_ai.server.time_to_first_token")[0][1].count == 1


async def test_a_name_that_a_client_invented_is_no_label(opened: Any, collector: Any) -> None:
    """Metrics say `unknown`, or clients could make series without end; the span has the name."""
    pf = await opened(telemetry={"endpoint": collector.url})
    for name in ("nobody-1", "nobody-2"):
        with pytest.raises(PrefrontalError):
            await pf.chat("Hello", model=name)
    await pf.telemetry.flush()
    ((labels, point),) = collector.points("gen_ai.server.request.duration")
    assert (labels["gen_ai.request.model"], labels["error.type"], point.count) == ("unknown", "model_not_found", 2)
    assert [span.name for span in collector.spans] == ["chat nobody-1", "chat nobody-2"]
    assert all(span.failed for span in collector.spans)


async def test_words_are_sent_only_when_records_keep_them(opened: Any, collector: Any) -> None:
    """Without `records.content` no span holds a word of the conversation; with it they are in the conventions' form."""
    pf = await opened(telemetry={"endpoint": collector.url})
    await pf.chat("The word is xylophone.", model="m")
    await pf.telemetry.flush()
    assert b"xylophone" not in b"".join(request.SerializeToString() for request in collector.traces)
    keeping = await opened(telemetry={"endpoint": collector.url}, records={"content": True})
    await keeping.chat("The word is xylophone. My key is sk-abcdefghijklmnop1234.", model="m")
    await keeping.telemetry.flush()
    found = collector.spans[2].attributes
    (message,) = json.loads(found["gen_ai.input.messages"])
    assert message["role"] == "user"
    assert message["parts"][0]["type"] == "text"
    assert "xylophone" in message["parts"][0]["content"]
    assert json.loads(found["gen_ai.output.messages"])[0]["finish_reason"] == "stop"
    assert b"sk-abcdefghijklmnop1234" not in b"".join(request.SerializeToString() for request in collector.traces)


async def test_the_standard_variables_configure_everything(opened: Any, collector: Any) -> None:
    """Endpoint, headers, service name and resource come from the environment when no file names them."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=a%20b",
        "OTEL_SERVICE_NAME": "brain",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=lab",
    }
    pf = await opened(env=env)
    await pf.chat("1 + 1")
    await pf.telemetry.flush()
    assert collector.resource["service.name"] == "brain"
    assert collector.resource["deployment.environment.name"] == "lab"
    assert collector.headers[0]["x-team"] == "a b"


async def test_embeddings_have_their_own_operation(opened: Any, collector: Any, upstream: Any) -> None:
    """The span and the metrics of an embedding request say so."""
    model = {"profile": "openai-compatible", "endpoint": upstream.base_url, "key": "k", "capabilities": {"embedding": True}}
    pf = await opened(telemetry={"endpoint": collector.url}, models={"e": model})
    await pf.embed(["x"], model="e")
    await pf.telemetry.flush()
    assert [span.name for span in collector.spans] == ["embeddings e", "embeddings e"]


async def test_a_host_that_may_not_be_contacted_gets_nothing(opened: Any, caplog: Any) -> None:
    """Egress rules hold for the collector as well: nothing is resolved, and the log says why."""
    pf = await opened(telemetry={"endpoint": "http://collector.example:4318"}, egress={"allow": ["api.openai.com"]})
    await pf.chat("1 + 1")
    await pf.telemetry.flush()
    assert "collector.example" in caplog.text
    assert "may not be contacted" in caplog.text


def test_nothing_is_imported_or_sent_without_configuration() -> None:
    """A process that is told of no collector never loads OpenTelemetry, and has no thread for it."""
    code = (
        "import asyncio, sys, threading, prefrontal\n"
        "async def main():\n"
        "    async with prefrontal.open({'discovery': {'enabled': False}}, env={'PREFRONTAL_HOME': sys.argv[1]}) as pf:\n"
        "        await pf.chat('1 + 1')\n"
        "        assert pf.telemetry is None\n"
        "        assert not [t for t in threading.enumerate() if t.name == 'telemetry']\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests', 'google.protobuf'))])\n"
    )
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run([sys.executable, "-c", code, home], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.strip() == "[]"
