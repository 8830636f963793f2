"""Simulations through the house: a scenario's policy as a gateway of its own, and its decisions put to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from prefrontal.app.library import Prefrontal
from prefrontal.app.opening import open as open_house
from prefrontal.clock import Chance, Clock
from prefrontal.config.decode import decode
from prefrontal.config.load import read_text
from prefrontal.config.problems import ConfigProblems, Problem, dotted
from prefrontal.config.yaml_source import parse_yaml
from prefrontal.contracts.decision import DecisionAnswer, DecisionContext, DecisionRequest, Question, StateKind
from prefrontal.decisions.types import Types
from prefrontal.errors import ConfigError, InvalidRequest, PrefrontalError
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.ledger.runs import MAX_RUN
from prefrontal.machine.context import LIBRARY
from prefrontal.machine.decide_many import decide_group
from prefrontal.simulate.desk import Engine, RecordedDesk, Recording, Row, checksum
from prefrontal.simulate.load import merged
from prefrontal.simulate.outcome import Outcome, Plan, Progress, carry_out, unfinished
from prefrontal.simulate.profile import ProfileTransport
from prefrontal.simulate.report import fingerprint
from prefrontal.simulate.schema import EngineEntry, Scenario
from prefrontal.simulate.situations import Situation
from prefrontal.simulate.types import types_of
from prefrontal.simulate.virtual import VirtualClock
from prefrontal.simulate.world import DAY_MINUTES, Agent, Calendar

VIRTUAL: tuple[Engine, ...] = ("profile", "scripted")
"""Engines that live in virtual time."""

SIMULATED: dict[str, Any] = {
    "discovery": {"enabled": False},
    "records": {"enabled": False},
    "decisions": {"cache": {"persist": False}},
}
"""What holds for every policy in virtual time: nothing outside of the simulation is looked at or written."""


class HouseDesk:
    """Puts decisions to a Prefrontal: those of one tick at once. Time is the machine's; see `VirtualDesk`."""

    def __init__(self, pf: Prefrontal, types: Types, run: str) -> None:
        self._pf = pf
        self._types = types
        self._run = run
        self._questions: dict[str, Question] = {}
        self._day = -1
        self._allowed: dict[str, int] = {}

    async def decide(self, minute: int, situations: Sequence[Situation]) -> Sequence[Row]:
        """Return one row a situation; see `Desk.decide`."""
        return await asyncio.gather(*[self._one(minute, one) for one in situations])

    async def _one(self, minute: int, one: Situation) -> Row:
        clock = self._pf.clock
        began = clock.monotonic()
        done = await self._pf.decide_all(self.request(one), LIBRARY, self._types)
        return row_of(minute, one, done.response.answers[0], 1000 * (clock.monotonic() - began), checksum(one.state))

    def request(self, one: Situation) -> DecisionRequest:
        """Return a situation as it is asked."""
        question = self._questions.get(one.type)
        if question is None:
            question = self._questions[one.type] = self._types.lookup(one.type)
        context = DecisionContext(
            agent=one.agent.id,
            role=one.agent.role,
            signals=one.signals,
            creativity=one.creativity,
            multi_agent=one.multi_agent,
            novel=one.novel,
        )
        kind: StateKind = "text" if isinstance(one.state, str) else "json"
        return DecisionRequest(state=one.state, state_kind=kind, questions=(question,), context=context, run=self._run)

    def restore(self, rows: Sequence[Row], agents: Sequence[Agent]) -> None:
        """Let what was decided before the process was killed count for allowances; money is in the books already."""
        day = rows[0].at // DAY_MINUTES if rows else self._day
        if day != self._day:
            self._day, self._allowed = day, {}
        for row in rows:
            if row.cost_usd:
                agent = agents[row.agent].id
                self._allowed[agent] = count = self._allowed.get(agent, 0) + 1
                self._pf.decider.allowances.restore(self._run, agent, count)


