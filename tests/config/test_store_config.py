"""The shared store in the configuration: doubtful combinations are said, a missing extra is named, the password never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from prefrontal.config.changes import diff
from prefrontal.config.check_store import check_store
from prefrontal.config.load import Loaded
from prefrontal.config.redact import Redactor, redact, secrets_of
from prefrontal.config.schema import Config, Records, Store

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "replicas"
URL = "postgresql://me:hun%40ter@22@db:5432/x?sslmode=require&password=other-secret"


def findings(config: Config, absent: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    """What the check says: path, rule, fatal, text."""
    found: list[tuple[Any, ...]] = []

    def note(path: Any, rule: str, message: str, hint: str | None = None, *, fatal: bool = True) -> None:
        found.append((path, rule, fatal, f"{message} {hint}"))

    check_store(config, note, absent=lambda: absent)
    return found


def test_a_missing_extra_is_named_with_its_remedy() -> None:
    """Without a store nothing is asked for; with one the libraries and the command."""
    assert findings(Config(), ("asyncpg",)) == []
    ((path, rule, fatal, text),) = findings(Config(store=Store(url="postgresql://db/x")), ("asyncpg", "alembic"))
    assert (path, rule, fatal) == (("store", "url"), "extra", True)
    assert "not installed: asyncpg, alembic" in text
    assert "pip install 'prefrontal[postgres]'" in text


def test_settings_that_contradict_each_other_are_doubtful() -> None:
    """Records that are off, or a file beside the store: said, not refused."""
    store = Store(url="postgres://db/x")
    assert findings(Config(store=store)) == []
    off = findings(Config(store=store, records=Records(enabled=False)))
    file = findings(Config(store=store, records=Records(path="a.db")))
    assert [(path, rule, fatal) for path, rule, fatal, _ in (*off, *file)] == [
        (("store", "url"), "unused", False),
        (("records", "path"), "unused", False),
    ]


def test_the_password_is_shown_nowhere() -> None:
    """Not by `config show`, a diff or a line that quotes it, as written and as meant; also where @ was not escaped."""
    config = Config(store=Store(url=URL))
    line = Redactor(secrets_of(config)).text(f"cannot reach {URL}: hun@ter@22")
    for text in (str(redact(config)), str(diff(Config(), config)), line):
        assert not any(secret in text for secret in ("hun%40", "hun@", "ter@22", "other-secret")), text
        assert "db:5432/x" in text


def test_the_store_is_read_at_start() -> None:
    """A changed address waits for the next start, and says so."""
    changes = diff(Config(), Config(store=Store(url="postgresql://db/x")))
    assert [(change.path, change.restart) for change in changes] == [("store.url", True)]


def test_the_files_for_three_gateways_fit_together(read: Callable[..., Loaded]) -> None:
    """The configuration loads with the variables that the Compose file hands over, and names the services that are there."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    gateway = compose["services"]["gateway"]
    given = dict.fromkeys(gateway["environment"], "made-up-value")
    config = read((DEPLOY / "prefrontal.yaml").read_text(), given).config
    assert config.store.url is not None
    assert "made-up-value@postgres:5432" in config.store.url
    assert {"postgres", "redis", "balancer"} <= set(compose["services"])
    assert config.store.replicas == config.redis.replicas == gateway["deploy"]["replicas"]
    assert f"server gateway:{config.server.port};" in (DEPLOY / "nginx.conf").read_text()
