"""A reader in a process of its own, with bounds on time and memory: a crafted document ends that process and nothing else."""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys

import msgspec

from prefrontal.knowledge.read.reading import Reading, Unreadable, checked

CPU_S = 120
"""Seconds of processor time one document may take (assumed: a book of a thousand pages takes about thirty)."""

WALL_S = 600.0
"""Seconds one document may take however busy the machine is (assumed)."""

MEMORY_BYTES = 4 << 30
"""Memory one document may take, shared libraries included (assumed)."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says: a reading, or why there is none."""

    reading: Reading | None = None
    reason: str = ""
    detail: str = ""


def read_apart(name: str, data: bytes, *, cpu_s: int = CPU_S, wall_s: float = WALL_S) -> Reading:
    """Return what the shipped reader of that name makes of a file. Raises Unreadable, also when it takes too long or crashes."""
    start = "import sys; from prefrontal.knowledge.read.apart import main; main(sys.argv[1], int(sys.argv[2]))"
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and words of ours
            [sys.executable, "-c", start, name, str(cpu_s)], input=data, capture_output=True, timeout=wall_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unreadable("slow", f"reading it took more than {wall_s:.0f} seconds") from None
    except OSError as error:
        raise Unreadable("unreadable", f"no process could be started for it: {error}") from error
    try:
        answer = msgspec.json.decode(done.stdout, type=Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        if done.returncode < 0:
            bounds = f"more than {cpu_s} seconds of processor time, or a crash"
            raise Unreadable("slow", f"reading it was ended by signal {-done.returncode}: {bounds}") from None
        raise Unreadable("unreadable", "reading it ended without an answer: out of memory, or a crash") from None
    if answer.reading is None:
        raise Unreadable(answer.reason, answer.detail)
    return answer.reading


def importable(module: str) -> bool:
    """Return whether a library is there, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def main(name: str, cpu_s: int) -> None:
    """Read the document on standard input and write an `Answer`."""
    from prefrontal.knowledge.read.documents import DOCUMENTS

    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        answer = Answer(reading=checked(DOCUMENTS[name], sys.stdin.buffer.read()))
    except Unreadable as error:
        answer = Answer(reason=error.reason, detail=error.detail)
    sys.stdout.buffer.write(msgspec.json.encode(answer))
