"""How much memory the local engines use: now, on average and at most, since each one's process began."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from prefrontal.clock import Clock
from prefrontal.execute.engine.local import EngineStatus

log = logging.getLogger(__name__)

SAMPLE_S = 10.0
"""How often the engines are measured (assumed: as often as the host; one engine costs 0.1 ms)."""


class MemoryOf(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one kind of memory. Means and peaks are of samples, those of now included."""

    now_bytes: int
    mean_bytes: int
    peak_bytes: int


class EngineUse(msgspec.Struct, frozen=True, kw_only=True):
    """One engine's memory; None: not measured. rss: resident in main memory. vram: on NVIDIA accelerators."""

    model: str
    rss: MemoryOf | None = None
    vram: MemoryOf | None = None


class Accelerators(Protocol):
    """What can be measured on accelerators."""

    def used_bytes(self) -> Mapping[int, int]:
        """Return the memory in use by process id, over all accelerators. Blocks for milliseconds."""
        ...


class Nvml:
    """Asks NVIDIA's management library, through the package ``pynvml`` where it is installed. Never raises.

    load: imports a module; replaced in tests.
    """

    def __init__(self, load: Callable[[str], Any] = importlib.import_module) -> None:
        self._load = load
        self._library: Any = None
        self._absent = False

    def used_bytes(self) -> Mapping[int, int]:
        """Return the memory by process id; nothing where the package, a driver or an accelerator is missing."""
        library = self._opened()
        if library is None:
            return {}
        used: dict[int, int] = {}
        try:
            for index in range(library.nvmlDeviceGetCount()):
                handle = library.nvmlDeviceGetHandleByIndex(index)
                for process in library.nvmlDeviceGetComputeRunningProcesses(handle):
                    if process.usedGpuMemory is not None:  # some drivers do not tell
                        used[process.pid] = used.get(process.pid, 0) + int(process.usedGpuMemory)
        except library.NVMLError as error:
            log.debug("accelerators cannot be measured: %s", error)
        return used

    def _opened(self) -> Any:
        if self._library is None and not self._absent:
            try:
                library = self._load("pynvml")
            except ImportError:
                self._absent = True
                return None
            try:
                library.nvmlInit()
            except library.NVMLError as error:
                log.debug("there is no accelerator to measure: %s", error)
                self._absent = True
                return None
            self._library = library
        return self._library


class _Samples:
    """What one process used."""

    def __init__(self) -> None:
        self.now = self.count = self.total = self.peak = 0

    def add(self, used_bytes: int) -> None:
        self.now = used_bytes
        self.count += 1
        self.total += used_bytes
        self.peak = max(self.peak, used_bytes)

    def shown(self) -> MemoryOf | None:
        if not self.count:
            return None
        return MemoryOf(now_bytes=self.now, mean_bytes=round(self.total / self.count), peak_bytes=self.peak)


class _Process:
    """One engine's process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.rss = _Samples()
        self.vram = _Samples()


class EngineMemory:
    """Measures every running engine each `SAMPLE_S` seconds. Owned by one event loop; bounded by the number of engines."""

    def __init__(self, status: Callable[[], list[EngineStatus]], *, clock: Clock, accelerators: Accelerators) -> None:
        self._status = status
        self._clock = clock
        self._accelerators = accelerators
        self._processes: dict[str, _Process] = {}
        self._task: asyncio.Task[None] | None = None

    async def measure(self) -> None:
        """Take one sample of each running engine; engines that are down are forgotten."""
        statuses = [status for status in self._status() if status.pid is not None]
        used = await asyncio.to_thread(self._accelerators.used_bytes) if statuses else {}
        kept: dict[str, _Process] = {}
        for status in statuses:
            pid = status.pid or 0
            known = self._processes.get(status.model_id)
            process = kept[status.model_id] = known if known is not None and known.pid == pid else _Process(pid)
            if status.rss_bytes is not None:
                process.rss.add(status.rss_bytes)
            if pid in used:
                process.vram.add(used[pid])
        self._processes = kept

    def of(self, model: str) -> EngineUse:
        """Return what is known of one engine."""
        process = self._processes.get(model)
        if process is None:
            return EngineUse(model=model)
        return EngineUse(model=model, rss=process.rss.shown(), vram=process.vram.shown())

    def start(self) -> None:
        """Begin to measure."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep_measuring(), name="engine memory")

    async def close(self) -> None:
        """Stop measuring."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _keep_measuring(self) -> None:
        while True:
            await self._clock.sleep(SAMPLE_S)
            await self.measure()