class VirtualDesk(HouseDesk):
    """The same in virtual time, which passes only while models answer. Answers from the cache take none."""

    def __init__(self, pf: Prefrontal, types: Types, run: str, clock: VirtualClock, transport: ProfileTransport) -> None:
        super().__init__(pf, types, run)
        self._clock = clock
        self._transport = transport

    async def decide(self, minute: int, situations: Sequence[Situation]) -> Sequence[Row]:
        """Return one row a situation; see `Desk.decide`. Raises the error of a decision that is wrong in itself."""
        clock, took = self._clock, self._transport.answered_s
        clock.move_to(minute * 60.0)
        took.clear()
        began = clock.monotonic()
        requests = [self.request(one) for one in situations]
        work = decide_group(
            self._pf.machine,
            self._pf.decider,
            [self._types] * len(requests),
            requests,
            LIBRARY,
            self._pf.world(),
            concurrency=max(1, len(requests)),
        )
        done = await clock.run(work)
        rows = []
        for one, answers in zip(situations, done.answers, strict=True):
            if isinstance(answers, PrefrontalError):
                raise answers
            state = checksum(one.state)
            waited_s = 0.0 if answers[0].cached else max(0.0, took.get(state, began) - began)
            rows.append(row_of(minute, one, answers[0], 1000 * waited_s, state))
        return rows


def row_of(minute: int, one: Situation, answer: DecisionAnswer, latency_ms: float, state: int) -> Row:
    """Return an answer as it is written down."""
    return Row(
        at=minute,
        agent=one.agent.index,
        type=one.type,
        state=state,
        answer=answer.chosen,
        confidence=round(answer.confidence, 6),
        source=answer.source,
        tier=answer.tier,
        model=answer.model,
        cached=answer.cached,
        cost_usd=0.0 if answer.cached else round(answer.cost_usd or 0.0, 9),
        latency_ms=round(latency_ms, 3),
        attempts=answer.attempts,
        fallback=answer.fallback,
        tier_reason=answer.tier_reason,
        degraded_by=answer.degraded_by,
        similar=answer.similar,
        finding=answer.finding,
    )


def types_in(settings: Mapping[str, Any]) -> Types:
    """Return the decision types of settings. Raises ConfigProblems."""
    problems: list[Problem] = []

    def note(path: Any, rule: str, message: str, hint: str | None) -> None:
        problems.append(Problem(path=dotted(path), rule=rule, message=message, hint=hint))

    config = decode(dict(settings), note)
    if config is None or problems:
        raise ConfigProblems(problems)
    return Types(config.decisions)


