"""Processes pinned to cores, and what they use: CPU and memory of whole process trees, read from /proc."""

from __future__ import annotations

import contextlib
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import time

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_S = 8.0
PROGRAMS = {"nginx": "nginx-light", "wrk": "wrk"}
"""What the measurement needs besides Python, and the Debian package that has it."""


def program(name: str) -> str | None:
    """Return where a program lies; servers are in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which(name) or shutil.which(f"/usr/sbin/{name}")


def missing_packages() -> list[str]:
    """Return the Debian packages that have to be installed first."""
    return [package for name, package in PROGRAMS.items() if program(name) is None]


def cores() -> tuple[int, int, bool]:
    """Return the core for load and mock, the core for the gateway, and whether they differ."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1], len(usable) > 1


def describe() -> str:
    """Return the machine in a line."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), platform.machine())
    return f"{len(os.sched_getaffinity(0))} cores, {cpu}; {platform.system()}, Python {platform.python_version()}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Proc:
    """A process of ours on one core, in a session of its own so that its children end with it."""

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        core: int | None,
        folder: pathlib.Path,
        env: dict[str, str] | None = None,
        cwd: pathlib.Path | None = None,
    ) -> None:
        self.name = name
        self.log = folder / f"{name.replace(' ', '-')}.log"
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=cwd or folder,
                env={**clean, "NO_PROXY": "127.0.0.1,localhost", **(env or {})},
                start_new_session=True,
                preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            )
        self.pid = self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def tail(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        if self.running:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._process.wait()
        self._signal(signal.SIGKILL)  # children that outlived it

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def tree(self) -> list[int]:
        """Return the ids of the process and all that descend from it."""
        children: dict[int, list[int]] = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def cpu_s(self) -> float:
        """Return user and system time of the tree, children that have ended included."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                total += sum(int(field) for field in _stat(pid)[11:15])
        return total / TICKS_PER_S

    def pss_mb(self) -> float:
        """Return the proportional set size of the tree in megabytes (10^6 bytes)."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total * 1024 / 1e6


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may itself contain spaces and brackets."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def busy_s() -> float:
    """Return the CPU seconds that all cores have spent working since the machine started."""
    fields = [int(n) for n in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / TICKS_PER_S


def wait_for(port: int, process: Proc, limit_s: float = 30.0) -> None:
    """Return once something listens on `port`. Raises SystemExit with the end of the log when nothing does."""
    until = time.perf_counter() + limit_s
    while time.perf_counter() < until and process.running:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.01)
    raise SystemExit(f"{process.name} did not start:\n{process.tail()}")
