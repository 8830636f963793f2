"""The breaker as a state machine."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from prefrontal.execute import breaker
from prefrontal.execute.breaker import CLOSED, MAX_OPEN_FACTOR, Breaker, BreakerPolicy, phase

POLICY = BreakerPolicy(failures=3, window_s=10.0, open_s=5.0)


def after_failures(*times: float) -> Breaker:
    state = CLOSED
    for now in times:
        state = breaker.failed(state, now, POLICY)
    return state


def test_it_opens_at_the_limit_within_the_window() -> None:
    """Three failures in ten seconds open it, three in twenty do not."""
    assert phase(after_failures(0, 1), 1) == "closed"
    assert phase(after_failures(0, 1, 2), 2) == "open"
    assert phase(after_failures(0, 9.9, 10, 19.95), 20) == "closed"


def test_a_success_in_between_starts_the_count_anew() -> None:
    """A few failures among many answers do not open it."""
    state = breaker.succeeded(after_failures(0, 1))
    assert phase(breaker.failed(state, 2, POLICY), 2) == "closed"


def test_while_open_nobody_passes_until_the_pause_is_over() -> None:
    """And the time left is told."""
    state = after_failures(0, 0, 0)
    assert not breaker.admits(state, 4.9)
    assert breaker.reopens_in_s(state, 3.0) == pytest.approx(2.0)
    assert breaker.admits(state, 5.0)
    assert (phase(state, 5.0), breaker.reopens_in_s(state, 9.0)) == ("half_open", 0.0)


def test_half_open_lets_one_request_pass() -> None:
    """The second waits for the first one's end; a trial that says nothing frees the place."""
    out = breaker.started(after_failures(0, 0, 0))
    assert not breaker.admits(out, 100.0)
    assert breaker.admits(breaker.abandoned(out), 100.0)


def test_a_trial_closes_it_or_doubles_the_pause_up_to_a_limit() -> None:
    """5, 10, 20, 40 s and no more; one success ends all of it."""
    state, pauses = after_failures(0, 0, 0), []
    for _ in range(5):
        pauses.append(state.pause_s)
        now = (state.opened_at or 0.0) + state.pause_s
        assert breaker.admits(state, now)
        state = breaker.failed(breaker.started(state), now, POLICY)
    assert pauses == [5.0, 10.0, 20.0, 40.0, 40.0]
    assert breaker.succeeded(breaker.started(state)) == CLOSED


def test_requests_that_were_under_way_when_it_opened_do_not_lengthen_the_pause() -> None:
    """Sixty failures of one dying engine are one failure of the breaker."""
    state = after_failures(0, 0, 0)
    for _ in range(60):
        state = breaker.failed(state, 1.0, POLICY, trial=False)
    assert (state.pause_s, breaker.admits(state, 5.0)) == (5.0, True)


class BreakerMachine(RuleBasedStateMachine):
    """Any order of requests, endings and time."""

    def __init__(self) -> None:
        super().__init__()
        self.state = CLOSED
        self.now = 0.0
        self.trial = False
        self.running = 0

    @rule(delay=st.floats(0, 60))
    def wait(self, delay: float) -> None:
        self.now += delay

    @rule()
    def arrive(self) -> None:
        if not breaker.admits(self.state, self.now):
            assert phase(self.state, self.now) == "open" or self.trial
            return
        if self.state.opened_at is not None:
            assert not self.trial, "two trials at once"
            self.trial = True
        else:
            self.running += 1
        self.state = breaker.started(self.state)

    @precondition(lambda self: self.trial)
    @rule(end=st.sampled_from(["ok", "failed", "left"]))
    def end_trial(self, end: str) -> None:
        self.trial = False
        self._end(end, trial=True)

    @precondition(lambda self: self.running)
    @rule(end=st.sampled_from(["ok", "failed", "failed", "left"]))
    def end_other(self, end: str) -> None:
        self.running -= 1
        if end == "ok":
            self.trial = False  # any success closes it: the trial is then a request like others
        self._end(end, trial=False)

    def _end(self, end: str, *, trial: bool) -> None:
        if end == "ok":
            self.state = breaker.succeeded(self.state)
        elif end == "failed":
            self.state = breaker.failed(self.state, self.now, POLICY, trial=trial)
        elif trial:
            self.state = breaker.abandoned(self.state)

    @invariant()
    def it_never_stays_shut(self) -> None:
        """Without a trial out, the next request passes at the latest after the longest pause."""
        longest = POLICY.open_s * MAX_OPEN_FACTOR + 1e-9  # sums of times are rounded
        assert self.state.trial_out is self.trial
        assert 0.0 <= breaker.reopens_in_s(self.state, self.now) <= longest
        assert self.trial or breaker.admits(self.state, self.now + longest)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.state.failed_at) < POLICY.failures


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
