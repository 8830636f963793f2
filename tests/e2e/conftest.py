"""What the end-to-end tests share: the real command in a real process, as `make run` starts it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import psutil
import pytest
import yaml

READY_S = 20.0
STOP_S = 20.0


class Gateway:
    """`prefrontal serve` in a process of its own, on a free port. `ready_s` is how long it took to print its address."""

    def __init__(self, home: Path, config: dict[str, Any] | None = None, env: dict[str, str] | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.log = home / "stderr.log"
        arguments = [sys.executable, "-m", "prefrontal", "serve", "--port", "0"]
        if config is not None:
            self.config = home / "prefrontal.yaml"
            self.config.write_text(yaml.safe_dump(config), encoding="utf-8")
        clean = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        clean |= {"PREFRONTAL_HOME": str(home), "HOME": str(home)}
        before = time.monotonic()
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen(arguments, cwd=home, env=clean | (env or {}), stdout=subprocess.PIPE, stderr=errors)
        out: IO[bytes] | None = self.process.stdout
        assert out is not None
        self.url = out.readline().decode().strip()
        self.ready_s = time.monotonic() - before
        assert self.url.startswith("http://127.0.0.1:"), self.errors()

    def errors(self) -> str:
        """Return what it wrote to stderr."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def children(self) -> list[psutil.Process]:
        """Return its child processes: the local engines."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it and what it started, whatever state it is in."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [*self.children(), psutil.Process(self.process.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process.wait(STOP_S)


@pytest.fixture(scope="session")
def start_gateway() -> Iterator[Callable[..., Gateway]]:
    """Start gateways: `start_gateway(home, config=None, env=None)`. Those still running at the end are killed."""
    started: list[Gateway] = []

    def start(home: Path, config: dict[str, Any] | None = None, env: dict[str, str] | None = None) -> Gateway:
        gateway = Gateway(home, config, env)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.kill()
