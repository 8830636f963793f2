"""The parent of the workers: who dies is started again, sooner or later; who cannot start at all ends the whole."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from prefrontal.clock import SystemClock
from prefrontal.config.schema_service import Server
from prefrontal.errors import ConfigError, StoreError
from prefrontal.serve.crew import Crew, Hand, listeners, pause_s

WORKER = """
import json, os, signal, sys
orders = json.loads(sys.stdin.buffer.readline())
index = orders["post"]["index"]
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(log, f"{index} {os.getpid()}\\n".encode())
if index == int(sys.argv[2]):
    sys.exit(3)
print("ready", flush=True)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
sys.stdin.read()
"""


def crew_of(tmp_path: Path, said: list[str], *, refuses: int = -1, workers: int = 2) -> Crew:
    command = [sys.executable, "-c", WORKER, str(tmp_path / "log"), str(refuses)]
    server = Server(port=0, workers=workers, drain_s=1.0)
    return Crew(server, config=None, flags={}, clock=SystemClock(), say=said.append, command=command)


def started(tmp_path: Path) -> list[tuple[int, int]]:
    """Return index and process id of every start so far."""
    log = tmp_path / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines]


async def until(condition: Any) -> None:
    async with asyncio.timeout(10.0):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


async def test_the_dead_are_started_again_and_all_end_together(tmp_path: Path) -> None:
    """Killed once a worker is back at once, killed again after a pause; SIGTERM ends everybody, and the address is said once."""
    said: list[str] = []
    running = asyncio.create_task(crew_of(tmp_path, said).run())
    await until(lambda: said)
    assert said[0].startswith("http://127.0.0.1:")
    os.kill(started(tmp_path)[1][1], signal.SIGKILL)
    await until(lambda: len(started(tmp_path)) == 3)
    loop = asyncio.get_running_loop()
    killed_at = loop.time()
    await asyncio.sleep(0.1)
    os.kill(started(tmp_path)[2][1], signal.SIGKILL)
    await until(lambda: len(started(tmp_path)) == 4)
    assert loop.time() - killed_at > 0.5
    assert [index for index, _ in started(tmp_path)] == [0, 1, 1, 1]
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10.0)
    assert len(said) == 1
    for _, pid in started(tmp_path):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_first_worker_that_cannot_start_ends_the_whole(tmp_path: Path) -> None:
    """What keeps one from starting keeps all: nothing is said, no second one is tried."""
    said: list[str] = []
    with pytest.raises(StoreError):
        await asyncio.wait_for(crew_of(tmp_path, said, refuses=0).run(), 10.0)
    assert (said, [index for index, _ in started(tmp_path)]) == ([], [0])


def test_all_listen_on_one_port_that_nobody_else_may_join() -> None:
    """The next free port is taken when another server has the wanted one; connections reach every socket."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = listeners("127.0.0.1", port, 3)
        try:
            ports = {sock.getsockname()[1] for sock in found}
            assert len(ports) == 1
            assert ports != {port}
        finally:
            for sock in found:
                sock.close()


async def test_the_network_needs_a_key_here_too() -> None:
    """As with one process: an address that others can reach is refused without a key."""
    crew = Crew(Server(host="0.0.0.0", workers=2), config=None, flags={}, clock=SystemClock(), say=print)
    with pytest.raises(ConfigError, match="API key"):
        await crew.run()


def test_pauses_double_up_to_a_bound_however_often_a_worker_dies() -> None:
    """Also after a night in which it could not start once."""
    assert [pause_s(deaths) for deaths in (1, 2, 3, 4, 9, 5000)] == [0.0, 0.5, 1.0, 2.0, 30.0, 30.0]


async def test_a_worker_that_the_system_cannot_start_is_tried_again(tmp_path: Path) -> None:
    """Too many processes for a moment must not mean one worker less for ever."""
    crew = crew_of(tmp_path, [])
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    hand = Hand(0, socket.socket())
    hand.process = process
    tries: list[int] = []
    back = asyncio.Event()

    async def begin(_hand: Hand) -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise BlockingIOError("too many processes")
        back.set()
        hand.process = None
        return True

    crew._begin = begin  # type: ignore[method-assign]
    async with asyncio.timeout(10.0):
        await crew._keep(hand)
    assert back.is_set()
    assert len(tries) == 2
    hand.sock.close()
