"""`prefrontal traces`: records, read without a server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

Run = Callable[..., Any]
POEM = "write a poem about autumn rain"


@pytest.fixture
def asked(run: Run, registry: Path, upstream: MockUpstream) -> None:
    """Three records: a model's answer, a reflex, and a failure."""
    run("ask", "-m", "parrot", POEM)
    run("ask", "what is 2 + 2?")
    upstream.fail(Fault(kind="status", status=400, message="no such thing"))
    run("ask", "-m", "parrot", POEM)


def test_the_list_is_newest_first(run: Run, asked: None) -> None:
    """One line a request: who answered, how it ended, tokens, cost."""
    lines = run("traces").stdout.splitlines()
    assert lines[0].split()[:2] == ["time", "trace"]
    assert len(lines) == 4
    assert "error: upstream_rejected" in lines[1]
    assert "reflex/calculator (tool)" in lines[2]
    assert "$0.000028" in lines[3]


def test_filters_and_the_limit(run: Run, asked: None) -> None:
    """--status, --model and --limit narrow the list down."""

    def ids(*options: str) -> list[str]:
        return [record["status"] for record in json.loads(run("traces", "--json", *options).stdout)["data"]]

    assert ids() == ["error", "ok", "ok"]
    assert ids("--status", "ok") == ["ok", "ok"]
    assert ids("--limit", "1") == ["error"]
    assert ids("--model", "nobody") == []
    assert "No record matches." in run("traces", "--model", "nobody").stderr


def test_one_record_in_full(run: Run, asked: None) -> None:
    """Attempts, reasons, the source of the usage, the cost and the states are shown."""
    newest, _, oldest = json.loads(run("traces", "--json").stdout)["data"]
    good = run("traces", oldest["id"]).stdout
    assert "6 in; 11 out, 3 of them thinking (reported)" in good
    assert "$0.000028" in good
    assert "INIT > " in good
    assert "\nAttempts\n" in good
    failed = run("traces", newest["id"]).stdout
    assert "upstream_rejected (400)" in failed
    assert "no such thing" in failed
    assert json.loads(run("traces", "--json", newest["id"]).stdout)["attempts"][0]["upstream_status"] == 400


def test_an_unknown_trace(run: Run, asked: None) -> None:
    """A wrong id is said so."""
    result = run("traces", "req_nope")
    assert result.exit_code == 1
    assert "There is no trace 'req_nope'" in result.stderr


def test_before_the_first_request(run: Run, own_environment: Path) -> None:
    """An empty machine has no records, and looking makes no file."""
    assert "No request is recorded yet." in run("traces").stderr
    assert json.loads(run("traces", "--json").stdout)["data"] == []
    assert run("traces", "req_x").exit_code == 1
    assert not (own_environment / "prefrontal").exists()


def test_follow_shows_new_records_as_they_come(run: Run, asked: None, folder: Path) -> None:
    """--follow starts with the last ones and goes on; Ctrl-C ends it."""
    command = [sys.executable, "-m", "prefrontal", "traces", "--follow", "--json", "--limit", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder) as started:
        assert started.stdout is not None
        assert json.loads(started.stdout.readline())["status"] == "error"
        run("ask", "what is 3 + 3?")
        record = json.loads(started.stdout.readline())
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=10)
    assert record["tool"] == "calculator"
    assert started.returncode == 130
    assert "Traceback" not in said
