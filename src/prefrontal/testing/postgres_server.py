"""A PostgreSQL server of one's own for tests: a fresh cluster in a temporary folder, on a free port, nothing waits for a disk."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from prefrontal.errors import ConfigError

WHERE = "/usr/lib/postgresql"
"""Where Debian and Ubuntu keep the programs of each version."""

FAST = (
    *("-c", "fsync=off", "-c", "full_page_writes=off"),
    *("-c", "shared_buffers=32MB", "-c", "max_connections=200", "-c", "autovacuum=off"),
)
"""Nothing a test keeps has to outlive the machine, only the server."""

START_S = 30.0
"""How long a start may take (assumed: it takes one second; a busy machine takes longer)."""


def find_programs() -> Path:
    """Return the folder of the server's programs. Raises ConfigError: it is not installed."""
    versions = sorted(Path(WHERE).glob("*/bin/postgres"), key=lambda file: int(file.parts[-3]) if file.parts[-3].isdigit() else 0)
    if versions:
        return versions[-1].parent
    found = shutil.which("postgres")
    if found is None or shutil.which("initdb") is None:
        raise ConfigError("PostgreSQL is not installed, and these tests need it.", hint="On Debian: apt-get install postgresql")
    return Path(found).parent


class PostgresServer:
    """One cluster. `start` makes it, `stop` keeps its data, `kill` is what a power cut is, `close` removes everything.

    As root the programs run as the user ``postgres``: they refuse to be root.
    """

    def __init__(self) -> None:
        self._programs = find_programs()
        self._user = "postgres" if os.geteuid() == 0 else None
        # not below a test's folder: those are closed to other users
        self.folder = Path(tempfile.mkdtemp(prefix="prefrontal-pg-"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database. Any password is taken; one is in it so that tests can look where it comes out."""
        return f"postgresql://prefrontal:pg-pass-4711@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, after the first time with what it holds. Raises ConfigError with what it said."""
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        data = self.folder / "data"
        if not data.exists():
            self._run("initdb", "-D", str(data), "-U", "prefrontal", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        with (self.folder / "log").open("ab") as log:
            arguments = ("-D", str(data), "-k", str(self.folder), "-h", "127.0.0.1", "-p", str(self.port), *FAST)
            self._process = self._spawn("postgres", *arguments, out=log)
        self._wait()

    def stop(self) -> None:
        """Stop the server; connections are ended. A second call does nothing."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server at once, as a crash does; the next start repairs."""
        self._end(signal.SIGQUIT)  # SIGKILL would leave its children

    def close(self) -> None:
        """Stop and remove everything."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Return what a statement prints, run beside everything else. Raises ConfigError."""
        place = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "prefrontal", "-d", database)
        return self._run("psql", *place, "-v", "ON_ERROR_STOP=1", "-qAtc", statement).strip()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.wait(START_S)

    def _wait(self) -> None:
        # `-w` of pg_ctl looks once a second; this asks every 10 ms
        script = 'for i in $(seq 3000); do "$0" -q -h 127.0.0.1 -p "$1" && exit 0; sleep 0.01; done; exit 1'
        program = str(self._programs / "pg_isready")
        done = subprocess.run(["/bin/sh", "-c", script, program, str(self.port)], timeout=START_S, check=False)  # noqa: S603 - made of our own parts
        if done.returncode != 0 or self._process is None or self._process.poll() is not None:
            raise ConfigError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def _run(self, program: str, *arguments: str) -> str:
        done = self._spawn(program, *arguments, out=subprocess.PIPE)
        told, _ = done.communicate(timeout=START_S)
        if done.returncode != 0:
            raise ConfigError(f"`{program}` failed: {told.decode(errors='replace')[-2000:]}")
        return told.decode(errors="replace")

    def _spawn(self, program: str, *arguments: str, out: IO[bytes] | int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own arguments, and a program from a folder of the system
            [str(self._programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else (),
            start_new_session=True,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": str(self.folder)},
        )


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
