"""The PostgreSQL server of the tests: what it keeps over a crash, and what is said where it is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefrontal.errors import ConfigError
from prefrontal.testing import postgres_server as room
from prefrontal.testing.postgres_server import PostgresServer


def test_without_the_programs_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the package to install."""
    monkeypatch.setattr(room, "WHERE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as missing:
        PostgresServer()
    assert "apt-get install postgresql" in missing.value.text


def test_what_was_committed_outlasts_a_crash(postgres_server: PostgresServer) -> None:
    """Killed and started again, the server has what it had; a statement that fails says why."""
    postgres_server.sql("CREATE TABLE kept (word TEXT)")
    postgres_server.sql("INSERT INTO kept VALUES ('yes')")
    postgres_server.kill()
    with pytest.raises(ConfigError):
        postgres_server.sql("SELECT 1")
    postgres_server.start()
    assert postgres_server.sql("SELECT word FROM kept") == "yes"
    with pytest.raises(ConfigError, match="does not exist"):
        postgres_server.sql("SELECT * FROM nothing")
    postgres_server.sql("DROP TABLE kept")
