"""One line a request, in text and in JSON; errors that repeat themselves; and both on a reload."""

from __future__ import annotations

import io
import json
import logging
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.chat.usage import Usage
from prefrontal.cli.lines import FLUSH_AT, FLUSH_S, RequestLines
from prefrontal.cli.logs import LIKE_EACH_OTHER, WINDOW_S, JsonLines, Limiter, Logs, TextLines
from prefrontal.config.redact import REDACTED, Redactor
from prefrontal.contracts.record import Attempt, RequestRecord

SECRET = "hunter2-of-ours"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def record(**fields: Any) -> RequestRecord:
    plain: dict[str, Any] = {
        "id": "req_1",
        "started_s": 1_790_000_000.25,
        "route": "/v1/chat/completions",
        "dialect": "chat",
        "requested_model": "auto",
        "status": "ok",
        "answered_by": "model",
        "model": "parrot",
        "request_id": "mine-1",
        "trace_id": TRACE,
        "duration_ms": 500.0,
        "overhead_ms": 0.4,
        "first_token_ms": 120.0,
        "usage": Usage(uncached_input_tokens=10, output_tokens=5, source="reported"),
        "cost_usd": 0.00002,
        "attempts": (Attempt(model="parrot"),),
    }
    return RequestRecord(**{**plain, **fields})


class Told:
    """Lines as they were written, and what was put off."""

    def __init__(self, form: str = "text", *, enabled: bool = True) -> None:
        self.writes: list[str] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.lines = RequestLines(self.writes.append, lambda after_s, do: self.later.append((after_s, do)))
        self.lines.configure(enabled=enabled, form=form, redactor=Redactor([SECRET]))

    def of(self, *records: RequestRecord) -> list[str]:
        for one in records:
            self.lines.observe(one)
        self.lines.flush()
        return "".join(self.writes).splitlines()


def test_a_line_in_text_says_what_happened() -> None:
    """Status, models, who answered, times, tokens, cost, attempts and every id, on one line in the form of the others."""
    (line,) = Told().of(record())
    assert " INFO    prefrontal.requests: 200 ok: auto -> parrot (model) in 500 ms (ours 0.4 ms, first token 120 ms)," in line
    assert line.endswith(f" 10 + 5 tokens, $0.000020, 1 attempts, req_1 trace={TRACE} request_id=mine-1")
    assert ",750 INFO" in line


def test_a_line_in_json_has_fields() -> None:
    """One object, with the names of other lines and those of the request; what is not known is not there."""
    (line,) = Told("json").of(record(cost_usd=None, first_token_ms=None))
    shown = json.loads(line)
    assert shown["time"] == "2026-09-21T14:13:20.750+00:00"
    assert (shown["level"], shown["logger"], shown["message"]) == ("info", "prefrontal.requests", "request")
    assert (shown["trace_id"], shown["request_id"], shown["record"]) == (TRACE, "mine-1", "req_1")
    assert (shown["requested_model"], shown["model"], shown["answered_by"]) == ("auto", "parrot", "model")
    assert (shown["status"], shown["http_status"], shown["attempts"]) == ("ok", 200, 1)
    assert (shown["duration_ms"], shown["input_tokens"], shown["output_tokens"], shown["usage_source"]) == (
        500.0,
        10,
        5,
        "reported",
    )
    assert not {"cost_usd", "first_token_ms", "error_code"} & set(shown)


def test_an_error_has_its_code() -> None:
    """And no message of the upstream, which may say anything."""
    failed = record(
        status="error", http_status=502, error_code="provider_error", error="the prompt was …", model=None, cost_usd=None
    )
    (text,), (line,) = Told().of(failed), Told("json").of(failed)
    assert "502 error provider_error: auto -> none" in text
    assert "cost unknown" in text
    assert json.loads(line)["error_code"] == "provider_error"
    assert "prompt" not in text + line


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_a_client_writes_breaks_out_of_its_line_or_shows_a_secret(form: str) -> None:
    """Ends of lines, escapes, endless names and secrets, in the model's name and in the request's id."""
    names = ["a\nINFO forged", "\x1b[31mred", "x" * 100_000, f"{SECRET}", "sk-abcdefghijklmnop123456", "\udcff"]
    told = Told(form)
    lines = told.of(*[record(requested_model=name, request_id=name) for name in names])
    assert len(lines) == len(names)
    whole = "\n".join(lines)
    assert SECRET not in whole
    assert "sk-abcdef" not in whole
    assert REDACTED in whole
    assert "\x1b" not in whole
    assert max(map(len, lines)) < 1500


