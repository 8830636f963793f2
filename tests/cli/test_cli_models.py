"""`prefrontal models list | ps | load | unload`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.cli.models import _engine_row
from prefrontal.testing.gguf import build_rules

Run = Callable[..., Any]


def test_list_shows_what_can_be_named(run: Run, registry: Path) -> None:
    """One line a model: provider, context, abilities, prices, roles, origin; then the names that let Prefrontal choose."""
    result = run("models", "list")
    header, row = result.stdout.splitlines()
    assert header.split()[:3] == ["model", "provider", "context"]
    assert row.startswith("parrot")
    for cell in ("32k", "thinking, vision", " 1 ", " 2 ", "coding", "configuration"):
        assert cell in row
    assert "auto, reflex" in result.stderr
    assert "role/coding" in result.stderr


def test_list_as_json_is_the_apis_list(run: Run, registry: Path, gateway: Any) -> None:
    """The same document as GET /v1/models, here and from a running gateway."""
    here = json.loads(run("models", "list", "--json").stdout)["data"]
    there = json.loads(run("models", "list", "--json", "--url", gateway.url).stdout)["data"]
    assert [row["id"] for row in here] == [row["id"] for row in there]
    assert "sk-a-secret" not in json.dumps(here)


def test_list_without_any_model_says_the_way_out(run: Run) -> None:
    """An empty machine is no error."""
    result = run("models", "list", env={"PREFRONTAL__DISCOVERY__ENABLED": "false"})
    assert result.exit_code == 0
    assert "prefrontal doctor" in result.stderr


@pytest.mark.parametrize("command", [["ps"], ["load", "tiny"], ["unload", "tiny"]])
def test_without_a_gateway_it_is_said(run: Run, command: list[str]) -> None:
    """Engines live in the gateway: without one the commands say how to start it."""
    result = run("models", *command, env={"PREFRONTAL__SERVER__PORT": "9"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No gateway runs at http://127.0.0.1:9." in result.stderr
    assert "prefrontal serve" in result.stderr


def test_engines_are_loaded_and_unloaded(run: Run, folder: Path, own_environment: Path, serve: Run) -> None:
    """A GGUF file of the models folder is listed, loaded, answers, and is unloaded, all through the running gateway."""
    models = own_environment / "prefrontal" / "models"
    models.mkdir(parents=True)
    build_rules(models / "tiny.gguf", {"login": "Reset the password."}, default="I do not know.")
    (folder / "prefrontal.yaml").write_text("discovery: {ports: {}}\n")
    gateway = serve("--port", "0")
    gateway.waits_to_say("1: 1 from GGUF files")
    at = ("--url", gateway.url)

    def state() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(run("models", "ps", "--json", *at).stdout)["data"][0]
        return found

    assert (state()["model"], state()["state"]) == ("tiny", "stopped")
    assert run("models", "load", "tiny", *at).stdout == "tiny is ready\n"
    assert state()["state"] == "ready"
    assert "MiB" in run("models", "ps", *at).stdout
    assert run("ask", "--raw", *at, "-m", "tiny", "my login is broken").stdout == "Reset the password.\n"
    assert run("models", "unload", "tiny", *at).stdout == "tiny is stopped\n"
    assert state()["state"] == "stopped"
    wrong = run("models", "load", "tinny", *at)
    assert wrong.exit_code == 1
    assert "Known: tiny." in wrong.stderr


def test_the_gateway_is_found_by_the_configured_port(run: Run, gateway: Any) -> None:
    """Without --url the configured port is tried, and the next ones that `serve` would have taken."""
    port = int(gateway.url.rsplit(":", 1)[1])
    for configured in (port, port - 3):
        result = run("models", "ps", env={"PREFRONTAL__SERVER__PORT": str(configured)})
        assert result.exit_code == 0, result.stderr
        assert "has no local models" in result.stderr


def test_a_gateway_with_a_key(run: Run, registry: Path, serve: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the environment is shown; without it the error says which variable to set."""
    monkeypatch.setenv("PREFRONTAL_API_KEY", "a-key-of-ours-1234567890")
    url = serve("--port", "0").url
    assert run("models", "list", "--url", url).exit_code == 0
    result = run("models", "list", "--url", url, env={"PREFRONTAL_API_KEY": "wrong"})
    assert result.exit_code == 1
    assert "PREFRONTAL_API_KEY" in result.stderr


@pytest.mark.parametrize(
    ("state", "shown"), [("ready", "-"), ("restarting", "killed by SIGKILL"), ("failed", "killed by SIGKILL")]
)
def test_an_error_an_engine_has_recovered_from_is_not_shown(state: str, shown: str) -> None:
    """An engine that serves again is shown as one; how often it was started again stands beside it."""
    row = _engine_row({"model": "tiny", "state": state, "restarts": 1, "last_error": "killed by SIGKILL"})
    assert (row[0], row[1], row[6], row[-1]) == ("tiny", state, "1", shown)
