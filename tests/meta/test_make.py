"""The two commands: what `make` does before it hands over, and that signals reach the server behind it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SERVER = """#!/bin/sh
trap 'echo stopped >&2; exit 0' TERM INT
echo http://127.0.0.1:4123
while :; do sleep 0.05; done
"""


@pytest.mark.parametrize("target", ["run", "test", "lint", "bench", "docs"])
def test_every_target_is_understood(target: str) -> None:
    """`make -n` knows what to do for each target, without doing it."""
    done = subprocess.run(["make", "-n", "-C", str(ROOT), target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_old_python_is_refused_in_plain_words(tmp_path: Path) -> None:
    """A Python older than 3.11 is named with the version that is needed, and no half-made environment is left."""
    old = tmp_path / "python-of-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").touch()
    done = subprocess.run(["make", "-C", str(tmp_path), "run", f"PYTHON={old}"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Python 3.11 or later is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_without_venv_is_told_the_package(tmp_path: Path) -> None:
    """Where the environment cannot be made, the Debian package is named and nothing half-made is left."""
    bare = tmp_path / "python-without-venv"
    bare.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\nmkdir -p .venv/bin && touch .venv/bin/python\nexit 1\n')
    bare.chmod(0o755)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").touch()
    done = subprocess.run(["make", "-C", str(tmp_path), "run", f"PYTHON={bare}"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_signals_reach_the_server(tmp_path: Path, number: signal.Signals, whole_group: bool) -> None:
    """SIGTERM to `make run`, and Ctrl-C at a terminal, stop the server; its address is the first line on stdout."""
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").touch()
    for name in ("python", "prefrontal"):
        (binaries / name).write_text(SERVER)
        (binaries / name).chmod(0o755)
    (tmp_path / ".venv" / ".run").touch()
    with subprocess.Popen(
        ["make", "run"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith("http://127.0.0.1:")
        if whole_group:
            os.killpg(running.pid, number)
        else:
            running.send_signal(number)
        assert "stopped" in running.stderr.read()
