"""The breaker of one model: after too many failures it is left alone for a while, then tried with one request.

    closed    ▶ open       (failures in a row, within the window, reach the limit)
    open      ▶ half_open  (the pause is over: one request may pass)
    half_open ▶ closed     (it succeeded)
    half_open ▶ open       (it failed; the pause doubles, up to a limit)

States are values; the functions are pure.
"""

from __future__ import annotations

from typing import Literal

import msgspec

MAX_OPEN_FACTOR = 8
"""The pause grows to at most this multiple of `open_s` (assumed)."""


class BreakerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """failures: how many in a row within `window_s` open it. open_s: first pause. (assumed: 5 in 30 s, 5 s).

    A success in between starts the count anew: under load, a few failures among thousands of answers are no reason to stop.
    """

    failures: int = 5
    window_s: float = 30.0
    open_s: float = 5.0


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """The state: times of recent failures, since when it is open (None: closed), how long, and whether the trial is out."""

    failed_at: tuple[float, ...] = ()
    opened_at: float | None = None
    pause_s: float = 0.0
    trial_out: bool = False


CLOSED = Breaker()


def phase(state: Breaker, now: float) -> Literal["closed", "open", "half_open"]:
    """Return the phase at monotonic time `now`."""
    if state.opened_at is None:
        return "closed"
    return "half_open" if now - state.opened_at >= state.pause_s else "open"


def admits(state: Breaker, now: float) -> bool:
    """Return whether a request may pass now."""
    if state.opened_at is None:
        return True
    return not state.trial_out and now - state.opened_at >= state.pause_s


def started(state: Breaker) -> Breaker:
    """Return the state after a request was let through: while half open, only one."""
    if state.opened_at is None:
        return state
    return Breaker(failed_at=state.failed_at, opened_at=state.opened_at, pause_s=state.pause_s, trial_out=True)


def succeeded(state: Breaker) -> Breaker:
    """Return the state after a success: closed, whoever brought it."""
    return CLOSED


def abandoned(state: Breaker) -> Breaker:
    """Return the state after a trial that said nothing (the client left): the next request may try."""
    if not state.trial_out:
        return state
    return Breaker(failed_at=state.failed_at, opened_at=state.opened_at, pause_s=state.pause_s, trial_out=False)


def failed(state: Breaker, now: float, policy: BreakerPolicy, *, trial: bool = True) -> Breaker:
    """Return the state after a failure that counts. `trial`: of the request that was let through while open.

    Requests that were under way when the breaker opened fail too, and say nothing new: they do not lengthen the pause.
    """
    if state.opened_at is not None:
        if not trial:
            return state
        pause = min(state.pause_s * 2, policy.open_s * MAX_OPEN_FACTOR)
        return Breaker(failed_at=(), opened_at=now, pause_s=pause)
    recent = (*(t for t in state.failed_at if now - t < policy.window_s), now)
    if len(recent) >= policy.failures:
        return Breaker(failed_at=(), opened_at=now, pause_s=policy.open_s)
    return Breaker(failed_at=recent)


def held(state: Breaker, now: float, at_least_s: float) -> Breaker:
    """Return an open state that lasts at least so much longer; a longer rest, and a trial that is out, stay as they are."""
    if state.opened_at is None or state.trial_out or reopens_in_s(state, now) >= at_least_s:
        return state
    return Breaker(failed_at=state.failed_at, opened_at=now + at_least_s - state.pause_s, pause_s=state.pause_s)


def ready(state: Breaker, now: float) -> Breaker:
    """Return an open state whose rest is over: one request may try."""
    if state.opened_at is None or reopens_in_s(state, now) == 0.0:
        return state
    return Breaker(failed_at=state.failed_at, opened_at=now - state.pause_s, pause_s=state.pause_s)


def reopens_in_s(state: Breaker, now: float) -> float:
    """Return seconds until the next trial (0: now)."""
    return 0.0 if state.opened_at is None else max(0.0, state.opened_at + state.pause_s - now)
