"""The simulation itself: a heap of events, and at every tick a decision of each agent at work, whose answers move the world.

Events are plain tuples on a heap and not coroutines: a run can then be rebuilt from its journal after the process was killed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from prefrontal.simulate.desk import Desk, Row
from prefrontal.simulate.effects import apply, begin_tick
from prefrontal.simulate.schema import Scenario
from prefrontal.simulate.situations import Situation, situation
from prefrontal.simulate.work import add_incident, arrive, write_to
from prefrontal.simulate.world import DAY_MINUTES, Agent, Incident, World

Watch = Callable[[int, int, Sequence[Situation], Sequence[Row]], None]
"""Called after each tick with the minute, the ticks so far, what was asked and what was decided."""

ABOUT = ("question", "status", "notice")

_PROJECT, _TICK = 0, 1


class Simulation:
    """One run. `world` is as it stands after the last tick."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.world = World(scenario, seed)
        self._events: list[tuple[int, int, int, str]] = []
        self._numbers = 0
        self._slots = self._shifts()
        self._message_at: list[float] = []
        self._incident_at: list[float] = []
        for agent in self.world.agents:
            role = scenario.roles[agent.role]
            self._message_at.append(self._wait(role.messages_per_day, "messages"))
            self._incident_at.append(self._wait(role.incidents_per_day, "incidents"))

    @property
    def decisions(self) -> int:
        """How many decisions the whole run takes."""
        return len(self.world.agents) * self.scenario.days * self.scenario.ticks_per_day

    @property
    def ticks(self) -> int:
        """How many moments of decision the whole run has."""
        return len(self._slots) * self.scenario.days

    async def run(self, desk: Desk, watch: Watch | None = None) -> World:
        """Run to the end; return the world as it is then."""
        world, done = self.world, 0
        for kind, entry in self.scenario.projects.items():
            for _ in range(entry.at_start):
                self._push(0, _PROJECT, kind)
            self._next_project(kind)
        for day in world.calendar.days:
            for minute in self._slots:
                self._push(day * DAY_MINUTES + minute, _TICK, str(minute))
        while self._events:
            minute, what, _, kind = heapq.heappop(self._events)
            if what == _PROJECT:
                world.now = minute
                arrive(world, kind)
                if minute > 0:
                    self._next_project(kind)
                continue
            world.now = minute
            asked = self._asked(self._slots[int(kind)])
            rows = await desk.decide(minute, asked)
            for one, row in zip(asked, rows, strict=True):
                apply(world, one, row.answer)
            self._count_resources()
            done += 1
            if watch is not None:
                watch(minute, done, asked, rows)
        return world

    def _asked(self, agents: Sequence[Agent]) -> list[Situation]:
        """Return the decisions due at a tick."""
        for agent in agents:
            begin_tick(self.world, agent)
            self._disturb(agent)
        return [situation(self.world, agent) for agent in agents]

    def _disturb(self, agent: Agent) -> None:
        """Let messages and incidents reach an agent when they are due."""
        world, role = self.world, self.scenario.roles[agent.role]
        if agent.ticks >= self._message_at[agent.index]:
            self._message_at[agent.index] = agent.ticks + self._wait(role.messages_per_day, "messages")
            write_to(world, agent, world.dice.messages.choice(ABOUT))
        if agent.ticks >= self._incident_at[agent.index]:
            self._incident_at[agent.index] = agent.ticks + self._wait(role.incidents_per_day, "incidents")
            kind = "novel_problem" if world.dice.incidents.random() < 0.6 else "creative_solution"
            if agent.current is not None:
                add_incident(world, agent, Incident(type=kind, task=agent.current))

    def _wait(self, per_day: float, stream: str) -> float:
        """Return the ticks to the next of what comes so often a day."""
        if per_day <= 0:
            return float("inf")
        dice = self.world.dice
        chance = dice.messages if stream == "messages" else dice.incidents
        return max(1.0, chance.log_normal(self.scenario.ticks_per_day / per_day, 0.8))

    def _next_project(self, kind: str) -> None:
        entry, world = self.scenario.projects[kind], self.world
        wait_days = world.dice.arrivals.log_normal(entry.every_days, entry.cv)
        minute = world.calendar.after(world.now, wait_days)
        if minute <= (world.calendar.days[-1] + 1) * DAY_MINUTES:
            self._push(max(minute, world.now + 1), _PROJECT, kind)

    def _push(self, minute: int, what: int, kind: str) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (minute, what, self._numbers, kind))

    def _shifts(self) -> dict[int, list[Agent]]:
        """Return who decides at which minute of a day; a shift may go on after midnight."""
        slots: dict[int, list[Agent]] = {}
        scenario = self.scenario
        for agent in self.world.agents:
            hours, minutes = scenario.shifts[scenario.roles[agent.role].shift].split(":")
            for tick in range(scenario.ticks_per_day):
                minute = int(hours) * 60 + int(minutes) + tick * scenario.tick_minutes
                slots.setdefault(minute, []).append(agent)
        return dict(sorted(slots.items()))

    def _count_resources(self) -> None:
        for resource in self.world.resources.values():
            resource.busy += len(resource.holders)
            resource.waited_ticks += len(resource.waiting)
            resource.longest = max(resource.longest, len(resource.waiting))
