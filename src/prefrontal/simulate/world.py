"""What there is in a simulated department: agents, tasks, projects, shared resources. Plain data, and how it is looked up.

Time is counted in minutes of the calendar from midnight of the first day; work in hours.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import msgspec

from prefrontal.clock import Chance
from prefrontal.simulate.schema import Scenario, TaskEntry

DAY_MINUTES = 1440
TaskState = Literal["waiting", "queued", "active", "parked", "review", "done"]
Priority = Literal["normal", "urgent"]


class Task(msgspec.Struct, kw_only=True, eq=False):
    """One task. need_h: work it truly takes; done_h: work done. blocker_h: work after which it meets a blocker (None: never).

    usual: whether the right tool is used. flaw: what is wrong with it, 0 to 1. waits_for: steps of its project not done yet.
    """

    id: str
    kind: str
    entry: TaskEntry
    project: Project
    step: str
    need_h: float
    blocker_h: float | None
    done_h: float = 0.0
    speed: float = 1.0
    tool: str | None = None
    approach: str | None = None
    estimate: str | None = None
    flaw: float = 0.0
    state: TaskState = "waiting"
    owner: int = -1
    waits_for: int = 0
    queued_at: int = 0
    reworked: int = 0
    open_until: int | None = None
    """When the blocker of a parked task ends, in minutes."""


class Project(msgspec.Struct, kw_only=True, eq=False):
    """One project. deadline: minutes."""

    id: str
    kind: str
    priority: Priority
    arrived: int
    deadline: int
    tasks: dict[str, Task] = {}
    open: int = 0
    negotiated: bool = False


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Something an agent has to decide about before going on. type: of the decision."""

    type: str
    task: Task | None = None
    resource: str | None = None


class Agent(msgspec.Struct, kw_only=True, eq=False):
    """One agent and what is on its desk. `blocked_since`: minutes; `asked_at`: the tick its blocker was last decided about."""

    index: int
    id: str
    role: str
    skill: float
    patience_h: float
    queue: list[Task] = []
    inbox: list[Task] = []
    current: Task | None = None
    blocked_by: Literal["", "problem", "resource"] = ""
    blocked_ticks: int = 0
    asked_ticks: int = -1
    parked: list[Task] = []
    messages: list[str] = []
    answered_last: bool = False
    reviews: list[Task] = []
    deferred: int = 0
    reviewing: Task | None = None
    review_ticks: int = 0
    incidents: list[Incident] = []
    experience: dict[str, int] = {}
    ticks: int = 0


class Resource(msgspec.Struct, kw_only=True, eq=False):
    """Something that `capacity` tasks may use at once. The rest is counted for the report: in ticks and hours."""

    name: str
    capacity: int
    holders: list[Task] = []
    waiting: list[tuple[Agent, Task]] = []
    busy: int = 0
    waits: int = 0
    waited_ticks: int = 0
    longest: int = 0


class Tally(msgspec.Struct, kw_only=True):
    """What came of the work."""

    projects_arrived: int = 0
    projects_done: int = 0
    projects_late: int = 0
    tasks_done: int = 0
    reworked: int = 0
    hours_done: float = 0.0
    blockers: int = 0
    reviews: int = 0
    messages: int = 0
    incidents: int = 0
    idle_ticks: int = 0
    lead_h: float = 0.0


class Dice(msgspec.Struct, frozen=True, kw_only=True):
    """Separate streams of chance, so that one more draw in one place changes nothing in another."""

    arrivals: Chance
    lengths: Chance
    messages: Chance
    incidents: Chance


def dice_of(seed: int) -> Dice:
    """Return the streams that follow from a seed."""

    def stream(name: str) -> Chance:
        return Chance(int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big"))

    return Dice(
        arrivals=stream("arrivals"), lengths=stream("lengths"), messages=stream("messages"), incidents=stream("incidents")
    )


class Calendar:
    """Working days as dates and as minutes."""

    def __init__(self, start: str, days: int) -> None:
        """Start on `start`, or the Monday after it. Raises ValueError for a day that does not exist."""
        first = date.fromisoformat(start)
        while first.weekday() >= 5:
            first += timedelta(days=1)
        self.first = datetime(first.year, first.month, first.day, tzinfo=UTC)
        self.days: list[int] = []
        offset = 0
        while len(self.days) < days:
            if (first.weekday() + offset) % 7 < 5:
                self.days.append(offset)
            offset += 1

    def text(self, minute: int) -> str:
        """Return a minute as people write it."""
        return (self.first + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M")

    def day(self, minute: int) -> int:
        """Return the number of working days before this minute's day."""
        offset = minute // DAY_MINUTES
        weeks, rest = divmod(offset + self.first.weekday(), 7)
        return weeks * 5 + min(rest, 5) - self.first.weekday()

    def after(self, minute: int, days: float) -> int:
        """Return the minute that is so many working days later."""
        whole = self.day(minute) + days
        number = int(whole)
        week, rest = divmod(number + self.first.weekday(), 5)
        offset = week * 7 + rest - self.first.weekday()
        return int((offset + whole - number) * DAY_MINUTES) + minute % DAY_MINUTES


class World:
    """Everything there is at one moment of a simulation."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.calendar = Calendar(scenario.start, scenario.days)
        self.dice = dice_of(seed)
        self.now = 0
        self.tick_h = scenario.tick_minutes / 60
        self.agents: list[Agent] = []
        self.by_role: dict[str, list[Agent]] = {}
        for role, entry in scenario.roles.items():
            self.by_role[role] = [
                Agent(index=0, id=f"{role}-{n + 1:02d}", role=role, skill=entry.skill, patience_h=entry.patience_h)
                for n in range(entry.count)
            ]
            self.agents += self.by_role[role]
        for index, agent in enumerate(self.agents):
            agent.index = index
        self.resources = {name: Resource(name=name, capacity=count) for name, count in scenario.resources.items()}
        self.tally = Tally()
        self.numbers: dict[str, int] = {}

    def number(self, what: str) -> int:
        """Return the next number of a series, from 1."""
        self.numbers[what] = found = self.numbers.get(what, 0) + 1
        return found

    def days_left(self, task: Task) -> int:
        """Return the working days to a task's deadline; negative when it is late."""
        return self.calendar.day(task.project.deadline) - self.calendar.day(self.now)
