"""How a request gets in: its priority, its deadline, and its turn when there is more work than room."""

from __future__ import annotations

from prefrontal.contracts.resilience import Priority, lower
from prefrontal.execute.door import Door
from prefrontal.machine.run import Run


def priority_of(run: Run) -> Priority:
    """Return how much the request matters: what the caller says, never more than its key may ask for."""
    asked = run.request.hints.priority or run.context.priority
    grant = run.context.grant
    if grant is None:
        return asked or "normal"
    return grant.priority if asked is None else lower(asked, grant.priority)


def deadline_of(run: Run) -> float | None:
    """Return the monotonic moment by which the caller wants the answer: of two limits the earlier one. None: it named none."""
    first, second = run.context.timeout_s, run.request.hints.deadline_s
    if first is None and second is None:
        return None
    left_s = min(limit for limit in (first, second) if limit is not None)
    return run.journal.arrived + left_s


async def admit(run: Run, door: Door) -> None:
    """Let the request in, or wait for its turn. Raises Overloaded, ProviderTimeout."""
    if not door.try_enter():
        journal = run.journal
        before = journal.clock.monotonic()
        try:
            await door.enter(run.context.key_id, run.priority, run.deadline)
        finally:
            waited_s = journal.clock.monotonic() - before
            journal.waited_s += waited_s
            run.admission_ms = waited_s * 1000.0
    run.door = door
