"""One model's engine and its life. One task owns the process; everybody else asks and waits.

state       ensure                    stop                     the process ends
stopped     starts it ▶ starting      nothing                  –
starting    waits                     ▶ stopping               ▶ restarting, or failed (see `policy`)
ready       returns the URL           ▶ stopping               ▶ restarting
restarting  waits                     ▶ stopped                –                  (after the delay ▶ starting)
failed      raises; after a rest      ▶ stopped                –
            starts it ▶ starting
stopping    waits, then starts it     waits                    ▶ stopped
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec

from prefrontal.clock import Chance, Clock
from prefrontal.errors import ProviderUnreachable
from prefrontal.execute.engine.policy import EngineExit, RestartPolicy, after_exit
from prefrontal.execute.engine.process import (
    ChildProcess,
    Spawn,
    announced_port,
    end_child,
    is_busy,
    read_lines,
    spawn_child,
    until_healthy,
)
from prefrontal.execute.engine.spec import EngineSpec, child_arguments

EngineState = Literal["stopped", "starting", "ready", "restarting", "failed", "stopping"]

STDERR_LINES = 200
"""Lines of the engine's log that are kept. Specified."""
_TAIL_LINES = 20
_LOG_END_S = 1.0

log = logging.getLogger(__name__)


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is doing now. `load_time_s` is from the start of the process to the first healthy answer."""

    model_id: str
    state: EngineState
    pid: int | None
    port: int | None
    rss_bytes: int | None
    load_time_s: float | None
    restarts: int
    in_flight: int
    last_error: str | None
    stderr_tail: list[str]


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What all engines of a supervisor share."""

    restart: RestartPolicy = RestartPolicy()
    start_timeout_s: float = 600.0
    """From the start of the process to its first healthy answer. Assumed: tens of gigabytes from a slow disk."""
    stop_grace_s: float = 5.0
    """Between the request to stop and force. Assumed; an idle engine stops in 0.1 s."""
    cores: int = 2
    """Physical processor cores of this machine."""
    environ: Mapping[str, str] = {}
    """The children's environment."""


