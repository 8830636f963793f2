"""What an answer changes: one function a decision type. An answer nobody foresaw changes nothing but the time it took."""

from __future__ import annotations

from collections.abc import Callable

from prefrontal.simulate.situations import ASK_LATER_TICKS, Situation
from prefrontal.simulate.work import (
    block,
    finish,
    hand_in,
    progress,
    put_away,
    send_back,
    serve_line,
    take_up,
    unblock,
    wake,
    write_to,
)
from prefrontal.simulate.world import DAY_MINUTES, Agent, World

WRONG_TOOL = 0.6
"""Speed of work with a tool that is not the right one (assumed)."""

ESTIMATES = {"under two hours": 0, "half a day": 1, "a day": 2, "several days": 3, "over a week": 4}
ESTIMATED_H = (2.0, 5.0, 9.0, 33.0, float("inf"))
"""The levels of an estimate, and the hours below which each is right."""

Effect = Callable[[World, Agent, str | bool, Situation], None]


def begin_tick(world: World, agent: Agent) -> None:
    """Let what has ended meanwhile be over, before the agent decides."""
    agent.ticks += 1
    wake(world, agent)
    if agent.deferred > 0:
        agent.deferred -= 1


def apply(world: World, situation: Situation, answer: str | bool) -> None:
    """Let an answer take effect."""
    agent = situation.agent
    effect = EFFECTS.get(situation.type)
    agent.answered_last = situation.type == "message_composition"
    if agent.blocked_by:
        agent.blocked_ticks += 1
    if effect is not None:
        effect(world, agent, answer, situation)


# -- routine -----------------------------------------------------------------------------------------------------------


