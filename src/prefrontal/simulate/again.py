"""The same decisions put to somebody else: recorded traffic under another policy."""

from __future__ import annotations

from collections.abc import Sequence

from prefrontal.clock import Clock
from prefrontal.simulate.desk import Desk, Row
from prefrontal.simulate.loop import Simulation
from prefrontal.simulate.meter import Meter
from prefrontal.simulate.outcome import Outcome, Plan, Progress, cpu_now_s, run_of, write
from prefrontal.simulate.report import report_of
from prefrontal.simulate.situations import Situation
from prefrontal.simulate.traffic import Traffic
from prefrontal.simulate.world import World

RECORDED = "as recorded"


async def simulate_again(
    plan: Plan, recorded: Desk, desk: Desk, clock: Clock, *, progress: Progress | None = None
) -> tuple[Outcome, Outcome]:
    """Let a recording drive the world and put each of its situations to `desk` too; return what came of both."""
    simulation = Simulation(plan.scenario, plan.seed)
    pair = _Pair(plan, simulation.world, clock, simulation.decisions, progress)
    both = _Both(recorded, desk)

    def watch(minute: int, done: int, asked: Sequence[Situation], rows: Sequence[Row]) -> None:
        pair.take(minute, done, asked, rows, both.other)

    await simulation.run(both, watch)
    return pair.outcomes()


async def decide_again(
    plan: Plan, traffic: Traffic, desk: Desk, clock: Clock, *, progress: Progress | None = None
) -> tuple[Outcome, Outcome]:
    """Put other traffic to `desk`, minute by minute; return what it was and what came of it."""
    pair = _Pair(plan, traffic.world, clock, traffic.decisions, progress)
    for done, (minute, asked, rows) in enumerate(traffic.ticks, 1):
        pair.take(minute, done, asked, rows, await desk.decide(minute, asked))
    return pair.outcomes()


class _Pair:
    """Counts what was decided and what is decided now, side by side."""

    def __init__(self, plan: Plan, world: World, clock: Clock, total: int, progress: Progress | None) -> None:
        self._plan = plan
        self._clock = clock
        self._began, self._cpu_s = clock.monotonic(), cpu_now_s()
        self._total = total
        self._progress = progress
        self._old, self._new = (Meter(world, virtual=plan.virtual) for _ in range(2))
        self._alike = 0

    def take(self, minute: int, done: int, asked: Sequence[Situation], old: Sequence[Row], new: Sequence[Row]) -> None:
        """Count one tick."""
        self._alike += sum([before.answer == after.answer for before, after in zip(old, new, strict=True)])
        self._old.take(minute, done, asked, old)
        self._new.take(minute, done, asked, new)
        if self._progress is not None:
            self._progress(self._new.total, self._total, self._new.cost_usd)

    def outcomes(self) -> tuple[Outcome, Outcome]:
        """Return both sides; write the files of the new one."""
        plan = self._plan
        run = run_of(plan, self._new, self._clock.monotonic() - self._began, cpu_now_s() - self._cpu_s, 0)
        old = report_of(plan.scenario, self._old, seed=plan.seed, policy=RECORDED)
        new = report_of(plan.scenario, self._new, seed=plan.seed, policy=plan.policy)
        new["agreement"] = round(self._alike / max(1, self._new.total), 6)
        if plan.folder is not None:
            plan.folder.mkdir(parents=True, exist_ok=True)
            write(plan.folder, new, run, beside=old)
        return Outcome(report=old, run={}), Outcome(report=new, run=run, folder=plan.folder)


class _Both:
    """Lets one desk decide and another be asked the same; `other` is what that one said last."""

    def __init__(self, first: Desk, second: Desk) -> None:
        self._first = first
        self._second = second
        self.other: Sequence[Row] = ()

    async def decide(self, minute: int, situations: Sequence[Situation]) -> Sequence[Row]:
        rows = await self._first.decide(minute, situations)
        self.other = await self._second.decide(minute, situations)
        return rows
