"""What the machine works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from prefrontal.assess.rules import Rules
from prefrontal.clock import Chance, Clock
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.record import RequestRecord
from prefrontal.execute.cache.answers import ResponseCache
from prefrontal.execute.door import Door
from prefrontal.execute.executor import Executor
from prefrontal.execute.meter import SpendMeter
from prefrontal.execute.prefixes import Prefixes
from prefrontal.execute.runtime import Runtime
from prefrontal.execute.sessions import Sessions
from prefrontal.execute.turns import Turns
from prefrontal.ledger.treasury import Treasury
from prefrontal.machine.knowledge import Librarian
from prefrontal.plan.policies import Policy
from prefrontal.providers.effort import Dialects
from prefrontal.reflex.tools import Reflexes
from prefrontal.validate.judge import Judge


def nobody(_people: tuple[str, ...]) -> tuple[str, ...]:
    """Keep no people."""
    return ()


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine works with; `sink` receives every finished record.

    ready: which local engines are up (True) or would have to be started (False), by model id. adhoc: a card for
    ``provider/model`` when that provider's key lies in the environment although nothing names the model. tracing: upstreams
    are told of traces that begin here, too, and not only of those that callers began. users: the pseudonyms under
    which people are kept. timezone: of this machine, for questions about time where neither caller nor configuration names one.
    door: lets requests in (None: all of them, at once). librarian: looks things up in engrams (None: there are none).
    """

    executor: Executor
    reflexes: Reflexes
    rules: Rules
    policies: Mapping[str, Policy]
    dialects: Dialects
    runtime: Runtime
    sessions: Sessions
    turns: Turns
    meter: SpendMeter
    clock: Clock
    chance: Chance
    ready: Callable[[], Mapping[str, bool]]
    sink: Callable[[RequestRecord], None]
    treasury: Treasury | None = None
    judge: Judge = msgspec.field(default_factory=Judge)
    cache: ResponseCache | None = None
    prefixes: Prefixes = msgspec.field(default_factory=Prefixes)
    adhoc: Callable[[str], ModelCard | None] = lambda _name: None
    door: Door | None = None
    librarian: Librarian | None = None
    tracing: bool = False
    users: Callable[[tuple[str, ...]], tuple[str, ...]] = nobody
    timezone: str = "UTC"
