"""The suite's own rules work: the network is out of reach, the environment is empty, a skip in CI fails."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest_plugins = ["pytester"]
CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, code: str, **env: str) -> pytest.RunResult:
    """Run a test file under the suite's conftest in a process of its own."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(code)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:asyncio")


def test_another_machine_cannot_be_reached() -> None:
    """A connection to an address elsewhere is refused before a packet leaves."""
    with socket.socket() as sock, pytest.raises(OSError, match="nobody but this machine"):
        sock.connect(("192.0.2.1", 80))


def test_reserved_names_do_not_resolve() -> None:
    """A name that cannot exist is not asked for, and does not fail the test."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nowhere.invalid", 80)


def test_reaching_out_fails_the_test_even_when_the_code_shrugs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test whose code swallows the refusal fails all the same."""
    code = "import socket\ndef test_it():\n    try: socket.create_connection(('api.openai.com', 443))\n    except OSError: pass\n"
    result = run(pytester, monkeypatch, code)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*tried to reach the network: resolve api.openai.com*"])


def test_loopback_is_reached() -> None:
    """A server on this machine can be reached by address and by name."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()


def test_no_key_of_the_machine_is_seen(own_environment: Path) -> None:
    """Tests see an empty home and no variable that could hold a key."""
    assert Path.home() == own_environment
    assert [name for name in os.environ if name.endswith(("_KEY", "_TOKEN", "_SECRET"))] == []
    assert os.environ["PREFRONTAL_HOME"].startswith(str(own_environment))


def test_chance_is_the_same_each_time() -> None:
    """The module-wide generator starts from the same seed in every test."""
    assert random.random() == random.Random(20261120).random()


@pytest.mark.parametrize(("ci", "outcome"), [(True, "failed"), (False, "skipped")])
def test_a_skip_fails_in_ci_only(ci_rule: Callable[..., Any], ci: bool, outcome: str) -> None:
    """A skipped report is a failure in CI, with the reason; elsewhere it stays what it is."""
    report = SimpleNamespace(skipped=True, outcome="skipped", nodeid="a::b", longrepr=("file", 1, "Skipped: no engine"))
    assert ci_rule(report, ci=ci).outcome == outcome
    assert "no engine" in str(report.longrepr)


def test_a_run_with_a_skip_fails_in_ci(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """With CI set, pytest itself ends with a failure for a skipped test and names the reason."""
    code = "import pytest\ndef test_it():\n    pytest.skip('no engine')\n"
    result = run(pytester, monkeypatch, code, CI="true")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*skipped, and CI is set*no engine*"])
    assert run(pytester, monkeypatch, code, CI="").ret == 0


def test_a_test_that_hangs_is_ended(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test over its limit fails with a sentence, and the next one runs."""
    code = "import time, pytest\n@pytest.mark.time_limit(0.2)\ndef test_a(): time.sleep(30)\ndef test_b(): pass\n"
    result = run(pytester, monkeypatch, code)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*took longer than 0.2 s*"])
