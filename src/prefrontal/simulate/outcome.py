"""One run from its first tick to its files: recording, report.json, run.json, report.html."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from prefrontal.clock import Clock
from prefrontal.errors import Conflict, InvalidRequest
from prefrontal.simulate.desk import Desk, Engine, Head, Journal, Recording, ResumedDesk, Row
from prefrontal.simulate.html import page
from prefrontal.simulate.loop import Simulation
from prefrontal.simulate.meter import Meter
from prefrontal.simulate.report import fingerprint, latency_of, report_bytes, report_of
from prefrontal.simulate.schema import Scenario
from prefrontal.simulate.situations import Situation
from prefrontal.simulate.world import Agent

RECORDING, REPORT, RUN, PAGE = "recording.jsonl", "report.json", "run.json", "report.html"

Progress = Callable[[int, int, float], None]
"""Called after each tick with the decisions made, those of the whole run, and the cost so far, USD."""


Restore = Callable[[Sequence[Row], Sequence[Agent]], None]
"""Called with decisions that were made before the run was cut short, and all agents."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run gave. run: what is not the same each time: wall time, memory, measured latency. folder: where its files are."""

    report: dict[str, Any]
    run: dict[str, Any]
    folder: Path | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run. virtual: latencies are of virtual time. folder: for the files; None: none are written."""

    scenario: Scenario
    seed: int
    policy: str | None
    engine: Engine
    virtual: bool
    folder: Path | None = None
    resume: bool = False

    @property
    def head(self) -> Head:
        """Return the first line of its recording."""
        return Head(
            name=self.scenario.name,
            fingerprint=fingerprint(self.scenario),
            seed=self.seed,
            policy=self.policy,
            engine=self.engine,
            virtual=self.virtual,
            scenario=self.scenario,
        )


def unfinished(plan: Plan) -> Recording | None:
    """Return the journal of a run that was cut short and is to go on; None: the run begins anew.

    Raises:
        Conflict: there is one and `resume` was not asked for. InvalidRequest: it is of another run.
    """
    folder = plan.folder
    if folder is None or not (folder / RECORDING).exists() or (folder / REPORT).exists():
        return None
    if not plan.resume:
        raise Conflict(f"{folder} holds a run that was cut short.", hint="--resume goes on with it; else name another --out.")
    recording, head = Recording(folder / RECORDING), plan.head
    found = recording.head
    for field in ("fingerprint", "seed", "policy", "engine"):
        if getattr(found, field) != getattr(head, field):
            told = f"The run in {folder} is of another {field}: {getattr(found, field)}, not {getattr(head, field)}."
            raise InvalidRequest(told, param=field)
    return recording


async def carry_out(
    plan: Plan,
    desk: Desk,
    clock: Clock,
    *,
    progress: Progress | None = None,
    before: Recording | None = None,
    restore: Restore | None = None,
) -> Outcome:
    """Run a plan to its end and write its files. clock: the machine's own. before: the journal to go on from.

    Raises:
        InvalidRequest: the journal, or the recording that is replayed, is of something else.
    """
    began, cpu_s = clock.monotonic(), cpu_now_s()
    simulation = Simulation(plan.scenario, plan.seed)
    meter = Meter(simulation.world, virtual=plan.virtual)
    resumed: ResumedDesk | None = None
    if before is not None:
        agents = simulation.world.agents
        told = None if restore is None else lambda rows: restore(rows, agents)
        resumed = ResumedDesk(before, desk, again=plan.virtual, restore=told)
    book = _Book(plan, before)

    def watch(minute: int, done: int, asked: Sequence[Situation], rows: Sequence[Row]) -> None:
        if resumed is None or resumed.fresh:
            book.write(rows)
        meter.take(minute, done, asked, rows)
        if progress is not None:
            progress(meter.total, simulation.decisions, meter.cost_usd)

    try:
        await simulation.run(desk if resumed is None else resumed, watch)
    finally:
        book.close()
    report = report_of(plan.scenario, meter, seed=plan.seed, policy=plan.policy)
    run = run_of(plan, meter, clock.monotonic() - began, cpu_now_s() - cpu_s, 0 if resumed is None else resumed.resumed)
    if plan.folder is not None:
        write(plan.folder, report, run)
    return Outcome(report=report, run=run, folder=plan.folder)


class _Book:
    """The journal of a plan, begun when the first decision is to be written."""

    def __init__(self, plan: Plan, before: Recording | None) -> None:
        self._path = None if plan.folder is None or plan.engine == "recorded" else plan.folder / RECORDING
        self._plan = plan
        self._before = before
        self._journal: Journal | None = None
        if plan.folder is not None:
            plan.folder.mkdir(parents=True, exist_ok=True)
        if self._path is not None and before is None:
            for name in (REPORT, RUN, PAGE):
                self._path.with_name(name).unlink(missing_ok=True)

    def write(self, rows: Sequence[Row]) -> None:
        """Write the decisions of one tick."""
        if self._path is None:
            return
        if self._journal is None:
            keep_bytes = 0 if self._before is None else self._before.whole_bytes
            self._journal = Journal(self._path, self._plan.head, keep_bytes=keep_bytes)
        self._journal.write(rows)

    def close(self) -> None:
        """Close the file."""
        if self._journal is not None:
            self._journal.close()


def write(folder: Path, report: Mapping[str, Any], run: Mapping[str, Any], *, beside: Mapping[str, Any] | None = None) -> None:
    """Write the three files of a run; the report last, because it marks the run as finished. beside: shown with it."""
    shown = [report] if beside is None else [beside, report]
    (folder / PAGE).write_text(page(shown, [*[{} for _ in shown[1:]], run]), "utf-8")
    (folder / RUN).write_bytes(report_bytes(run))
    (folder / REPORT).write_bytes(report_bytes(report))


def run_of(plan: Plan, meter: Meter, wall_s: float, cpu_s: float, resumed: int) -> dict[str, Any]:
    """Return what of a run is not the same each time."""
    found: dict[str, Any] = {
        "engine": plan.engine,
        "wall_s": round(wall_s, 3),
        "cpu_s": round(cpu_s, 3),
        "decisions_per_s": round(meter.total / wall_s) if wall_s > 0 else None,
        "max_memory_mb": round(_memory_mb()),
        "resumed_decisions": resumed,
    }
    if not plan.virtual:
        found["latency"] = latency_of(meter)
    return found


def cpu_now_s() -> float:
    """Return the processor time this process has used, s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory_mb() -> float:
    """Return the most memory this process has had; Linux counts it in kilobytes, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform.startswith("linux") else 1_048_576)
