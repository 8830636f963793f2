"""What an agent has to decide now, and what it knows of it. Looks and changes nothing.

States hold what a colleague would be told; a scenario's decision types say what of it does not matter to their cache.
"""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.simulate.world import Agent, Incident, Task, World

ASK_AGAIN_TICKS = 4
"""A blocked agent considers escalating once an hour (assumed)."""

ASK_LATER_TICKS = 8
"""A review that was put off is asked about again after so many ticks (assumed)."""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """One decision to be made. state: of a simulation a mapping. signals: measures of complexity."""

    agent: Agent
    type: str
    state: Any
    signals: dict[str, float]
    creativity: bool = False
    multi_agent: bool = False
    novel: bool = False


def situation(world: World, agent: Agent) -> Situation:
    """Return the decision that is due for an agent at this tick. There always is one."""
    if agent.incidents:
        return _incident(world, agent, agent.incidents[0])
    if agent.inbox:
        task = agent.inbox[0]
        return _of(world, agent, "queue_position", _facts(world, task) | {"queue": len(agent.queue)}, task)
    if agent.blocked_by:
        return _blocked(world, agent)
    if agent.messages and not agent.answered_last:
        told = {"about": agent.messages[0], "messages": len(agent.messages)}
        return _of(world, agent, "message_composition", told, agent.current)
    if agent.reviewing is not None:
        return _reviewing(world, agent, agent.reviewing)
    if agent.reviews and agent.deferred == 0:
        task = agent.reviews[0]
        told = {"priority": task.project.priority, "waiting": len(agent.reviews), "kind": task.kind}
        return _of(world, agent, "accept_reject", told, task)
    if agent.current is None:
        return _between(world, agent)
    return _working(world, agent, agent.current)


def _between(world: World, agent: Agent) -> Situation:
    queue = agent.queue
    if len(queue) > 1:
        urgent = sum(task.project.priority == "urgent" for task in queue)
        told = {"queue": len(queue), "urgent": urgent, "others_wait": any(_unblocks(world, task) for task in queue)}
        return _of(world, agent, "task_prioritization", told, queue[0])
    if queue:
        return _of(world, agent, "task_transition", _facts(world, queue[0]), queue[0])
    return _action(world, agent, "idle", None)


def _working(world: World, agent: Agent, task: Task) -> Situation:
    entry = task.entry
    if task.tool is None and entry.tool is not None:
        return _of(world, agent, "tool_selection", {"kind": task.kind, "usual": entry.tool}, task)
    if task.estimate is None:
        return _of(world, agent, "time_estimate", {"kind": task.kind, "usual_h": entry.hours}, task)
    if task.approach is None and entry.complexity == "high":
        told = {"kind": task.kind, "done_before": agent.experience.get(task.kind, 0)}
        return _of(world, agent, "approach_selection", told, task)
    return _action(world, agent, "working", task)


def _blocked(world: World, agent: Agent) -> Situation:
    task = agent.current
    if task is None:
        return _action(world, agent, "idle", None)
    told = _facts(world, task) | {"complexity": task.entry.complexity, "why": agent.blocked_by}
    if agent.blocked_by == "problem":
        if agent.asked_ticks < 0:
            return _of(world, agent, "blocker_resolution", told, task)
        waited_h = agent.blocked_ticks * world.tick_h
        if waited_h >= agent.patience_h and agent.blocked_ticks - agent.asked_ticks >= ASK_AGAIN_TICKS:
            return _of(world, agent, "escalation_decision", told | {"blocked_h": waited_h}, task)
    return _action(world, agent, "blocked", task)


def _reviewing(world: World, agent: Agent, task: Task) -> Situation:
    if agent.review_ticks > 0:
        return _action(world, agent, "reviewing", task)
    findings = min(3, int(task.flaw * 5))
    return _of(world, agent, "quality_assessment", {"kind": task.kind, "findings": findings}, task)


def _incident(world: World, agent: Agent, incident: Incident) -> Situation:
    task, kind = incident.task, incident.type
    told: dict[str, Any] = {} if task is None else _facts(world, task)
    told.setdefault("deadline_days", 10)
    told.setdefault("priority", "normal")
    if kind == "conflict_resolution" and incident.resource is not None:
        told["resource"] = incident.resource
        told["waiting"] = len(world.resources[incident.resource].waiting)
    elif kind == "complex_negotiation":
        told["late_days"] = max(0, -told["deadline_days"])
    elif kind == "recovery_planning" and task is not None:
        told["flaw"] = int(100 * task.flaw)
    return _of(
        world,
        agent,
        kind,
        told,
        task,
        creativity=kind == "creative_solution",
        multi_agent=kind in ("conflict_resolution", "complex_negotiation"),
        novel=kind in ("novel_problem", "conflict_resolution", "recovery_planning"),
    )


def _action(world: World, agent: Agent, status: str, task: Task | None) -> Situation:
    told: dict[str, Any] = {
        "status": status,
        "progress": 0 if task is None else min(100, int(100 * task.done_h / task.need_h + 1e-9)),
        "queue": len(agent.queue),
        "messages": len(agent.messages),
        "deadline_days": 10 if task is None else world.days_left(task),
        "blocked_h": agent.blocked_ticks * world.tick_h,
    }
    if status == "idle":
        told["others"] = max([len(one.queue) for one in world.by_role[agent.role]])
    if task is not None:
        told["task"] = {"id": task.id, "kind": task.kind, "priority": task.project.priority}
    return _of(world, agent, "next_action", told, task)


def _facts(world: World, task: Task) -> dict[str, Any]:
    return {
        "task": {"id": task.id, "kind": task.kind},
        "priority": task.project.priority,
        "deadline_days": world.days_left(task),
    }


def _unblocks(world: World, task: Task) -> bool:
    steps = world.scenario.projects[task.project.kind].steps
    return any(task.step in entry.after for entry in steps.values())


def _of(world: World, agent: Agent, type_: str, told: dict[str, Any], task: Task | None, **flags: bool) -> Situation:
    signals: dict[str, float] = {"queue_length": float(len(agent.queue))}
    if task is not None:
        signals["deadline_days"] = float(world.days_left(task))
    state = {"agent": agent.id, "role": agent.role, "time": world.calendar.text(world.now), **told}
    return Situation(agent=agent, type=type_, state=state, signals=signals, **flags)
