"""The table of states: what is written is what holds."""

from __future__ import annotations

import re

import pytest

from prefrontal.errors import InvariantBroken
from prefrontal.machine import states
from prefrontal.machine.states import NEXT, TERMINAL, State, check


def written() -> dict[str, set[str]]:
    """Return the table in the docstring: state → the states it names, words in brackets left out."""
    table: dict[str, set[str]] = {}
    for line in (states.__doc__ or "").splitlines():
        found = re.match(r"(\w+)\s+▶ (.+)", line)
        if found:
            table[found[1]] = {re.sub(r"\(.*?\)", "", word).strip() for word in found[2].split("|")}
    return table


def test_the_table_in_the_docstring_is_the_table_in_force() -> None:
    """Each row of the docstring equals the row of NEXT, and no row is missing on either side."""
    rows = written()
    everywhere = rows.pop("any")
    assert everywhere == {State.FAILED, State.CANCELLED}
    assert rows == {state.value: {s.value for s in following} for state, following in NEXT.items() if following}


def test_every_state_can_be_reached_and_left() -> None:
    """From INIT every state can be reached, and from every state an end."""
    seen, queue = {State.INIT, State.FAILED, State.CANCELLED}, [State.INIT]
    while queue:
        for following in NEXT[queue.pop()] - seen:
            seen.add(following)
            queue.append(following)
    assert seen == set(State)
    assert {state for state, following in NEXT.items() if not following} == TERMINAL


@pytest.mark.parametrize("current", list(State))
@pytest.mark.parametrize("following", list(State))
def test_a_step_is_allowed_exactly_when_the_table_says_so(current: State, following: State) -> None:
    """Failing and leaving are possible until the end; everything else only as written."""
    ends = following in (State.FAILED, State.CANCELLED) and current not in TERMINAL
    if following in NEXT[current] or ends:
        check(current, following)
    else:
        with pytest.raises(InvariantBroken, match=f"from {current} to {following}"):
            check(current, following)
