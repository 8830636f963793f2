"""The simulated world: the same seed goes the same way, and what is answered decides which way that is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from prefrontal.config.schema_decisions import Decisions
from prefrontal.contracts.decision import NO_CONTEXT
from prefrontal.decisions.distribution import mode
from prefrontal.decisions.types import Types
from prefrontal.simulate.desk import Row, checksum
from prefrontal.simulate.effects import EFFECTS
from prefrontal.simulate.load import load_scenario
from prefrontal.simulate.loop import Simulation
from prefrontal.simulate.meter import Meter
from prefrontal.simulate.report import report_bytes, report_of
from prefrontal.simulate.schema import Scenario
from prefrontal.simulate.situations import Situation
from prefrontal.simulate.types import shipped_types, types_of
from prefrontal.simulate.world import Calendar

Office = Callable[..., Scenario]


class RuleDesk:
    """Decides by the rules, but for the decisions it is told otherwise: (number of the decision) → answer."""

    def __init__(self, scenario: Scenario, other: dict[int, str | bool] | None = None) -> None:
        self._types = Types(msgspec.convert({"types": types_of(scenario)}, Decisions))
        self._other = other or {}
        self.asked: list[tuple[str, int]] = []
        self.situations: list[Situation] = []

    async def decide(self, minute: int, situations: Sequence[Situation]) -> list[Row]:
        rows = []
        for one in situations:
            known = self._types.registered[one.type]
            probabilities, finding = known.fallback.answer(one.state, NO_CONTEXT)
            assert finding is None, (one.type, finding)
            answer = self._other.get(len(self.asked), known.question.values[mode(probabilities)])
            self.asked.append((one.type, checksum(one.state)))
            self.situations.append(one)
            rows.append(row(minute, one, answer))
        return rows


def row(minute: int, one: Situation, answer: str | bool) -> Row:
    return Row(
        at=minute,
        agent=one.agent.index,
        type=one.type,
        state=checksum(one.state),
        answer=answer,
        confidence=1.0,
        source="rule",
        tier=0,
        model=None,
        cached=False,
        cost_usd=0.0,
        latency_ms=0.0,
        attempts=0,
        fallback="no_model",
        tier_reason=None,
        degraded_by=None,
    )


def run(scenario: Scenario, other: dict[int, str | bool] | None = None, seed: int = 7) -> tuple[RuleDesk, bytes]:
    simulation, desk = Simulation(scenario, seed), RuleDesk(scenario, other)
    meter = Meter(simulation.world, virtual=True)
    asyncio.run(simulation.run(desk, meter.take))
    assert meter.total == simulation.decisions
    return desk, report_bytes(report_of(scenario, meter, seed=seed, policy=None))


def test_the_same_seed_goes_the_same_way(office: Office) -> None:
    """Twice the same run gives the same decisions and the same bytes; another seed gives others."""
    scenario = office(days=5)
    first, second, other = run(scenario), run(scenario), run(scenario, seed=8)
    assert first[1] == second[1]
    assert first[0].asked == second[0].asked
    assert first[1] != other[1]


def test_one_answer_changes_the_trajectory(office: Office) -> None:
    """A single decision answered otherwise changes what is asked from then on, and nothing before."""
    scenario = office(days=5)
    usual, report = run(scenario)
    at = next(n for n, one in enumerate(usual.situations) if one.type == "next_action" and one.state["status"] == "working")
    changed, other = run(scenario, {at: "report_blocked"})
    assert changed.asked[: at + 1] == usual.asked[: at + 1]
    assert changed.asked[at + 1 :] != usual.asked[at + 1 :]
    assert report != other


def test_every_type_is_asked_and_has_an_effect() -> None:
    """The shipped types, their effects and what the shipped scenario asks are the same seventeen; shares are near the seed's."""
    assert set(EFFECTS) == set(shipped_types())
    scenario = msgspec.structs.replace(load_scenario("engineering"), days=25)
    desk, report = run(scenario)
    assert {name for name, _ in desk.asked} == set(EFFECTS)
    shares = msgspec.json.decode(report)["decisions"]["by_tier_of_type"]
    assert 0.75 < shares["tier_1"]["share"] < 0.92
    assert 0.005 < shares["tier_3"]["share"] < 0.04


def test_each_answer_of_each_type_changes_something(office: Office) -> None:
    """For every type that comes up, another answer than the rule's leads elsewhere."""
    scenario = office(days=5, projects={"book": {"at_start": 9}})
    usual, _ = run(scenario)
    types = Types(msgspec.convert({"types": types_of(scenario)}, Decisions)).registered
    tries: Counter[str] = Counter()
    moved: set[str] = set()
    for at, (name, _) in enumerate(usual.asked[: len(usual.asked) // 2]):
        if name in moved or tries[name] == 8:
            continue
        tries[name] += 1  # the place in an empty queue is the same whatever is answered: then the next time counts
        if any(run(scenario, {at: value})[0].asked != usual.asked for value in types[name].question.values):
            moved.add(name)
    assert len(moved) >= 10
    assert moved == set(tries)


def test_shared_resources_are_never_over_used(office: Office) -> None:
    """No more tasks hold a resource than it has room for, and those who wait are counted."""
    scenario = office(resources={"desk": 1}, days=6)
    simulation = Simulation(scenario, 7)
    most = 0

    def watch(minute: int, done: int, asked: Sequence[Situation], rows: Sequence[Row]) -> None:
        nonlocal most
        most = max(most, len(simulation.world.resources["desk"].holders))

    asyncio.run(simulation.run(RuleDesk(scenario), watch))
    assert most == 1
    assert simulation.world.resources["desk"].waits > 0


def test_working_days_skip_weekends() -> None:
    """Day numbers, dates and deadlines count Monday to Friday; a Saturday start moves to Monday."""
    calendar = Calendar("2026-01-03", 6)
    assert calendar.text(0) == "2026-01-05 00:00"
    assert calendar.days == [0, 1, 2, 3, 4, 7]
    assert [calendar.day(day * 1440 + 60) for day in calendar.days] == [0, 1, 2, 3, 4, 5]
    assert calendar.text(calendar.after(4 * 1440, 1)) == "2026-01-12 00:00"


def test_a_shift_may_go_on_after_midnight(office: Office) -> None:
    """Every agent makes all its decisions of a day, whenever its shift begins."""
    scenario = office(shifts={"day": "22:00"}, days=2)
    desk, _ = run(scenario)
    assert len(desk.asked) == 6 * 16 * 2