class LocalEngine:
    """Runs one model in a child process. Not thread-safe: one event loop.

    `ensure` blocks until the engine is ready or has failed; `stop` until the process is gone. Nothing else blocks.
    """

    def __init__(
        self, spec: EngineSpec, settings: EngineSettings, *, clock: Clock, chance: Chance, spawn: Spawn = spawn_child
    ) -> None:
        self.spec = spec
        self.state: EngineState = "stopped"
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._closed = False
        self._child: ChildProcess | None = None
        self._port: int | None = None
        self._load_time_s: float | None = None
        self._restarts = 0
        self._in_flight = 0
        self._last_used_s = 0.0
        self._retry_at_s = 0.0
        self._last_error: str | None = None
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)

    async def ensure(self) -> str:
        """Return the base URL (``http://127.0.0.1:PORT``) of the ready engine, starting it if it does not run.

        Raises:
            ProviderUnreachable: it failed, or was stopped while this waited. ``details`` holds the end of its log.
        """
        await self._leave_stopping()
        if self.state == "failed" and self._clock.monotonic() < self._retry_at_s:
            raise self._failure()
        self.start()
        while self.state in ("starting", "restarting"):
            await self._settled.wait()
        if self.state != "ready":
            raise self._failure()
        self._last_used_s = self._clock.monotonic()
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Begin to start it if it is stopped or failed; does not block, and the outcome is seen in `status` or by `ensure`."""
        if self.state in ("stopped", "failed") and not self._closed:
            self._set("starting")
            self._task = asyncio.create_task(self._live(), name=f"engine {self.spec.model_id}")
            self._task.add_done_callback(self._finished)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[str]:
        """Do as `ensure`, and keep the engine from being unloaded as idle until the block is left."""
        self._in_flight += 1
        try:
            yield await self.ensure()
        finally:
            self._in_flight -= 1
            self._last_used_s = self._clock.monotonic()

    @property
    def in_flight(self) -> int:
        """How many leases are out."""
        return self._in_flight

    async def stop(self) -> None:
        """End the process and wait until it is gone, at most twice `stop_grace_s`. Callers waiting for it get an error."""
        self._begin_stop()
        await self._leave_stopping()
        if self.state == "failed":
            self._set("stopped")

    async def close(self) -> None:
        """Do as `stop`, for good: it never starts again."""
        self._closed = True
        await self.stop()

    def status(self) -> EngineStatus:
        """Describe the engine; reads the process's memory from the operating system."""
        pid = self._child.pid if self._child else None
        return EngineStatus(
            model_id=self.spec.model_id,
            state=self.state,
            pid=pid,
            port=self._port,
            rss_bytes=_rss_bytes(pid),
            load_time_s=self._load_time_s,
            restarts=self._restarts,
            in_flight=self._in_flight,
            last_error=self._last_error,
            stderr_tail=list(self._stderr)[-_TAIL_LINES:],
        )

    async def _live(self) -> None:
        """Own the process: start it, wait for its end, start it again as the policy says. Cancelled by `stop`."""
        quick_crashes = 0
        while True:
            ended = await self._run_once()
            following = after_exit(ended, quick_crashes, self._settings.restart, chance=self._chance.random())
            quick_crashes = following.quick_crashes
            words = _last_words(self._stderr, self.spec.path, served=ended.served_s is not None)
            self._last_error = f"{following.reason} {words}".strip()
            log.warning("engine %s: %s", self.spec.model_id, self._last_error)
            if following.delay_s is None:
                return self._fail()
            self._restarts += 1
            self._set("restarting")
            await self._clock.sleep(following.delay_s)
            self._set("starting")

    async def _run_once(self) -> EngineExit:
        """Start the process, wait for its end, and leave none behind, also when cancelled."""
        began_s = self._clock.monotonic()
        self._stderr.clear()
        flags = child_arguments(self.spec, cores=self._settings.cores)
        child = self._child = await self._spawn(flags, self._settings.environ)
        helpers = [asyncio.create_task(self._keep_stderr(child))]
        try:
            port = await self._started(child)
            if port is None:
                return EngineExit(code=child.returncode, served_s=None)
            ready_s = self._last_used_s = self._clock.monotonic()
            self._port, self._load_time_s = port, ready_s - began_s
            self._set("ready")
            if self.spec.idle_s is not None and not self.spec.pinned:
                helpers.append(asyncio.create_task(self._unload_when_idle(port, self.spec.idle_s)))
            code = await child.wait()
            return EngineExit(code=code, served_s=self._clock.monotonic() - ready_s)
        finally:
            self._port = None
            await end_child(child, self._clock, grace_s=self._settings.stop_grace_s)
            self._child = None
            await self._end_helpers(helpers)

    async def _started(self, child: ChildProcess) -> int | None:
        """Return the port of the healthy engine; None when the process ended, or was not ready in time, instead."""
        try:
            async with self._clock.timeout(self._settings.start_timeout_s):
                port = await announced_port(child)
                if port is None:
                    await child.wait()
                    return None
                healthy = asyncio.create_task(until_healthy(port, self._clock))
                ended = asyncio.create_task(child.wait())
                try:
                    await asyncio.wait({healthy, ended}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    healthy.cancel()
                    ended.cancel()
                return None if ended.done() and not ended.cancelled() else port
        except TimeoutError:
            return None

    async def _keep_stderr(self, child: ChildProcess) -> None:
        async for line in read_lines(child.stderr):
            self._stderr.append(line)
            log.debug("%s: %s", self.spec.model_id, line)

    async def _unload_when_idle(self, port: int, idle_s: float) -> None:
        while (left_s := self._last_used_s + idle_s - self._clock.monotonic()) > 0 or self._in_flight:
            await self._clock.sleep(max(left_s, idle_s / 10))
            if await is_busy(port, self._clock):
                self._last_used_s = self._clock.monotonic()
        log.info("engine %s: unloaded after %.0f s without a request", self.spec.model_id, idle_s)
        self._begin_stop()

    async def _end_helpers(self, helpers: list[asyncio.Task[None]]) -> None:
        """Let the log be read to its end (the pipe closes with the process) and end the rest."""
        for helper in helpers[1:]:
            helper.cancel()
        try:
            async with self._clock.timeout(_LOG_END_S):
                await helpers[0]
        except TimeoutError:  # somebody else holds the pipe open
            pass

    def _begin_stop(self) -> None:
        if self._task is not None and not self._task.done() and self.state != "stopping":
            self._set("stopping")
            self._task.cancel()

    async def _leave_stopping(self) -> None:
        while self.state == "stopping":
            await self._settled.wait()

    def _finished(self, task: asyncio.Task[None]) -> None:
        """Settle the state when the owning task is over, however it ended (cancelled before it began, too)."""
        if task is not self._task:
            return
        problem = None if task.cancelled() else task.exception()
        if problem is not None:  # the process could not even be made
            self._last_error = f"It could not be started: {problem}."
            log.error("engine %s: %s", self.spec.model_id, self._last_error, exc_info=problem)
            self._fail()
        elif self.state != "failed":
            self._set("stopped")

    def _fail(self) -> None:
        self._retry_at_s = self._clock.monotonic() + self._settings.restart.failed_rest_s
        self._set("failed")

    def _set(self, state: EngineState) -> None:
        self.state = state
        if state in ("ready", "failed", "stopped"):
            self._settled.set()
        else:
            self._settled.clear()

    def _failure(self) -> ProviderUnreachable:
        reason = self._last_error if self.state == "failed" else "It was stopped."
        rest_s = max(0.0, self._retry_at_s - self._clock.monotonic()) if self.state == "failed" else None
        return ProviderUnreachable(
            f"The local engine of {self.spec.model_id} does not run. {reason}",
            model=self.spec.model_id,
            provider="local",
            retry_after_s=rest_s,
            details={"stderr": list(self._stderr)[-_TAIL_LINES:]},
        )


def _last_words(lines: deque[str], path: str, *, served: bool) -> str:
    """Return the first line that the engine marked as an error, without the model's folder.

    Without one: the last line if it never served, for that is what a refused setting leaves; else nothing, for that is chatter.
    """
    errors = [line.partition(" E ")[2].strip() for line in lines if " E " in line]
    if not errors and not served:
        errors = [line for line in reversed(lines) if line]
    return errors[0].replace(path, Path(path).name) if errors else ""


def _rss_bytes(pid: int | None) -> int | None:
    import psutil  # 13 ms, needed for a status only

    if pid is None:
        return None
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
