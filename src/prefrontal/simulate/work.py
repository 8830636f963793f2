"""How work moves: projects come in, tasks are handed out, started, blocked, reviewed and done. Nothing is decided here."""

from __future__ import annotations

from prefrontal.simulate.world import DAY_MINUTES, Agent, Incident, Project, Resource, Task, World

CONTENDED = 2
"""From so many waiting on, a shared resource is contended, and somebody has to settle it (assumed)."""

FLAW_FOUND = 0.4
"""From this flaw on, work that passed its review is found to be wrong later (assumed)."""


def arrive(world: World, kind: str) -> Project:
    """Let one project come in, and hand out the tasks that wait for nothing."""
    entry, dice = world.scenario.projects[kind], world.dice.arrivals
    urgent = dice.random() < entry.urgent
    project = Project(
        id=f"{kind}-{world.number(kind)}",
        kind=kind,
        priority="urgent" if urgent else "normal",
        arrived=world.now,
        deadline=world.calendar.after(world.now, entry.deadline_days * (0.6 if urgent else 1.0)),
        open=len(entry.steps),
    )
    for step, said in entry.steps.items():
        kind_of = world.scenario.tasks[said.task]
        lengths = world.dice.lengths
        need_h = max(0.1, lengths.log_normal(kind_of.hours, kind_of.cv))
        met, where = lengths.random() < kind_of.blockers, lengths.random()
        project.tasks[step] = Task(
            id=f"T-{world.number('task'):05d}",
            kind=said.task,
            entry=kind_of,
            project=project,
            step=step,
            need_h=need_h,
            blocker_h=need_h * where if met else None,
            flaw=lengths.random() ** 3,
            waits_for=len(set(said.after)),
        )
    world.tally.projects_arrived += 1
    for task in project.tasks.values():
        if task.waits_for == 0:
            hand_out(world, task)
    return project


def hand_out(world: World, task: Task) -> None:
    """Give a task to the agent of its role who has the least to do."""
    agents = world.by_role[task.entry.role]
    agent = min(agents, key=_load)
    task.state, task.owner, task.queued_at = "queued", agent.index, world.now
    agent.inbox.append(task)


def _load(agent: Agent) -> int:
    return len(agent.queue) + len(agent.inbox) + len(agent.parked) + (agent.current is not None)


def take_up(world: World, agent: Agent, task: Task) -> None:
    """Let an agent begin, or go on with, a task; it waits where a shared resource is taken."""
    agent.current, task.state = task, "active"
    name = task.entry.resource
    if name is not None:
        _acquire(world, agent, task, world.resources[name])


def _acquire(world: World, agent: Agent, task: Task, resource: Resource) -> None:
    if task in resource.holders:
        return
    if len(resource.holders) < resource.capacity:
        resource.holders.append(task)
        return
    resource.waits += 1
    resource.waiting.append((agent, task))
    agent.blocked_by, agent.blocked_ticks, agent.asked_ticks = "resource", 0, -1
    if len(resource.waiting) >= CONTENDED:
        add_incident(world, agent, Incident(type="conflict_resolution", task=task, resource=resource.name))


def release(task: Task, world: World) -> None:
    """Give back what a task holds, to the next in line."""
    name = task.entry.resource
    if name is None:
        return
    resource = world.resources[name]
    if task in resource.holders:
        resource.holders.remove(task)
    resource.waiting = [pair for pair in resource.waiting if pair[1] is not task]
    serve_line(resource)


def serve_line(resource: Resource) -> None:
    """Let those who wait go on while there is room."""
    while resource.waiting and len(resource.holders) < resource.capacity:
        agent, task = resource.waiting.pop(0)
        resource.holders.append(task)
        if agent.current is task and agent.blocked_by == "resource":
            unblock(agent)


def unblock(agent: Agent) -> None:
    """Let an agent go on."""
    agent.blocked_by, agent.blocked_ticks, agent.asked_ticks = "", 0, -1


def block(world: World, agent: Agent, hours: float | None = None) -> None:
    """Let an agent's task meet a problem that lasts so many hours (None: as such tasks are usually blocked)."""
    task = agent.current
    if task is None:
        return
    length_h = world.dice.lengths.log_normal(task.entry.blocked_h, 0.6) if hours is None else hours
    task.open_until = world.calendar.after(world.now, length_h / 8) if hours is None else world.now + int(hours * 60)
    task.blocker_h = None
    agent.blocked_by, agent.blocked_ticks, agent.asked_ticks = "problem", 0, -1
    world.tally.blockers += 1


