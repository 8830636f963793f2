"""`prefrontal doctor`: what is there, what is missing, and what mends it."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.cli import checks
from prefrontal.testing.gguf import build_rules

Run = Callable[..., Any]
QUIET = {"PREFRONTAL__DISCOVERY__PORTS": "{ollama: [9]}", "PREFRONTAL__SERVER__PORT": "0"}
"""No look at ports where another program of this machine might answer."""


def report(run: Run, *options: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    result = run("doctor", "--json", *options, env={**QUIET, **(env or {})})
    return result.exit_code, json.loads(result.stdout)


def check(found: dict[str, Any], name: str) -> dict[str, Any]:
    matching: dict[str, Any] = next(item for item in found["checks"] if item["name"] == name)
    return matching


def test_an_empty_machine_gets_the_way_to_a_first_model(run: Run) -> None:
    """Status 3, everything that is missing, and one command for each."""
    result = run("doctor", env=QUIET)
    assert result.exit_code == 3
    assert "WRONG  verdict" in result.stdout
    status, found = report(run)
    assert (status, found["ok"], found["models"]) == (3, False, [])
    for name in ("provider keys", "local servers", "model files"):
        assert (check(found, name)["state"], bool(check(found, name)["mend"])) == ("missing", True)
    for item in found["checks"]:
        assert item["state"] in ("ok", "note") or item["mend"]


def test_looking_changes_nothing(run: Run, own_environment: Path) -> None:
    """The doctor leaves no file behind."""
    run("doctor", env=QUIET)
    assert list(own_environment.iterdir()) == []


def test_a_key_is_named_and_never_shown(run: Run) -> None:
    """The variable's name appears, the key does not; its models could answer."""
    status, found = report(run, env={"OPENAI_API_KEY": "sk-very-secret-0123456789"})
    assert status == 0
    assert "OPENAI_API_KEY" in check(found, "provider key")["found"]
    assert "$1 a day" in check(found, "provider key")["found"]
    assert "very-secret" not in json.dumps(found)


def test_a_model_file_can_answer(run: Run, own_environment: Path) -> None:
    """A GGUF file of the models folder is found, and a broken one named with the command that removes it."""
    models = own_environment / "prefrontal" / "models"
    models.mkdir(parents=True)
    build_rules(models / "tiny.gguf", {"login": "C"}, default="A")
    assert report(run)[0] == 0
    (models / "broken.gguf").write_bytes(b"not a model")
    status, found = report(run)
    assert (status, found["models"]) == (0, ["tiny"])
    assert "broken.gguf" in check(found, "model files")["found"]
    assert check(found, "model files")["mend"] == f"rm {models / 'broken.gguf'}"


def test_a_configured_server_that_is_down(run: Run, write_config: Run, upstream: Any) -> None:
    """A server of this machine that does not answer is named; the same entry with a live one can answer."""
    file = write_config(upstream.base_url)
    file.write_text(file.read_text().replace("openai-compatible", "vllm"))
    assert report(run)[0] == 0
    file.write_text(file.read_text().replace(upstream.base_url, "http://127.0.0.1:9/v1"))
    status, found = report(run)
    assert status == 3
    assert "parrot: nothing answers at http://127.0.0.1:9/v1" in check(found, "model")["found"]


def test_a_broken_configuration(run: Run, folder: Path) -> None:
    """The first mistake is shown with the command that shows all; everything else is still looked at."""
    (folder / "prefrontal.yaml").write_text("server: {prot: 1}\n")
    status, found = report(run, env={"OPENAI_API_KEY": "sk-very-secret-0123456789"})
    assert status == 3
    assert "server.prot" in check(found, "configuration")["found"]
    assert check(found, "configuration")["mend"] == "prefrontal config check"
    assert check(found, "time zones")["state"] == "ok"
    assert check(found, "verdict")["state"] == "wrong"


def test_a_running_gateway_is_told_from_a_stranger(run: Run, gateway: Any) -> None:
    """The port is ours when a gateway answers there, and a note when another program has it."""
    port = gateway.url.rsplit(":", 1)[1]
    _, found = report(run, env={"PREFRONTAL__SERVER__PORT": port})
    assert check(found, "port")["found"].endswith("a gateway is running")
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        _, found = report(run, env={"PREFRONTAL__SERVER__PORT": str(taken)})
    assert check(found, "port")["state"] == "note"
    assert "is in use by" in check(found, "port")["found"]
    assert check(found, "port")["mend"] == f"prefrontal serve --port {taken + 1}"


def test_a_home_others_can_write(tmp_path: Path) -> None:
    """Records and keys lie there, so that is wrong, and the command closes it."""
    tmp_path.chmod(0o777)
    found = checks.home(tmp_path)
    assert (found.state, found.mend) == ("wrong", f"chmod go-w {tmp_path}")
    tmp_path.chmod(0o700)
    assert checks.home(tmp_path).state in ("ok", "note")


def test_a_home_that_does_not_exist_yet(tmp_path: Path) -> None:
    """It is made on first use: nothing to mend."""
    assert "made when first needed" in checks.home(tmp_path / "a" / "b").found


def test_a_database_that_is_none(tmp_path: Path) -> None:
    """A damaged file is found out, a sound one is counted."""
    file = tmp_path / "prefrontal.db"
    file.write_bytes(b"this is no database at all" * 100)
    assert checks.database(file).state == "wrong"
    file.unlink()
    assert checks.database(file).state == "ok"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE records (id)")
        connection.execute("INSERT INTO records VALUES (1)")
    connection.close()
    assert "1 records" in checks.database(file).found


def test_without_the_local_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that installs it is for this very Python."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    found = checks.local_engine()
    assert found.state == "missing"
    assert found.mend is not None
    assert found.mend.endswith('-m pip install "prefrontal[local]"')