def test_lines_wait_for_each_other_but_not_long() -> None:
    """The first that waits sets a time, the rest join it; at many they are written at once."""
    told = Told()
    for _ in range(3):
        told.lines.observe(record())
    assert told.writes == []
    ((after_s, write),) = told.later
    assert after_s == FLUSH_S
    write()
    assert told.writes[0].count("\n") == 3
    for _ in range(FLUSH_AT):
        told.lines.observe(record())
    assert told.writes[1].count("\n") == FLUSH_AT


def test_above_info_there_are_none() -> None:
    """`logging.level: warning` means no lines of requests, and no work for them."""
    told = Told(enabled=False)
    assert told.of(record()) == []
    assert told.later == []


def warning(text: str, created: float, *arguments: object) -> logging.LogRecord:
    made = logging.LogRecord("prefrontal.x", logging.WARNING, "f", 1, text, arguments, None)
    made.created = created
    return made


def test_errors_that_repeat_themselves_are_limited_and_counted() -> None:
    """So many of one kind in a minute; the last says that more are left out, the next window how many were."""
    limiter, form = Limiter(), TextLines(Redactor())
    made = [warning("upstream %d failed", 100.0 + number / 100, number) for number in range(50)]
    shown = [form.format(one) for one in made if limiter.filter(one)]
    assert len(shown) == LIKE_EACH_OTHER
    assert "more lines like this are left out" in shown[-1]
    assert not any("left out" in line for line in shown[:-1])
    assert limiter.filter(warning("something else", 100.6))
    later = warning("upstream %d failed", 101.0 + WINDOW_S, 51)
    assert limiter.filter(later)
    assert f"({50 - LIKE_EACH_OTHER} lines like this were left out)" in JsonLines(Redactor()).format(later)


def test_what_people_are_told_is_not_limited() -> None:
    """Information is not an error, and kinds of lines without end do not fill the memory."""
    limiter = Limiter()
    line = logging.LogRecord("prefrontal.x", logging.INFO, "f", 1, "hello", (), None)
    assert all(limiter.filter(line) for _ in range(1000))
    for number in range(5000):
        limiter.filter(warning(f"kind {number}", 1.0))
    assert len(limiter._windows) <= 1000


def test_fields_of_a_line_are_in_its_object_without_secrets() -> None:
    """What code says beside its message is kept, and cannot pass for something else."""
    stream = io.StringIO()
    logs = Logs(stream)
    logs.configure(level="info", form="json", redactor=Redactor([SECRET]))
    extra = {"fields": {"request_id": SECRET, "path": "/v1/x", "level": "forged"}}
    logging.getLogger("prefrontal.test").warning("it failed", extra=extra)
    logs.close()
    shown = json.loads(stream.getvalue())
    assert (shown["path"], shown["level"], shown["request_id"]) == ("/v1/x", "warning", REDACTED)


def ask(url: str) -> None:
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "17.5% of 2340?"}]}).encode()
    headers = {"content-type": "application/json", "x-request-id": "asked-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    urllib.request.urlopen(urllib.request.Request(f"{url}/v1/chat/completions", body, headers), timeout=10).read()


def test_level_and_form_follow_the_file(registry: Path, serve: Any) -> None:
    """A running gateway writes its request lines as the file says now: text, then JSON, then none."""
    gateway = serve("--port", "0")
    gateway.waits_to_say("Ctrl-C stops")
    ask(gateway.url)
    said = gateway.waits_to_say("prefrontal.requests")
    assert "auto -> reflex/calculator (tool)" in said
    assert f"trace={TRACE} request_id=asked-1" in said
    text = registry.read_text()

    def reload(settings: str) -> dict[str, Any]:
        registry.write_text(f"{text}\nlogging: {settings}\n")
        request = urllib.request.Request(f"{gateway.url}/v1/config/reload", b"", method="POST")
        found: dict[str, Any] = json.loads(urllib.request.urlopen(request, timeout=10).read())
        return found

    assert reload("{format: json}")["restart_needed"] == []
    ask(gateway.url)
    (line,) = [one for one in gateway.waits_to_say('"trace_id"').splitlines() if '"trace_id"' in one]
    assert json.loads(line)["trace_id"] == TRACE
    reload("{format: json, level: warning}")
    ask(gateway.url)
    assert gateway.stop() == 0
    assert gateway.said.count(TRACE) == 2
