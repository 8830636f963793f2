"""W3C Trace Context as we read and write it."""

from __future__ import annotations

import pytest

from prefrontal.contracts.trace import Propagation, TraceContext, parse_traceparent, span_id_of, trace_id_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def test_a_valid_header_is_read() -> None:
    """Trace, parent, flags and state come out as they went in."""
    found = parse_traceparent(f"00-{TRACE}-{SPAN}-01", "vendor=1")
    assert found == TraceContext(trace_id=TRACE, parent_id=SPAN, sampled=True, state="vendor=1")


def test_the_flag_says_whether_to_keep_the_trace() -> None:
    """Only the lowest bit counts."""
    assert [parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}").sampled for flags in ("00", "01", "02", "03")] == [  # type: ignore[union-attr]
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\r\nx: y",
    ],
)
def test_what_is_not_valid_begins_a_new_trace(value: str) -> None:
    """The specification asks to ignore such headers."""
    assert parse_traceparent(value) is None


def test_a_later_version_may_carry_more() -> None:
    """Unknown versions are read like the known one (specified)."""
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01-future") is not None


def test_a_state_that_is_too_long_or_holds_control_characters_is_left_out() -> None:
    """The trace itself is kept."""
    for state in ("x" * 513, "a=b\nc"):
        found = parse_traceparent(f"00-{TRACE}-{SPAN}-01", state)
        assert found is not None
        assert found.state is None


def test_ids_are_made_from_the_record_and_differ_by_attempt() -> None:
    """The same record gives the same ids; each span has its own."""
    assert trace_id_of("req_a") == trace_id_of("req_a") != trace_id_of("req_b")
    assert len({span_id_of("req_a", number) for number in range(-2, 10)}) == 12
    assert (len(trace_id_of("req_a")), len(span_id_of("req_a", 1))) == (32, 16)


def test_upstreams_are_told_of_the_attempts_span() -> None:
    """The caller's trace goes on, under a span of ours, with its flag and its state."""
    inbound = TraceContext(trace_id=TRACE, parent_id=SPAN, sampled=False, state="a=b")
    told = dict(Propagation(record_id="req_a", context=inbound).headers(2))
    assert told == {"traceparent": f"00-{TRACE}-{span_id_of('req_a', 2)}-00", "tracestate": "a=b"}
    own = dict(Propagation(record_id="req_a").headers(1))
    assert own == {"traceparent": f"00-{trace_id_of('req_a')}-{span_id_of('req_a', 1)}-01"}
