"""Breakers that several gateways share as hints: each decides by its own, and learns within a second what others know. Pure.

    opened here            ▶ the others leave the model alone as well
    closed here            ▶ the others do too
    the pause is over      ▶ one gateway is named that may try; the rest wait on until it says how that went, or its time is over

Without the shared place each gateway goes on with what it knows, and tries for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Literal

import msgspec

from prefrontal.contracts.reach import host_of, is_loopback
from prefrontal.execute import breaker
from prefrontal.execute.breaker import CLOSED, Breaker

CLOSE_ENOUGH_S = 0.1
"""Ends of a pause that differ by less are the same (assumed: the way to the server and back)."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a breaker here since it was last looked at. rest_s: until the next trial; pause_s: the pause in all.

    ready: it still rests, and was found to be there before its pause was over.
    """

    to: Literal["open", "ready", "close"]
    rest_s: float = 0.0
    pause_s: float = 0.0


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """What all know of a breaker. hold_s: how long it is to be left alone here. mine: this gateway is the one that may try."""

    opened: bool
    hold_s: float = 0.0
    pause_s: float = 0.0
    mine: bool = False


def shared_name(model: str, identity: Sequence[object], place: str) -> str | None:
    """Return what the same upstream is called by every gateway, None for one that only this machine's files make.

    model: its name with the deployment's. identity: of `execute.runtime.identity_of`. place: this machine, for upstreams on it.
    Nothing can be read from the result.
    """
    profile, wire_name, base_url, _, key = identity[:5]
    if not isinstance(base_url, str):
        return None
    parts = (model, profile, wire_name, base_url, key, place if is_loopback(host_of(base_url)) else "")
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def change_of(before: Breaker | None, state: Breaker, now: float) -> Change | None:
    """Return what is to be told of a breaker that was `before` (None: never looked at) and is `state` now."""
    opened_before = None if before is None else before.opened_at
    if state.opened_at is not None:
        if opened_before == state.opened_at:
            return None
        rest_s = breaker.reopens_in_s(state, now)
        told_before = opened_before is not None and rest_s == 0.0
        return Change(to="ready" if told_before else "open", rest_s=rest_s, pause_s=state.pause_s)
    return Change(to="close") if opened_before is not None else None


def hinted(state: Breaker, hint: Hint | None, now: float, *, guard_s: float) -> Breaker:
    """Return a breaker after what all know was read. `guard_s`: so long it holds at least where another gateway tries.

    A trial that is out is never disturbed.
    """
    if state.trial_out or hint is None:
        return state
    if not hint.opened:
        return CLOSED if state.opened_at is not None else state
    hold_s = hint.hold_s if hint.mine else max(hint.hold_s, guard_s)
    if state.opened_at is not None and abs(breaker.reopens_in_s(state, now) - hold_s) < CLOSE_ENOUGH_S:
        return state
    return Breaker(opened_at=now + hold_s - hint.pause_s, pause_s=hint.pause_s)