@asynccontextmanager
async def open_desk(plan: Plan, *, run: str, settings: Mapping[str, Any], config: Any, home: Path) -> AsyncIterator[HouseDesk]:
    """Open a gateway for one run and yield the desk that puts its decisions to it.

    settings: of a gateway in virtual time. config: the gateway of the engine `live`, whose decision types are the scenario's.
    home: where a virtual gateway keeps what it must.

    Raises:
        ConfigError: the settings cannot be used.
    """
    scenario = plan.scenario
    if plan.engine not in VIRTUAL:
        async with open_house(config) as pf:
            entries = types_in({"decisions": {"types": types_of(scenario)}}).settings.types
            own = msgspec.structs.replace(pf.config.decisions, types={**entries, **pf.config.decisions.types})
            yield HouseDesk(pf, Types(own), run)
        return
    tree = merged(SIMULATED, settings)
    types = types_in(tree)
    clock = VirtualClock(Calendar(scenario.start, 1).first.timestamp())
    transport = ProfileTransport(scenario, types, clock, seed=plan.seed, scripted=plan.engine == "scripted")
    env = {"PREFRONTAL_HOME": str(home), "HOME": str(home)}
    async with open_house(
        tree,
        env=env,
        clock=clock,
        chance=Chance(plan.seed),
        transport=transport,
        ledger=MemoryLedger(keep=0),
        wait_for_models=False,
    ) as pf:
        yield VirtualDesk(pf, pf.decisions.types(pf.config.decisions), run, clock, transport)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One simulation as it is asked for.

    policy: the name of one of the scenario's, or a file of settings. recording: what the engine `recorded` plays. config: the
    gateway of the engine `live`.
    """

    scenario: Scenario
    engine: Engine = "profile"
    seed: int | None = None
    policy: str | None = None
    folder: Path | None = None
    resume: bool = False
    recording: Path | None = None
    config: Path | dict[str, Any] | None = None


async def simulate(wanted: Wanted, clock: Clock, *, progress: Progress | None = None) -> Outcome:
    """Run one simulation to its end and write its files. clock: the machine's own.

    Raises:
        ConfigError: the scenario or the policy cannot be used. Conflict, InvalidRequest, NotFound: see `carry_out`.
    """
    if wanted.engine == "recorded":
        return await _recorded(wanted, clock, progress)
    scenario, policy, settings = under_policy(wanted.scenario, wanted.policy, wanted.engine)
    plan = Plan(
        scenario=scenario,
        seed=scenario.seed if wanted.seed is None else wanted.seed,
        policy=policy,
        engine=wanted.engine,
        virtual=wanted.engine in VIRTUAL,
        folder=wanted.folder,
        resume=wanted.resume,
    )
    before = unfinished(plan)
    run = f"simulation {scenario.name} {policy} {plan.seed}"[:MAX_RUN]
    if plan.engine == "live":
        run = f"{run} {wanted.folder.resolve() if wanted.folder else clock.now()}"[-MAX_RUN:]
    with TemporaryDirectory(prefix="prefrontal-simulation-") as home:
        async with open_desk(plan, run=run, settings=settings, config=wanted.config, home=Path(home)) as desk:
            return await carry_out(plan, desk, clock, progress=progress, before=before, restore=desk.restore)


async def _recorded(wanted: Wanted, clock: Clock, progress: Progress | None) -> Outcome:
    """Run a simulation on the answers of a recording. Raises InvalidRequest when it is of another scenario or seed."""
    if wanted.recording is None:
        raise InvalidRequest("The engine recorded needs a recording.", hint="--recording FILE")
    recording = Recording(wanted.recording)
    head = recording.head
    plan = Plan(
        scenario=wanted.scenario,
        seed=head.seed if wanted.seed is None else wanted.seed,
        policy=head.policy,
        engine="recorded",
        virtual=head.virtual,
        folder=wanted.folder,
    )
    if fingerprint(plan.scenario) != head.fingerprint or plan.seed != head.seed:
        raise InvalidRequest(f"{wanted.recording.name} was recorded of another scenario or seed.", param="recording")
    return await carry_out(plan, RecordedDesk(recording), clock, progress=progress)


def under_policy(scenario: Scenario, policy: str | None, engine: Engine) -> tuple[Scenario, str | None, dict[str, Any]]:
    """Return the scenario with the engines its policy adds, the policy's name, and the gateway's settings under it.

    policy: one of the scenario's, or a file of settings, which may hold `engines` too. The engine `live` has none: its gateway
    has a configuration of its own.

    Raises:
        ConfigError: there is no such policy, or several and none is named.
    """
    names = scenario.policies
    shared = merged(scenario.settings, {"decisions": {"types": types_of(scenario)}})
    hint = f"there are: {', '.join(names)}" if names else "the scenario names no policies"
    if engine not in VIRTUAL:
        if policy is not None:
            raise ConfigError("real models are used as the gateway's configuration says", path="policy", hint="use --config")
        return scenario, engine, {}
    name = policy or scenario.policy or (next(iter(names)) if len(names) == 1 else None)
    if name is None:
        raise ConfigError("no policy is named", path="policy", hint=hint)
    if name in names:
        return scenario, name, merged(shared, names[name])
    file = Path(name)
    if not file.is_file():
        raise ConfigError(f"there is no policy `{name}`", path="policy", hint=hint)
    own = parse_yaml(read_text(file), str(file)).raw
    engines = own.pop("engines", {})
    if engines:
        try:
            added = msgspec.convert(engines, dict[str, EngineEntry])
        except msgspec.ValidationError as error:
            raise ConfigError(str(error), path="engines", file=str(file)) from error
        scenario = msgspec.structs.replace(scenario, engines={**scenario.engines, **added})
    return scenario, file.stem, merged(shared, own)
