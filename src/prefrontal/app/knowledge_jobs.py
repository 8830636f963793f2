"""Taking files in beside the traffic: jobs with progress, which every worker of the machine can show and stop.

A job's state is a small file below ``engrams/.jobs``, put in place whole at each change; a lock beside it, which dies with its
process, tells a running job from one whose process was killed; a file ``.stop`` asks it to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from prefrontal.clock import Chance, Clock
from prefrontal.errors import Conflict, NotFound, Overloaded, PrefrontalError

if TYPE_CHECKING:
    from prefrontal.knowledge.ingest.run import Progress, Report, Watcher

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Jobs of one process that run at the same time (assumed: each is a thread that computes)."""

MOST_WAITING = 32
"""Jobs of one process that wait (assumed); uploads are in memory meanwhile."""

KEPT = 50
"""Ended jobs of an engram that are remembered, and files left out that a job names (assumed)."""

WRITE_S = 0.25
State = Literal["waiting", "running", "done", "failed", "stopped"]
ENDED = frozenset({"done", "failed", "stopped"})
Work = Callable[[Path, "Watcher"], "Report"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job: how far it is, and at its end what it did (`report`) or why not (`error`). Times are Unix seconds."""

    id: str
    engram: str
    kind: str
    state: State = "waiting"
    created_s: float = 0.0
    started_s: float | None = None
    ended_s: float | None = None
    progress: dict[str, int] = {}
    report: dict[str, Any] | None = None
    error: dict[str, str] | None = None


class _Stop(Exception):
    """The job was asked to stop."""


class Jobs:
    """The jobs of the engrams of a folder. Belongs to one event loop; what it shows is that of all processes."""

    def __init__(self, folder: Path, *, clock: Clock, chance: Chance) -> None:
        self._folder = folder
        self._clock = clock
        self._chance = chance
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._turns: dict[str, asyncio.Lock] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing = False

    def start(self, name: str, kind: str, work: Work) -> Job:
        """Begin a job that makes the engram when there is none. Raises Overloaded when too many wait."""
        if len(self._tasks) >= AT_ONCE + MOST_WAITING:
            raise Overloaded("Too many ingests wait.", retry_after_s=5.0)
        now = self._clock.now()
        job = Job(id=self._chance.identifier("job_", now), engram=name, kind=kind, created_s=now)
        place = self._place(name)
        place.mkdir(parents=True, exist_ok=True)
        _forget(place)
        lock = _held(place / f"{job.id}.lock")
        _write(place, job)
        task = asyncio.get_running_loop().create_task(self._run(job, work, lock), name=f"ingest {name}")
        self._tasks[job.id] = task
        task.add_done_callback(lambda _task: self._tasks.pop(job.id, None))
        return job

    def jobs(self, name: str) -> list[Job]:
        """Return the jobs of an engram, the newest first."""
        names = sorted((path.stem for path in self._place(name).glob("job_*.json")), reverse=True)
        return [job for job in (self._read(name, one) for one in names) if job is not None]

    def job(self, name: str, job_id: str) -> Job:
        """Return a job. Raises NotFound."""
        found = self._read(name, job_id) if job_id.isidentifier() else None
        if found is None:
            raise NotFound(f"There is no job '{job_id}' of the engram '{name}'.", hint="Only the latest are remembered.")
        return found

    def stop(self, name: str, job_id: str) -> Job:
        """Ask a job to stop after the files it is at; what it took in by then as whole versions stays. Raises NotFound."""
        job = self.job(name, job_id)
        if job.state not in ENDED:
            (self._place(name) / f"{job_id}.stop").touch()
        return self.job(name, job_id)

    async def ended(self, name: str, job_id: str, wait_s: float) -> Job:
        """Return a job of this process when it has ended, or as it is after `wait_s` seconds."""
        task = self._tasks.get(job_id)
        if task is not None and wait_s > 0:
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(wait_s):
                    await asyncio.shield(task)
        return self.job(name, job_id)

    def drop(self, name: str) -> None:
        """Forget the jobs of an engram that was removed. Raises Conflict while one is under way."""
        if any(job.state not in ENDED for job in self.jobs(name)):
            raise Conflict(f"A job is at work on the engram '{name}'.", hint="Stop it, or wait for its end.")
        shutil.rmtree(self._place(name), ignore_errors=True)

    async def aclose(self) -> None:
        """Stop all jobs of this process and wait for their threads."""
        self._closing = True
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, job: Job, work: Work, lock: int) -> None:
        place = self._place(job.engram)
        try:
            async with self._turns.setdefault(job.engram, asyncio.Lock()), self._gate:
                job = msgspec.structs.replace(job, state="running", started_s=self._clock.now())
                _write(place, job)
                job = await asyncio.to_thread(self._work, job, work, place)
                _write(place, msgspec.structs.replace(job, ended_s=self._clock.now()))
        except OSError as error:  # the disk is full or gone: nobody can be told but the log
            log.error("the state of the job %s was not written: %s", job.id, error)
        finally:
            os.close(lock)
            (place / f"{job.id}.stop").unlink(missing_ok=True)

    def _work(self, job: Job, work: Work, place: Path) -> Job:
        from prefrontal.knowledge.store.engram import create

        path = self._folder / f"{job.engram}.engram"
        shown_at = self._clock.monotonic()

        def watch(progress: Progress) -> None:
            nonlocal job, shown_at
            job = msgspec.structs.replace(job, progress=msgspec.to_builtins(progress))
            if self._closing or (place / f"{job.id}.stop").exists():
                raise _Stop
            if self._clock.monotonic() - shown_at >= WRITE_S:
                shown_at = self._clock.monotonic()
                _write(place, job)

        try:
            if self._closing or (place / f"{job.id}.stop").exists():
                raise _Stop
            if not path.exists():
                create(path, clock=self._clock)
            report = _shown(work(path, watch))
        except _Stop:
            return msgspec.structs.replace(job, state="stopped")
        except PrefrontalError as error:
            told = {"code": error.code, "message": error.text.replace(f"{self._folder}/", "")}
            return msgspec.structs.replace(job, state="failed", error=told)
        except Exception as error:  # an edge: a job ends with a word, whatever happened to it
            log.exception("the job %s failed", job.id)
            told = {"code": "internal_error", "message": f"The gateway failed: {type(error).__name__}."}
            return msgspec.structs.replace(job, state="failed", error=told)
        return msgspec.structs.replace(job, state="done", report=report)

    def _place(self, name: str) -> Path:
        return self._folder / ".jobs" / name

    def _read(self, name: str, job_id: str) -> Job | None:
        place = self._place(name)
        try:
            job = msgspec.json.decode((place / f"{job_id}.json").read_bytes(), type=Job)
        except (OSError, msgspec.MsgspecError):
            return None
        if job.state not in ENDED and job_id not in self._tasks and _free(place / f"{job_id}.lock"):
            told = {"code": "interrupted", "message": "The gateway ended while it ran. Whole versions it took in stay."}
            return msgspec.structs.replace(job, state="failed", error=told)
        return job


def _shown(report: Report) -> dict[str, Any]:
    from prefrontal.knowledge.present import printable

    skipped = [{"path": printable(one.path), "reason": one.reason, "detail": printable(one.detail)} for one in report.skipped]
    fields = ("version", "added", "changed", "removed", "unchanged", "chunks", "size_bytes")
    return {name: getattr(report, name) for name in fields} | {"left_out": len(skipped), "skipped": skipped[:KEPT]}


def _write(place: Path, job: Job) -> None:
    fresh = place / f"{job.id}.new"
    fresh.write_bytes(msgspec.json.encode(job))
    os.replace(fresh, place / f"{job.id}.json")


def _held(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _free(path: Path) -> bool:
    """Return whether nobody holds a lock any more."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def _forget(place: Path) -> None:
    """Remove the oldest ended jobs."""
    for path in _oldest(place):
        if _free(path.with_suffix(".lock")):
            for ending in (".json", ".lock", ".stop"):
                path.with_suffix(ending).unlink(missing_ok=True)


def _oldest(place: Path) -> Iterator[Path]:
    yield from sorted(place.glob("job_*.json"))[: -KEPT + 1]
