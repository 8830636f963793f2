"""Runs simulations and tells of them: a line that moves while they run, tables and files at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from prefrontal.cli.screen import BOLD, Screen
from prefrontal.cli.words import duration
from prefrontal.clock import Clock
from prefrontal.errors import InvalidRequest

if TYPE_CHECKING:
    from prefrontal.app.simulation import Wanted
    from prefrontal.simulate.outcome import Outcome

REPLAY = "replay"
REFRESH_S = 0.2
BAR = 24


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    scenario: str | None
    recorded: Path | None
    engine: Any
    policies: tuple[str, ...]
    compare: tuple[str, ...]
    seed: int | None
    out: Path | None
    resume: bool
    recording: Path | None
    config: Path | None


async def simulate(asked: Asked, screen: Screen, clock: Clock, *, as_json: bool) -> None:
    """Do what was asked and tell of it. Raises InvalidRequest for options that do not go together."""
    _check(asked)
    if asked.scenario == REPLAY:
        outcomes = await _replay(asked, screen, clock)
    else:
        outcomes = [await _run(wanted, screen, clock) for wanted in _wanted(asked)]
    if len(outcomes) > 1 and asked.out is not None and asked.scenario != REPLAY:
        _write_compared(asked.out, outcomes)
    if as_json:
        found = [{"report": outcome.report, "run": outcome.run} for outcome in outcomes]
        screen.json(found[0] if len(found) == 1 else found)
        return
    _tell(outcomes, screen)
    if asked.out is not None:
        screen.note(f"written to {asked.out}")


def _check(asked: Asked) -> None:
    from prefrontal.simulate.load import shipped

    if asked.compare and (asked.scenario is not None or asked.resume):
        raise InvalidRequest("--compare names its two scenarios itself, and does not resume.")
    if not asked.compare and asked.scenario is None:
        raise InvalidRequest(
            "Nothing was named to simulate.", hint=f"Name a file, or a shipped scenario: {', '.join(shipped())}."
        )
    if (asked.scenario == REPLAY) != (asked.recorded is not None):
        raise InvalidRequest("A recording is replayed as `simulate replay RECORDING`.")
    if asked.scenario == REPLAY and len(asked.policies) > 1:
        raise InvalidRequest("Traffic is replayed under one policy at a time.")
    if asked.resume and asked.out is None:
        raise InvalidRequest("--resume needs the --out of the run that was cut short.")


def _wanted(asked: Asked) -> list[Wanted]:
    """Return the runs that were asked for."""
    from prefrontal.app.simulation import Wanted
    from prefrontal.simulate.load import load_scenario

    policies: Sequence[str | None] = asked.policies or (None,)
    names = asked.compare or (asked.scenario or "",)
    runs = [(load_scenario(name), policy, Path(name).stem) for name in names for policy in policies]
    found = []
    for scenario, policy, stem in runs:
        folder = asked.out
        if folder is not None and len(runs) > 1:
            said = [stem] if len(names) > 1 else []
            folder = folder / "-".join([*said, *([Path(policy).stem] if policy and len(policies) > 1 else [])])
        found.append(
            Wanted(
                scenario=scenario,
                engine=asked.engine,
                seed=asked.seed,
                policy=policy,
                folder=folder,
                resume=asked.resume,
                recording=asked.recording,
                config=asked.config,
            )
        )
    return found


async def _run(wanted: Wanted, screen: Screen, clock: Clock) -> Outcome:
    from prefrontal.app.simulation import simulate as run

    with _Line(screen, clock) as line:
        return await run(wanted, clock, progress=line.show)


async def _replay(asked: Asked, screen: Screen, clock: Clock) -> list[Outcome]:
    from prefrontal.app.replaying import replay

    assert asked.recorded is not None
    policy = asked.policies[0] if asked.policies else None
    with _Line(screen, clock) as line:
        return list(
            await replay(
                asked.recorded, clock, policy=policy, engine=asked.engine, out=asked.out, config=asked.config, progress=line.show
            )
        )


def _write_compared(folder: Path, outcomes: Sequence[Outcome]) -> None:
    from prefrontal.simulate.html import page
    from prefrontal.simulate.report import report_bytes

    reports, runs = [one.report for one in outcomes], [one.run for one in outcomes]
    (folder / "compare.html").write_text(page(reports, runs), "utf-8")
    (folder / "compare.json").write_bytes(report_bytes({"reports": reports}))


def _tell(outcomes: Sequence[Outcome], screen: Screen) -> None:
    """Write the figures of one run, or of several side by side."""
    from prefrontal.simulate.html import rows_of

    first = outcomes[0].report["scenario"]
    screen.line(
        f"{first['name']}: {first['agents']} agents, {first['days']} days, {first['decisions']:,} decisions, seed "
        f"{first['seed']}",
        BOLD,
    )
    rows = rows_of([one.report for one in outcomes], [one.run for one in outcomes])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        screen.line(
            "  ".join([row[0].ljust(widths[0]), *[cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]])
        )
    for outcome in outcomes:
        _tell_jams(outcome, screen, several=len(outcomes) > 1)
    for outcome in outcomes:
        if "agreement" in outcome.report:
            screen.line(f"decided alike: {100 * outcome.report['agreement']:.1f} %")


def _tell_jams(outcome: Outcome, screen: Screen, *, several: bool) -> None:
    report = outcome.report
    name = f"{report['scenario']['policy']}: " if several else ""
    found = report["bottlenecks"]
    jams = [
        f"{key} ({100 * one['utilisation']:.0f} %)" for kind in found.values() for key, one in kind.items() if one["bottleneck"]
    ]
    if jams:
        screen.line(f"{name}bottlenecks: {', '.join(jams)}")
    for title, key in (("degraded", "degraded"), ("answered by rule", "fallbacks")):
        reasons = report[key]["by_reason"]
        if reasons:
            screen.line(f"{name}{title}: " + ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()))


class _Line:
    """Shows how far a run is, on a terminal only, a few times a second."""

    def __init__(self, screen: Screen, clock: Clock) -> None:
        self._screen = screen
        self._clock = clock
        self._began = clock.monotonic()
        self._shown_at: float | None = None

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown_at is not None:
            self._screen.err.write("\r\x1b[K")
            self._screen.err.flush()

    def show(self, done: int, total: int, cost_usd: float) -> None:
        """Write the line anew, when it is time."""
        now = self._clock.monotonic()
        if not self._screen.err_tty or (self._shown_at is not None and now - self._shown_at < REFRESH_S):
            return
        self._shown_at = now
        share = done / max(1, total)
        rate = done / max(now - self._began, 1e-3)
        bar = "#" * int(BAR * share)
        left = duration(1000 * (total - done) / max(rate, 1e-3))
        text = f"[{bar:<{BAR}}] {done:,} of {total:,}, {rate:,.0f}/s, ${cost_usd:,.2f}, about {left} left"
        self._screen.err.write(f"\r\x1b[K{text}")
        self._screen.err.flush()
