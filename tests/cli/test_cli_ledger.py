"""`prefrontal ledger`: which format the database has, and moving it; and the commands that read Postgres."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.cli import ledger as room
from prefrontal.ledger.migrations import HEAD

Run = Callable[..., Any]


def said(result: Any, status: int = 0) -> str:
    """Return what a command said on both streams; it ended with this status."""
    assert result.exit_code == status, result.stderr
    return f"{result.stdout}{result.stderr}"


def test_a_file_goes_down_and_up(run: Run) -> None:
    """The status follows; going down has to be said; `keys` goes up by itself."""
    assert json.loads(run("ledger", "status", "--json").stdout)["format"] == 0
    assert f"to {HEAD}" in said(run("ledger", "migrate"))
    assert f"{HEAD} already" in said(run("ledger", "migrate"))
    assert "--down" in said(run("ledger", "migrate", "--to", "1"), 1)
    moved = json.loads(run("ledger", "migrate", "--to", "1", "--down", "--json").stdout)
    assert (moved["before"], moved["after"]) == (HEAD, 1)
    assert f"1 (this program's is {HEAD})" in said(run("ledger", "status"))
    said(run("keys", "list"))
    assert json.loads(run("ledger", "status", "--json").stdout) == {
        "database": moved["database"],
        "format": HEAD,
        "program": HEAD,
    }
    assert "no format" in said(run("ledger", "migrate", "--to", "99"), 1)


def test_without_the_extra_the_remedy_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which libraries are not there, and the command that installs them."""
    monkeypatch.setattr(room, "missing", lambda: ("alembic",))
    text = said(run("ledger", "migrate"), 2)
    assert "not installed: alembic" in text
    assert "prefrontal[postgres]" in text


def test_postgres_goes_down_and_up_and_is_read(run: Run, folder: Path, empty_postgres_url: str) -> None:
    """On an empty database reading refuses and says what makes the tables; then keys, spend and traces work as on a file."""
    text = f"version: 1\ndiscovery: {{enabled: false}}\nstore: {{url: '{empty_postgres_url}'}}\n"
    (folder / "prefrontal.yaml").write_text(text)
    refused = said(run("spend"), 1)
    assert "format 0" in refused
    assert "prefrontal ledger migrate" in refused
    assert f"from format 0 to {HEAD}" in said(run("ledger", "migrate"))
    secret = run("keys", "create", "svc", "--team", "red").stdout.strip()
    assert secret.startswith("sk-pf-")
    assert "svc" in said(run("keys", "list"))
    assert "Nothing was spent" in said(run("spend", "--by", "key,day"))
    assert "No record matches" in said(run("traces"))
    assert "refused from now on" in said(run("keys", "revoke", "svc"))
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json").stdout)["checks"]}
    assert checks["database"]["state"] == "ok"
    assert f"format {HEAD}" in checks["database"]["found"]
    everything = [said(run(*command)) for command in (("config", "show"), ("ledger", "status"), ("config", "check"))]
    assert not any("pg-pass-4711" in text for text in everything)
    assert f"from format {HEAD} to 0" in said(run("ledger", "migrate", "--to", "0", "--down"))


def test_a_server_that_is_not_there_is_named_without_the_password(run: Run, folder: Path) -> None:
    """Commands end with an error of one line; `doctor` goes on."""
    (folder / "prefrontal.yaml").write_text(
        "version: 1\ndiscovery: {enabled: false}\nstore: {url: 'postgresql://me:hunter22@127.0.0.1:1/x'}\n"
    )
    for command in (("keys", "list"), ("spend",), ("traces",), ("ledger", "status"), ("ledger", "migrate")):
        text = said(run(*command), 1)
        assert "127.0.0.1:1/x" in text
        assert "hunter22" not in text
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json").stdout)["checks"]}
    assert checks["database"]["state"] == "wrong"
