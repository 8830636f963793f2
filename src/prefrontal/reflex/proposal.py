"""What the machine and a reflex say to each other: the surroundings, what was recognised, and the answer."""

from __future__ import annotations

from typing import Any

import msgspec


class ReflexContext(msgspec.Struct, frozen=True, kw_only=True):
    """The surroundings a reflex may use. Nothing else is read from the machine while recognising.

    `now_s` is seconds since the Unix epoch. `timezone` is the caller's IANA zone; an unknown one makes the tools that need
    it abstain. `allow_host` permits measurements of this host (loopback or admin callers only). `locale` is a language tag
    and settles how ambiguous numbers and dates are read: `en` alone settles nothing, `en-US` and `en-GB` the order of
    day and month, and with any other language a comma inside a number makes every tool abstain.
    `channel` is the channel the request came through: in `system_health` shorter questions are understood.
    """

    now_s: float
    timezone: str = "UTC"
    allow_host: bool = False
    locale: str = "en"
    channel: str = "chat"


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A question that a tool recognised. Nothing is computed yet; answering may still abstain.

    `arguments` holds only JSON values. `reason` is one phrase for the list of reasons in a plan.
    """

    tool: str
    arguments: dict[str, Any]
    reason: str


class ReflexAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A tool's answer.

    `text` is shown to the user, `value` is the bare result for programs (a decimal number, an ISO 8601 date or time, or a
    word), `arguments` are those of the proposal.
    """

    tool: str
    text: str
    value: str
    arguments: dict[str, Any]
