"""What can be measured on this host."""

from __future__ import annotations

from typing import Protocol

import msgspec


class MemoryUse(msgspec.Struct, frozen=True, kw_only=True):
    """Memory or disk in bytes."""

    total_bytes: int
    available_bytes: int


class HostMetrics(Protocol):
    """Measurements of the host that runs this process. None where the system does not tell."""

    def cpu_percent(self) -> float | None:
        """Return the share of CPU time used since the last call, over all cores, in [0, 100]; None on the first call."""
        ...

    def cpu_cores(self) -> int | None:
        """Return the number of logical cores."""
        ...

    def load_average(self) -> tuple[float, float, float] | None:
        """Return the load averages over 1, 5 and 15 minutes."""
        ...

    def memory(self) -> MemoryUse | None:
        """Return total and available memory."""
        ...

    def disk(self) -> MemoryUse | None:
        """Return size and free space of the file system that holds the working directory."""
        ...

    def boot_time_s(self) -> float | None:
        """Return when the host started, in seconds since the Unix epoch."""
        ...


class PsutilHost:
    """HostMetrics by psutil, which is imported with the first measurement."""

    def __init__(self) -> None:
        self._measured_cpu = False

    def cpu_percent(self) -> float | None:
        """Never waits: the first call starts the measurement and returns None."""
        import psutil

        percent = float(psutil.cpu_percent(interval=None))
        first, self._measured_cpu = not self._measured_cpu, True
        return None if first else percent

    def cpu_cores(self) -> int | None:
        """Return the number of logical cores."""
        import psutil

        return psutil.cpu_count(logical=True)

    def load_average(self) -> tuple[float, float, float] | None:
        """Return the load averages over 1, 5 and 15 minutes."""
        import psutil

        return psutil.getloadavg()

    def memory(self) -> MemoryUse | None:
        """Return total and available memory."""
        import psutil

        memory = psutil.virtual_memory()
        return MemoryUse(total_bytes=memory.total, available_bytes=memory.available)

    def disk(self) -> MemoryUse | None:
        """Return size and free space of the file system that holds the working directory."""
        import psutil

        disk = psutil.disk_usage(".")
        return MemoryUse(total_bytes=disk.total, available_bytes=disk.free)

    def boot_time_s(self) -> float | None:
        """Return when the host started, in seconds since the Unix epoch."""
        import psutil

        return float(psutil.boot_time())
