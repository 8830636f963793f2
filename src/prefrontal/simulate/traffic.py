"""Recorded traffic as situations: lines of JSON, one a decision, or the records that a gateway exports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from prefrontal.errors import InvalidRequest, NotFound
from prefrontal.simulate.desk import Row, checksum
from prefrontal.simulate.schema import Scenario
from prefrontal.simulate.situations import Situation
from prefrontal.simulate.world import Agent, World

MOST_LINES = 5_000_000
"""Lines of one file (assumed: what fits into memory)."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of other traffic, as in a file of `prefrontal decisions export --format decision`, whose fields these are.

    at or at_s: when, in seconds since the epoch or as a date and time. group stands for the agent where that is not told.
    answer: what was decided then.
    """

    type: str
    state: Any
    at: float | datetime | None = None
    at_s: float | None = None
    agent: str | None = None
    group: str | None = None
    role: str | None = None
    signals: dict[str, float] = {}
    creativity: bool = False
    multi_agent: bool = False
    novel: bool = False
    answer: str | bool | None = None
    cost_usd: float | None = None


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Decisions in order of their minute, and what was decided then."""

    world: World
    ticks: tuple[tuple[int, tuple[Situation, ...], tuple[Row, ...]], ...]

    @property
    def decisions(self) -> int:
        """How many there are."""
        return sum([len(asked) for _, asked, _ in self.ticks])


def is_traffic(path: Path) -> bool:
    """Return whether a file holds other traffic than a simulation's recording. Raises NotFound."""
    try:
        with path.open("rb") as file:
            head = msgspec.json.decode(file.readline() or b"null")
    except OSError as error:
        raise NotFound(f"There is no recording {path.name}: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        raise InvalidRequest(f"{path.name} is neither a recording nor lines of JSON: {error}.") from error
    return isinstance(head, dict) and "fingerprint" not in head


def read_traffic(path: Path, scenario: Scenario) -> Traffic:
    """Return the decisions of a file. Requests that decided nothing, or kept no content, are left out.

    Raises:
        InvalidRequest: a line is wrong, or none holds a decision.
    """
    lines = sorted(_lines(path), key=lambda pair: pair[0])
    if not lines:
        raise InvalidRequest(f"{path.name} holds no decision with its state.", hint="Records keep states with records.content.")
    first = datetime.fromtimestamp(lines[0][0], UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    span_days = int((lines[-1][0] - first.timestamp()) // 86_400) + 1
    world = World(msgspec.structs.replace(scenario, start=first.date().isoformat(), days=max(1, span_days)), scenario.seed)
    agents: dict[tuple[str, str], Agent] = {}
    ticks: dict[int, tuple[list[Situation], list[Row]]] = {}
    for moment, line in lines:
        minute = int((moment - world.calendar.first.timestamp()) // 60)
        agent = _agent(agents, line)
        asked, rows = ticks.setdefault(max(0, minute), ([], []))
        one = Situation(
            agent=agent,
            type=line.type,
            state=_plain(line.state),
            signals=line.signals,
            creativity=line.creativity,
            multi_agent=line.multi_agent,
            novel=line.novel,
        )
        asked.append(one)
        rows.append(_row(max(0, minute), one, line))
    world.agents = list(agents.values())
    world.by_role = {}
    for agent in world.agents:
        world.by_role.setdefault(agent.role, []).append(agent)
    return Traffic(
        world=world, ticks=tuple([(minute, tuple(asked), tuple(rows)) for minute, (asked, rows) in sorted(ticks.items())])
    )


def _lines(path: Path) -> Iterator[tuple[float, Line]]:
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            if number > MOST_LINES:
                raise InvalidRequest(f"{path.name} has more than {MOST_LINES:,} lines.")
            try:
                found = msgspec.json.decode(text)
                lines = _of_record(found) if isinstance(found, dict) and "decisions" in found else [msgspec.convert(found, Line)]
            except msgspec.MsgspecError as error:
                raise InvalidRequest(f"{path.name}, line {number}: {error}.", param="recording") from error
            for line in lines:
                at = line.at
                yield (at.timestamp() if isinstance(at, datetime) else at or line.at_s or 0.0), line


def _of_record(record: dict[str, Any]) -> list[Line]:
    """Return the decisions of a request's record, as far as their state was kept."""
    try:
        text = record["content"]["messages"][-1]["blocks"][0]["text"]
    except (KeyError, IndexError, TypeError):
        return []
    answers: Sequence[dict[str, Any]] = [one for one in record["decisions"] if one.get("type")]
    return [
        Line(type=one["type"], state=text, at=record.get("started_s"), answer=one.get("chosen"), cost_usd=one.get("cost_usd"))
        for one in answers
    ]


def _plain(state: Any) -> Any:
    """Return a state as it was put: JSON that was written down as a text is JSON again."""
    if not isinstance(state, str):
        return state
    try:
        found = msgspec.json.decode(state)
    except msgspec.MsgspecError:
        return state
    return found if isinstance(found, dict | list) else state


def _agent(agents: dict[tuple[str, str], Agent], line: Line) -> Agent:
    key = (line.role or "caller", line.agent or line.group or "")
    found = agents.get(key)
    if found is None:
        found = agents[key] = Agent(index=len(agents), id=key[1] or key[0], role=key[0], skill=1.0, patience_h=1.0)
    return found


def _row(minute: int, one: Situation, line: Line) -> Row:
    return Row(
        at=minute,
        agent=one.agent.index,
        type=one.type,
        state=checksum(one.state),
        answer="" if line.answer is None else line.answer,
        confidence=0.0,
        source="recorded",
        tier=0,
        model=None,
        cached=False,
        cost_usd=line.cost_usd or 0.0,
        latency_ms=0.0,
        attempts=0,
        fallback=None,
        tier_reason=None,
        degraded_by=None,
    )