def _next_action(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    status = situation.state["status"]
    act = _ACTIONS.get((status, str(answer)))
    if act is not None:
        act(world, agent)
    elif answer == "communicate" and not (status == "idle" and _help_out(world, agent)):
        colleague = world.agents[(agent.index + 1 + world.tally.messages) % len(world.agents)]
        write_to(world, colleague, "question")
    if status == "idle":
        world.tally.idle_ticks += 1


def _look_on(world: World, agent: Agent) -> None:
    agent.review_ticks -= 1


def _end_review(world: World, agent: Agent) -> None:
    agent.review_ticks = 0


def _switch(world: World, agent: Agent) -> None:
    if agent.queue:
        put_away(world, agent)
        take_up(world, agent, agent.queue.pop(0))


def _report_blocked(world: World, agent: Agent) -> None:
    block(world, agent, hours=1.0)


_ACTIONS: dict[tuple[str, str], Callable[[World, Agent], None]] = {
    ("working", "continue"): progress,
    ("working", "complete"): hand_in,
    ("working", "switch"): _switch,
    ("working", "report_blocked"): _report_blocked,
    ("blocked", "switch"): _switch,
    ("reviewing", "continue"): _look_on,
    ("reviewing", "complete"): _end_review,
}


def _help_out(world: World, agent: Agent) -> bool:
    """Let an agent without work take a task from the longest queue of its role; False: there is none to take."""
    busiest = max(world.by_role[agent.role], key=lambda one: len(one.queue))
    if busiest is agent or len(busiest.queue) < 2:
        return False
    task = busiest.queue.pop()
    task.owner = agent.index
    agent.queue.append(task)
    return True


def _task_transition(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    if answer == "start" and agent.queue:
        take_up(world, agent, agent.queue.pop(0))


def _tool_selection(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    task = agent.current
    if task is not None:
        task.tool = str(answer)
        task.speed = 1.0 if task.tool == task.entry.tool else WRONG_TOOL


def _time_estimate(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    task = agent.current
    if task is None:
        return
    task.estimate = str(answer)
    planned = ESTIMATES.get(task.estimate, 1)
    usual = next(place for place, most_h in enumerate(ESTIMATED_H) if task.entry.hours < most_h)
    if planned > usual:
        task.need_h *= 1.1  # work expands
    elif planned < usual:
        task.flaw = min(1.0, task.flaw + 0.1)  # and is rushed
    progress(world, agent)


def _accept_reject(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    if answer is True:
        task = agent.reviews.pop(0)
        agent.reviewing = task
        agent.review_ticks = max(1, round(task.entry.review_h / world.tick_h))
    else:
        agent.reviews.append(agent.reviews.pop(0))
        agent.deferred = ASK_LATER_TICKS


def _queue_position(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    task = agent.inbox.pop(0)
    at = {"front": 0, "middle": len(agent.queue) // 2}.get(str(answer), len(agent.queue))
    agent.queue.insert(at, task)


# -- contextual --------------------------------------------------------------------------------------------------------


def _task_prioritization(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    queue = agent.queue
    if answer == "most_urgent":
        task = min(queue, key=lambda one: (one.project.priority != "urgent", one.project.deadline))
    elif answer == "shortest":
        task = min(queue, key=lambda one: one.entry.hours)
    elif answer == "unblocks_others":
        task = max(queue, key=lambda one: one.project.open)
    else:
        task = min(queue, key=lambda one: one.queued_at)
    queue.remove(task)
    take_up(world, agent, task)


def _message_composition(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    about = agent.messages.pop(0)
    if answer == "later" and about == "notice":
        agent.messages.append("question")  # once: what was put off is answered the next time
    elif answer == "question":
        colleague = world.agents[(agent.index + 7) % len(world.agents)]
        write_to(world, colleague, "status" if about == "question" else "question")


def _blocker_resolution(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    task = agent.current
    agent.asked_ticks = agent.blocked_ticks
    if task is None:
        return
    if answer == "workaround":
        task.need_h *= 1.25
        task.flaw = min(1.0, task.flaw + 0.1)
        task.open_until = None
        unblock(agent)
    elif answer == "escalate":
        _escalate(world, agent)


def _escalate(world: World, agent: Agent) -> None:
    """Let the blocker end within two hours, at the price of a message to a colleague of the first role."""
    task = agent.current
    if task is not None and task.open_until is not None:
        task.open_until = min(task.open_until, world.now + 120)
    lead = world.agents[agent.index % len(next(iter(world.by_role.values())))]
    write_to(world, lead, "status")


def _approach_selection(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    task = agent.current
    if task is None:
        return
    task.approach = str(answer)
    known = agent.experience.get(task.kind, 0) > 2
    if answer == "reuse":
        task.need_h *= 0.8 if known else 1.1
    elif answer == "prototype":
        task.need_h *= 1.2
        task.flaw *= 0.5


def _quality_assessment(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    task = agent.reviewing
    agent.reviewing = None
    world.tally.reviews += 1
    if task is None:
        return
    if answer == "poor":
        send_back(world, task)
    else:
        finish(world, task)


def _escalation_decision(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    agent.asked_ticks = agent.blocked_ticks
    if answer is True:
        _escalate(world, agent)


# -- complex -----------------------------------------------------------------------------------------------------------


def _conflict_resolution(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    incident = agent.incidents.pop(0)
    if incident.resource is None or incident.task is None:
        return
    resource = world.resources[incident.resource]
    if answer == "by_priority":
        resource.waiting.sort(key=lambda pair: (pair[1].project.priority != "urgent", pair[1].project.deadline))
    elif answer == "yield_place" and agent.current is incident.task and agent.blocked_by == "resource":
        put_away(world, agent)
    serve_line(resource)


def _novel_problem(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    incident = agent.incidents.pop(0)
    task = incident.task
    if task is None or task.state == "done":
        return
    if answer == "investigate":
        task.need_h += 2.0
    elif answer == "ask_expert":
        task.need_h += 0.5
        write_to(world, world.agents[(agent.index * 3 + 1) % len(world.agents)], "question")
    else:
        task.flaw = min(1.0, task.flaw + 0.3)


def _creative_solution(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    task = agent.incidents.pop(0).task
    if task is None or task.state == "done":
        return
    added_h, flaw = {"adapt": (1.0, 1.0), "invent": (4.0, 0.6), "simplify": (0.0, 1.3)}.get(str(answer), (0.0, 1.0))
    task.need_h += added_h
    task.flaw = min(1.0, task.flaw * flaw)


def _complex_negotiation(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    task = agent.incidents.pop(0).task
    if task is None:
        return
    project = task.project
    if answer == "extend":
        project.deadline += 3 * DAY_MINUTES
    elif answer == "cut_scope":
        for other in project.tasks.values():
            if other.state in ("waiting", "queued"):
                other.need_h = max(other.done_h + 0.25, other.need_h * 0.7)
    elif answer == "add_help":
        project.priority = "urgent"


def _recovery_planning(world: World, agent: Agent, answer: str | bool, situation: Situation) -> None:
    task = agent.incidents.pop(0).task
    if task is None:
        return
    if answer == "redo":
        task.done_h, task.flaw = task.done_h * 0.3, 0.05
    elif answer == "roll_back":
        task.done_h, task.flaw = task.done_h * 0.6, 0.1
    else:
        task.need_h = task.done_h + task.entry.hours * task.flaw
        task.flaw *= 0.4
    task.state, task.queued_at = "queued", world.now
    agent.queue.insert(0, task)


EFFECTS: dict[str, Effect] = {
    "next_action": _next_action,
    "task_transition": _task_transition,
    "tool_selection": _tool_selection,
    "time_estimate": _time_estimate,
    "accept_reject": _accept_reject,
    "queue_position": _queue_position,
    "task_prioritization": _task_prioritization,
    "message_composition": _message_composition,
    "blocker_resolution": _blocker_resolution,
    "approach_selection": _approach_selection,
    "quality_assessment": _quality_assessment,
    "escalation_decision": _escalation_decision,
    "conflict_resolution": _conflict_resolution,
    "novel_problem": _novel_problem,
    "creative_solution": _creative_solution,
    "complex_negotiation": _complex_negotiation,
    "recovery_planning": _recovery_planning,
}
"""Every shipped decision type has an effect; a test holds that."""
