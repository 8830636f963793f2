"""When an engine that ended is started again: a pure function of how it ended and what went before.

it could not be loaded (exit codes 2, 3, 4)   ▶ give up
it ran well for `quick_s` and then crashed    ▶ at once
it crashed sooner, fewer than the cap         ▶ after base · 2ⁿ seconds with jitter
it crashed sooner, as often as the cap        ▶ give up
"""

from __future__ import annotations

import msgspec

from prefrontal.execute.engine.exits import PERMANENT, describe_exit


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers. All assumed; an engine with a tiny model was measured to start in 0.07 s on two cores."""

    base_delay_s: float = 0.2
    max_delay_s: float = 30.0
    jitter_share: float = 0.25
    """A delay is drawn from [1 - share, 1 + share] times its nominal value."""
    max_quick_crashes: int = 5
    quick_s: float = 60.0
    """An engine that served for less than this counts as a quick crash; more, and the count starts over."""
    failed_rest_s: float = 30.0
    """How long a failed engine refuses at once before a caller makes it try again."""


class EngineExit(msgspec.Struct, frozen=True, kw_only=True):
    """How one run ended. `served_s` is None when it never became ready; `code` None when it was given up on (start timeout)."""

    code: int | None
    served_s: float | None


class AfterExit(msgspec.Struct, frozen=True, kw_only=True):
    """What follows. `delay_s` None: no restart, the engine has failed."""

    delay_s: float | None
    quick_crashes: int
    reason: str


def after_exit(ended: EngineExit, quick_crashes: int, policy: RestartPolicy, *, chance: float) -> AfterExit:
    """Decide what follows `ended`, after `quick_crashes` earlier ones in a row; `chance` in [0, 1] draws the jitter."""
    what = "did not become ready in time" if ended.code is None else describe_exit(ended.code)
    if ended.code in PERMANENT and ended.served_s is None:
        return AfterExit(delay_s=None, quick_crashes=quick_crashes, reason=f"It {what}.")
    if ended.served_s is not None and ended.served_s >= policy.quick_s:
        return AfterExit(delay_s=0.0, quick_crashes=0, reason=f"It {what} after {ended.served_s:.0f} s of service.")
    crashes = quick_crashes + 1
    if crashes >= policy.max_quick_crashes:
        return AfterExit(delay_s=None, quick_crashes=crashes, reason=f"It {what}; that was quick crash {crashes} in a row.")
    nominal = min(policy.max_delay_s, policy.base_delay_s * 2.0 ** (crashes - 1))
    delay_s = nominal * (1 + policy.jitter_share * (2 * chance - 1))
    return AfterExit(delay_s=delay_s, quick_crashes=crashes, reason=f"It {what}.")
