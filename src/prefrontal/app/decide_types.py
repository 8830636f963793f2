"""What the overloads of `Prefrontal.decide` and `weigh` promise: nothing runs here, mypy checks it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Literal, assert_type

from prefrontal.decisions.typed import Ask

if TYPE_CHECKING:
    from prefrontal.app.decisions import Decision
    from prefrontal.app.library import Prefrontal

    class Team(enum.Enum):
        """Any choice."""

        BILLING = "billing"
        TECH = "tech"

    async def promised(pf: Prefrontal) -> None:
        """A type in, the same type out; a registered name gives a value of the wire."""
        assert_type(await pf.decide(Team, "s"), Team)
        assert_type(await pf.decide(bool, "s"), bool)
        assert_type(await pf.decide(Literal["a", "b"], "s"), Literal["a", "b"])
        assert_type(await pf.decide(Ask[Literal["a", "b"]]("?"), "s"), Literal["a", "b"])
        assert_type(await pf.decide(Ask[Team]("?"), "s"), Team)
        assert_type(await pf.decide("next_action", {"n": 1}), str | bool)
        assert_type(await pf.weigh(Team, "s", model="m"), Decision[Team])
        assert_type((await pf.weigh(Ask[bool]("?"), "s")).value, bool)
