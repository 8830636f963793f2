"""A Redis (or Valkey) server of one's own for tests: on a free port of this machine, nothing is kept on disk."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from itertools import chain
from pathlib import Path

from prefrontal.errors import ConfigError

LOWEST, HIGHEST = 20_000, 32_000
"""Ports to choose from: below those that the system gives to clients."""

START_S = 20.0
"""How long a start may take (assumed: it takes some ms; a busy machine takes longer)."""


def find_program() -> str:
    """Return the server's program. Raises ConfigError: it is not installed."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/bin", "/usr/local/bin")))
        if found is not None:
            return found
    raise ConfigError("Redis is not installed, and these tests need it.", hint="On Debian: apt-get install redis-server")


class RedisServer:
    """One server, always on the same port. `start`, `stop`, `freeze` as often as wanted; `close` ends and removes it."""

    def __init__(self, *arguments: str) -> None:
        """`arguments` are further ones of the program."""
        self._program = find_program()
        self._arguments = arguments
        self.folder = Path(tempfile.mkdtemp(prefix="prefrontal-redis-"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty. Raises ConfigError with what it said."""
        arguments = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                [*arguments, "--dir", str(self.folder), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait()

    def stop(self) -> None:
        """End it at once; what it held is gone. A second call does nothing."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(START_S)

    def freeze(self) -> None:
        """Let it stand still: connections stay open and nothing is answered."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self) -> None:
        # a shell asks every 10 ms: nothing here may ask the machine for time
        script = 'for i in $(seq 2000); do (exec 3<>"/dev/tcp/127.0.0.1/$0") 2>/dev/null && exit 0; sleep 0.01; done; exit 1'
        done = subprocess.run(["/bin/bash", "-c", script, str(self.port)], timeout=START_S, check=False)  # noqa: S603 - our own
        if done.returncode != 0 or self._process is None or self._process.poll() is not None:
            raise ConfigError(f"Redis did not start: {(self.folder / 'log').read_text()[-2000:]}")


def _free_port() -> int:
    """Return a port below those that clients are given: it stays free for this server while it is stopped."""
    first = LOWEST + os.getpid() * 37 % (HIGHEST - LOWEST)
    for port in chain(range(first, HIGHEST), range(LOWEST, first)):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ConfigError(f"No port from {LOWEST} to {HIGHEST} is free.")
