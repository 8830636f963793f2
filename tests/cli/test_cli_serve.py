"""`prefrontal serve` as a real process: ready line, greeting, signals, refusals."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.cli.logs import JsonLines, Logs, TextLines
from prefrontal.cli.serve import Greeting, make_folder
from prefrontal.config.redact import Redactor

Run = Callable[..., Any]


def test_the_first_line_is_the_address_and_the_greeting_says_what_was_found(registry: Path, serve: Run) -> None:
    """The address answers at once; models, file, folder and three lines for an SDK follow on stderr; SIGTERM ends with 0."""
    gateway = serve("--port", "0")
    with urllib.request.urlopen(f"{gateway.url}/livez", timeout=5) as answer:
        assert answer.status == 200
    said = gateway.waits_to_say("Ctrl-C stops")
    assert "1: 1 from the configuration" in said
    assert "prefrontal.yaml" in said
    assert re.search(r"folder +(.+) \(put \.gguf files here\)", said)
    assert Path(re.search(r"folder +(.+) \(put", said)[1]).is_dir()  # type: ignore[index]
    assert f'client = OpenAI(base_url="{gateway.url}/v1", api_key="unused")' in said
    assert "a day" not in said
    assert gateway.stop() == 0
    assert gateway.process.stdout.read() == ""
    assert "Traceback" not in gateway.said


def test_the_spend_limit_is_said_when_a_key_gave_models(folder: Path, serve: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models found only through a key in the environment come with the limit they are under."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    monkeypatch.setenv("PREFRONTAL__DISCOVERY__PORTS", "{ollama: [9]}")
    said = serve("--port", "0").waits_to_say("Ctrl-C stops")
    assert "through keys in the environment" in said
    assert "at most $1.00 a day for models found only through a key in the environment" in said
    assert "very-secret" not in said


def test_a_taken_port_gives_the_next_in_json_lines(registry: Path, serve: Run) -> None:
    """The next free port is taken, and that is said; with --log-format json each line of stderr is an object, the greeting too.

    Ctrl-C, the usual way to stop a server in a terminal, ends with status 0.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway = serve("--port", str(port), "--log-format", "json")
    assert port < int(gateway.url.rsplit(":", 1)[1]) < port + 100
    gateway.waits_to_say("from the configuration")
    assert gateway.stop(signal.SIGINT) == 0
    lines = [json.loads(line) for line in gateway.said.splitlines()]
    assert {"time", "level", "logger", "message"} == set(lines[0])
    messages = [line["message"] for line in lines]
    assert f"port {port} is in use" in messages[0]
    assert any(message.startswith("models: 1") for message in messages)
    assert any("stopping" in message for message in messages)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file in its way costs the folder, not the start."""
    own = logging.getLogger("prefrontal.cli.serve")
    caplog.set_level(logging.WARNING, own.name)
    own.addHandler(caplog.handler)  # a command of an earlier test may have taken the lines of all ours for itself
    (tmp_path / "models").write_text("")
    make_folder(tmp_path / "models")
    own.removeHandler(caplog.handler)
    make_folder(tmp_path / "other" / "models")
    assert (tmp_path / "other" / "models").is_dir()
    assert "cannot be made: File exists" in caplog.text


def test_a_stop_right_after_the_ready_line_is_clean(registry: Path, serve: Run) -> None:
    """Who waits for the ready line may stop the gateway at once: no signal falls between that line and the handler."""
    assert serve("--port", "0").stop() == 0


def test_a_bad_configuration_is_status_two(run: Run, folder: Path) -> None:
    """Every problem is printed with its place; nothing is said on stdout."""
    (folder / "bad.yaml").write_text("server: {prot: 1}\nlogging: {level: loud}\n")
    done = run("serve", "-c", "bad.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "bad.yaml:1: server.prot: unknown setting (did you mean `port`?)" in done.stderr
    assert "bad.yaml:2: logging.level" in done.stderr


def test_other_machines_need_a_key(run: Run) -> None:
    """Listening beyond loopback without a key is refused, with what to do."""
    done = run("serve", "--host", "0.0.0.0", "--port", "0")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "PREFRONTAL_API_KEY" in done.stderr


def test_an_address_that_is_not_ours(run: Run) -> None:
    """An address of another machine cannot be listened on: a setting is wrong."""
    done = run("serve", "--host", "192.0.2.1", "--port", "0", env={"PREFRONTAL_API_KEY": "a-key-of-ours-1234567890"})
    assert (done.exit_code, done.stdout) == (2, "")
    assert "192.0.2.1" in done.stderr


def test_lines_from_before_the_configuration_wait_for_it() -> None:
    """What is logged while starting is written once it is known how, at the level that then holds; the end puts all back."""
    own, stream = logging.getLogger("prefrontal.test"), io.StringIO()
    before = logging.getLogger("prefrontal").level
    logs = Logs(stream)
    own.info("early info")
    own.error("early error")
    assert stream.getvalue() == ""
    logs.configure(level="error", form="json", redactor=Redactor())
    own.warning("late warning")
    logs.configure(level="warning", form="text", redactor=Redactor())
    own.warning("last warning")
    logs.close()
    own.error("after the end")
    first, second = stream.getvalue().splitlines()
    assert json.loads(first)["message"] == "early error"
    assert second.endswith("WARNING prefrontal.test: last warning")
    assert logging.getLogger("prefrontal").level == before


def greeting(**known: Any) -> str:
    return "\n".join(Greeting(url="http://127.0.0.1:1", models={}, folder="/m", **known).lines)


def test_the_greeting_follows_what_is_known() -> None:
    """Without models the doctor is named; with keys the SDK line reads one from the environment."""
    assert "none found; `prefrontal doctor`" in greeting()
    assert 'api_key="unused"' in greeting()
    assert 'os.environ["PREFRONTAL_API_KEY"]' in greeting(key_needed=True)
    assert "$2.50 a day" in greeting(spend_usd=2.5)


def test_secrets_stay_out_of_the_log() -> None:
    """Whatever a line carries, known secrets and key shapes are taken out, in stack traces too."""
    redactor = Redactor(["hunter2-of-ours"])
    try:
        raise ValueError("hunter2-of-ours")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "key %s", ("hunter2-of-ours",), sys.exc_info())
    for form in (TextLines(redactor), JsonLines(redactor)):
        line = form.format(record)
        assert "hunter2" not in line
        assert "ValueError" in line
