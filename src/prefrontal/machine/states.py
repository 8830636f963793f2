"""The states of a request and where each may lead. Only states that are built are listed; a test reads this table.

INIT                 ▶ LLM_CALL (model named) | CACHE_LOOKUP | LENS | ROUTING_DECISION
ROUTING_DECISION     ▶ TOOL_ONLY_EXECUTION | LENS (where one is wanted) | MODEL_SELECTION
TOOL_ONLY_EXECUTION  ▶ SYNTHESIS | LENS | MODEL_SELECTION (abstained)
LENS                 ▶ MODEL_SELECTION | LLM_CALL (model named) | CACHE_LOOKUP
MODEL_SELECTION      ▶ LLM_CALL | CACHE_LOOKUP
CACHE_LOOKUP         ▶ SYNTHESIS (the answer is known) | LLM_CALL
LLM_CALL             ▶ VALIDATION | SYNTHESIS (nothing to validate)
VALIDATION           ▶ SYNTHESIS | LLM_CALL (repair, or the next model)
SYNTHESIS            ▶ COMPLETED
any                  ▶ FAILED | CANCELLED
"""

from __future__ import annotations

from enum import StrEnum

from prefrontal.errors import InvariantBroken


class State(StrEnum):
    """Where a request is."""

    INIT = "INIT"
    ROUTING_DECISION = "ROUTING_DECISION"
    TOOL_ONLY_EXECUTION = "TOOL_ONLY_EXECUTION"
    LENS = "LENS"
    MODEL_SELECTION = "MODEL_SELECTION"
    CACHE_LOOKUP = "CACHE_LOOKUP"
    LLM_CALL = "LLM_CALL"
    VALIDATION = "VALIDATION"
    SYNTHESIS = "SYNTHESIS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})

NEXT: dict[State, frozenset[State]] = {
    State.INIT: frozenset({State.LLM_CALL, State.CACHE_LOOKUP, State.LENS, State.ROUTING_DECISION}),
    State.ROUTING_DECISION: frozenset({State.TOOL_ONLY_EXECUTION, State.LENS, State.MODEL_SELECTION}),
    State.TOOL_ONLY_EXECUTION: frozenset({State.SYNTHESIS, State.LENS, State.MODEL_SELECTION}),
    State.LENS: frozenset({State.MODEL_SELECTION, State.LLM_CALL, State.CACHE_LOOKUP}),
    State.MODEL_SELECTION: frozenset({State.LLM_CALL, State.CACHE_LOOKUP}),
    State.CACHE_LOOKUP: frozenset({State.SYNTHESIS, State.LLM_CALL}),
    State.LLM_CALL: frozenset({State.VALIDATION, State.SYNTHESIS}),
    State.VALIDATION: frozenset({State.SYNTHESIS, State.LLM_CALL}),
    State.SYNTHESIS: frozenset({State.COMPLETED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


def check(current: State, following: State) -> None:
    """Return when the step is in the table. Raises InvariantBroken."""
    if following in NEXT[current]:
        return
    if following in (State.FAILED, State.CANCELLED) and current not in TERMINAL:
        return
    raise InvariantBroken(f"A request cannot go from {current} to {following}.")