def put_away(world: World, agent: Agent) -> None:
    """Let an agent put its task aside: to the end of the queue, or apart while it is blocked."""
    task = agent.current
    if task is None:
        return
    release(task, world)
    agent.current = None
    if agent.blocked_by == "problem" and task.open_until is not None:
        task.state = "parked"
        agent.parked.append(task)
    else:
        task.state = "queued"
        agent.queue.append(task)
    unblock(agent)


def wake(world: World, agent: Agent) -> None:
    """Let tasks whose blockers have ended go on."""
    task = agent.current
    if agent.blocked_by == "problem" and task is not None and task.open_until is not None and task.open_until <= world.now:
        task.open_until = None
        unblock(agent)
    if agent.parked:
        over = [task for task in agent.parked if task.open_until is None or task.open_until <= world.now]
        for task in over:
            agent.parked.remove(task)
            task.open_until, task.state = None, "queued"
            agent.queue.insert(0, task)


def progress(world: World, agent: Agent) -> None:
    """Let an agent work for one tick on its task."""
    task = agent.current
    if task is None or agent.blocked_by:
        return
    hours = world.tick_h * agent.skill * task.speed
    task.done_h += hours
    if task.blocker_h is not None and task.done_h >= task.blocker_h:
        block(world, agent)


def hand_in(world: World, agent: Agent) -> None:
    """Let an agent call its task done; what was left undone is a flaw."""
    task = agent.current
    if task is None:
        return
    agent.current = None
    unblock(agent)
    release(task, world)
    agent.experience[task.kind] = agent.experience.get(task.kind, 0) + 1
    missing = max(0.0, 1.0 - task.done_h / task.need_h)
    task.flaw = min(1.0, max(task.flaw, missing))
    if task.entry.review is None or task.reworked > 1:
        finish(world, task)
        return
    task.state = "review"
    others = [one for one in world.by_role[task.entry.review] if one is not agent] or [agent]
    min(others, key=_reviews).reviews.append(task)


def _reviews(agent: Agent) -> int:
    return 2 * len(agent.reviews) + 2 * (agent.reviewing is not None) + len(agent.queue)


def send_back(world: World, task: Task) -> None:
    """Let a task go back to its owner, who has to mend what is wrong with it."""
    owner = world.agents[task.owner]
    task.reworked += 1
    task.state, task.queued_at = "queued", world.now
    task.need_h = task.done_h + max(0.5, task.flaw * task.entry.hours * 0.5)
    task.flaw *= 0.3
    owner.queue.insert(0, task)
    world.tally.reworked += 1


def finish(world: World, task: Task) -> None:
    """Let a task be done, and those that waited for it begin; one that was badly done comes back as an incident."""
    owner, project = world.agents[task.owner], task.project
    if task.flaw >= FLAW_FOUND and task.reworked == 0:
        task.reworked += 1
        add_incident(world, owner, Incident(type="recovery_planning", task=task))
        return
    task.state = "done"
    world.tally.tasks_done += 1
    world.tally.hours_done += task.done_h
    project.open -= 1
    steps = world.scenario.projects[project.kind].steps
    for name, entry in steps.items():
        if task.step in entry.after:
            other = project.tasks[name]
            other.waits_for -= 1
            if other.waits_for == 0:
                hand_out(world, other)
    if project.open == 0:
        world.tally.projects_done += 1
        world.tally.projects_late += world.now > project.deadline
        world.tally.lead_h += (world.calendar.day(world.now) - world.calendar.day(project.arrived)) * 8
    elif not project.negotiated and world.now > project.deadline - DAY_MINUTES and project.open > 1:
        project.negotiated = True
        add_incident(world, owner, Incident(type="complex_negotiation", task=task))


def add_incident(world: World, agent: Agent, incident: Incident) -> None:
    """Put something before an agent that has to be decided before anything else."""
    agent.incidents.append(incident)
    world.tally.incidents += 1


def write_to(world: World, agent: Agent, about: str) -> None:
    """Let a message wait for an agent; more than ten are not read."""
    world.tally.messages += 1
    if len(agent.messages) < 10:
        agent.messages.append(about)
