"""What holds for every command: versions, help, exit statuses, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from prefrontal import __version__
from prefrontal.cli.edge import edge
from prefrontal.errors import ConfigError, InvalidRequest

Run = Callable[..., Any]


def of(command: Callable[..., Any]) -> typer.Typer:
    app = typer.Typer()
    app.command()(edge(command))
    return app


def test_version_is_one_plain_line(process: Run) -> None:
    """`--version` prints name and version and nothing else."""
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"prefrontal {__version__}\n", "")


def test_the_version_option_works_beside_others(run: Run) -> None:
    """`-V` is an option of the program like any other."""
    assert run("-V", "serve").stdout == f"prefrontal {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    """Help needs typer alone: not the library, not the server, not rich."""
    heavy = ("rich", "uvicorn", "starlette", "yaml", "aiohttp", "prefrontal.app", "prefrontal.serve", "huggingface_hub", "pint")
    wanted = [["--help"], ["ask", "--help"], ["models", "pull", "--help"]]
    script = f"""
import sys
from prefrontal.cli.main import main
print([main(given) for given in {wanted}])
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines()[-2:] == ["[0, 0, 0]", "[]"]
    assert done.stdout.count("Usage:") == 3


def test_help_names_every_command(run: Run) -> None:
    """A reader of `--help` sees all there is."""
    text = run("--help").stdout
    for name in ("serve", "ask", "chat", "explain", "models", "config", "traces", "doctor"):
        assert f"\n  {name} " in text


def test_our_errors_are_two_lines_and_status_one() -> None:
    """Message and hint on stderr; no stack trace."""

    def command() -> None:
        raise InvalidRequest("It is wrong.", hint="Do it right.")

    result = CliRunner().invoke(of(command))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: It is wrong.\nhint: Do it right.\n"


def test_configuration_errors_are_status_two() -> None:
    """A script can tell a broken configuration from a failure."""

    def command() -> None:
        raise ConfigError("unknown setting", file="a.yaml", path="server.prot")

    result = CliRunner().invoke(of(command))
    assert (result.exit_code, result.stderr) == (2, "a.yaml: server.prot: unknown setting\n")


def test_with_json_an_error_is_the_document() -> None:
    """Machines find the error where the result would be, in the form of the HTTP API."""

    def command(as_json: bool = typer.Option(False, "--json")) -> None:
        raise InvalidRequest("It is wrong.", param="x")

    result = CliRunner().invoke(of(command), ["--json"])
    assert (result.exit_code, result.stderr) == (1, "")
    assert json.loads(result.stdout)["error"] == {
        "message": "It is wrong.",
        "type": "invalid_request_error",
        "param": "x",
        "code": "invalid_request",
    }


def test_debug_shows_the_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """PREFRONTAL_DEBUG=1 adds where it happened, above the message."""
    monkeypatch.setenv("PREFRONTAL_DEBUG", "1")

    def command() -> None:
        raise InvalidRequest("It is wrong.")

    stderr = CliRunner().invoke(of(command)).stderr
    assert "Traceback" in stderr
    assert stderr.endswith("error: It is wrong.\n")


def test_a_bug_is_one_line_too() -> None:
    """What nobody foresaw is named without a stack trace, and how to see one is said."""

    def command() -> None:
        raise ZeroDivisionError("oh")

    result = CliRunner().invoke(of(command))
    assert result.exit_code == 1
    assert result.stderr == "error: the command failed: ZeroDivisionError: oh\nPREFRONTAL_DEBUG=1 shows where.\n"


def test_an_interrupt_is_status_130() -> None:
    """Ctrl-C ends with the status shells expect."""

    def command() -> None:
        raise KeyboardInterrupt

    assert CliRunner().invoke(of(command)).exit_code == 130


def test_wrong_options_are_status_two(run: Run) -> None:
    """Typer's own errors keep their status and name the option."""
    result = run("serve", "--log-level", "loud")
    assert result.exit_code == 2
    assert "--log-level" in result.stderr
