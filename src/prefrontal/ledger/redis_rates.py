"""Rate limits that several gateways share through Redis: each call is one script, so a limit is one limit however many there are.

While Redis is away each kind of limit follows its policy:

- ``local``: this gateway keeps to its share, the limit divided by the replicas (at least 1), by what it let through itself;
- ``open``: it lets everything through;
- ``closed``: it refuses what the limit applies to.

What was let through meanwhile is told to Redis once when it is back; requests that still run take their places again.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import msgspec

from prefrontal.errors import StoreError
from prefrontal.ledger.board import LEASE_S, Admitted, MeterKey, RateDenial, RateDimension, RateLine
from prefrontal.ledger.rates import LENGTH_S, SLOTS
from prefrontal.ledger.redis_link import RedisAway, RedisLink
from prefrontal.ledger.redis_scripts import MEND, RENEW, REPLAY, TAKE
from prefrontal.ledger.redis_shadow import Gate, Shadow, Untold

T = TypeVar("T")

OnOutage = Literal["local", "open", "closed"]

CHUNK = 500
"""Keys one script takes at most (assumed: below a millisecond of the server's time)."""

MAX_UNSAID = 20_000
"""Places to free and counts to tell that are kept while Redis is away (assumed: some MB); what is beyond ends by itself."""

LETTER: dict[RateDimension, str] = {"requests": "n", "tokens": "t", "concurrency": "c"}


class OutagePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to each kind of limit while Redis is away. replicas: gateways that share the limits."""

    requests: OnOutage = "local"
    tokens: OnOutage = "local"
    concurrency: OnOutage = "local"
    replicas: int = 1


class RedisRates:
    """A `RateBoard` on a link. Times of what was counted here, without Redis, are negative; others are the server's."""

    def __init__(self, link: RedisLink, *, policy: OutagePolicy, replica: str) -> None:
        """`replica` names this process among all that share the server, anew at each start."""
        self.policy = policy
        self._link = link
        self._replica = replica
        self._shadow = Shadow(link.clock)
        self._leases: dict[str, dict[str, None]] = {}
        self._mends: list[tuple[str, Any, Any]] = []
        self._unsaid: deque[tuple[str, str]] = deque(maxlen=MAX_UNSAID)
        self._deliveries = 0
        self._again: list[tuple[str, list[Untold]]] = []
        self._offset_s = 0.0
        link.listen(self._changed)

    # -- the board -----------------------------------------------------------------------------------------------------

    async def enter(self, lines: Sequence[RateLine], lease_id: str, ttl_s: float) -> Admitted | RateDenial:
        """Count a call in every meter or in none. Raises StoreError: Redis is away, and a limit is closed then."""
        gates = gates_of(lines)
        keys = [self._key(gate.dimension, gate.line.key) for gate in gates]
        taken = {key: None for gate, key in zip(gates, keys, strict=True) if gate.dimension == "concurrency" and gate.counted}
        try:
            if not self._link.up:
                return self._without(gates, taken, lease_id, sent=False)
            self._say_mends()
            answer = await self._link.run(TAKE, keys, [lease_id, int(ttl_s * 1000), *_arguments(gates)])
        except RedisAway as away:
            return self._without(gates, taken, lease_id, sent=away.sent)
        except asyncio.CancelledError:
            self._free(lease_id, taken)  # behind what it had asked for
            raise
        if answer[0]:
            gate = gates[answer[0] - 1]
            wait_s = None if answer[2] < 0 else answer[2] / 1000.0
            return RateDenial(line=gate.line, dimension=gate.dimension, used=answer[1], limit=gate.limit, wait_s=wait_s)
        at_s = int(answer[1]) + int(answer[2]) / 1_000_000
        self._offset_s = at_s - self._link.clock.monotonic()
        self._shadow.count(gates, lease_id, untold=False)
        self._run(lease_id, taken)
        return Admitted(at_s=at_s)

    def amend(self, lines: Sequence[RateLine], at_s: float, tokens: int) -> None:
        """Correct tokens where they were counted; nothing where that is forgotten, or Redis is away."""
        own_s, server_s = (-at_s, self._offset_s - at_s) if at_s < 0 else (at_s - self._offset_s, at_s)
        for gate in gates_of(lines):
            if gate.dimension != "tokens" or not gate.counted:
                continue
            change = tokens - gate.counted
            will_be_told = self._shadow.amend(gate.line.key, own_s, change)
            if change and self._link.up and not (will_be_told and at_s < 0):
                slot = math.floor(server_s * SLOTS / LENGTH_S[gate.line.rate.window])  # as the script has it
                self._mend(self._key("tokens", gate.line.key), slot, change)

    def leave(self, lease_id: str) -> None:
        """The request no longer runs. An unknown lease is nothing."""
        self._shadow.leave(lease_id)
        self._free(lease_id, self._leases.pop(lease_id, ()))

    async def renew(self, ttl_s: float) -> None:
        """Let every lease of this process hold on. While Redis is away that waits until it is back."""
        self._shadow.sweep()
        try:
            await asyncio.gather(*self._renewals(ttl_s))
        except RedisAway:
            return  # the link said so, and its return renews

    # -- without Redis -------------------------------------------------------------------------------------------------

    def _without(self, gates: list[Gate], taken: dict[str, None], lease_id: str, *, sent: bool) -> Admitted | RateDenial:
        """Decide by the policy of each limit. `sent`: Redis may have counted the call, so it is not told again."""
        policy = self.policy
        for gate in gates:
            rule: OnOutage = getattr(policy, gate.dimension)
            if rule == "open":
                continue
            limit = max(1, gate.limit // policy.replicas)
            used, wait_s = self._shadow.used(gate, limit, lease_id)
            if rule == "closed" or used + gate.amount > limit:
                if sent:
                    self._free(lease_id, taken)
                if rule == "closed":
                    raise StoreError(f"The limit '{gate.line.rate.name}' is closed while Redis is away (`redis.on_outage`).")
                return RateDenial(line=gate.line, dimension=gate.dimension, used=used, limit=limit, wait_s=wait_s)
        self._shadow.count(gates, lease_id, untold=not sent)
        self._run(lease_id, taken)
        return Admitted(at_s=-self._link.clock.monotonic())

    def _changed(self, up: bool) -> None:
        """Tell a server that is back what happened without it, before anything else is asked."""
        if not up:
            return
        self._mends += [(key, "lease", lease) for key, lease in self._unsaid]
        self._unsaid.clear()
        self._say_mends()
        self._renewals(LEASE_S)
        again, self._again = self._again, []
        for name, batch in again:
            self._deliver(name, batch)
        for batch in _chunks(list(self._shadow.untold())):
            self._deliveries += 1
            self._deliver(self._link.key("told", self._replica, str(self._deliveries)), batch)

    def _deliver(self, name: str, batch: list[Untold]) -> None:
        """Tell counts under a name; when nobody knows whether they arrived they are told again under the same name."""
        now = self._link.clock.monotonic()
        keys, args = [name], []
        for untold in batch:
            length_s = LENGTH_S[untold.key[1]]
            keys.append(self._key(untold.dimension, untold.key))
            args += [length_s, max(0, round((now - untold.at_s) * SLOTS / length_s)), untold.amount]

        def told(done: asyncio.Future[Any]) -> None:
            if not done.cancelled() and done.exception() is not None:
                self._again.append((name, batch))

        self._link.tell(REPLAY, keys, args).add_done_callback(told)

    # -- leases and corrections ----------------------------------------------------------------------------------------

    def _run(self, lease_id: str, taken: Iterable[str]) -> None:
        places = dict.fromkeys(taken)
        if places:
            self._leases.setdefault(lease_id, {}).update(places)

    def _free(self, lease_id: str, places: Iterable[str]) -> None:
        for key in places:
            self._mend(key, "lease", lease_id)

    def _mend(self, key: str, slot: Any, change: Any) -> None:
        if not self._link.up:
            if slot == "lease":
                self._unsaid.append((key, change))
            return
        if not self._mends:
            asyncio.get_running_loop().call_soon(self._say_mends)
        self._mends.append((key, slot, change))

    def _say_mends(self) -> None:
        """Send what is to be corrected, in order and without waiting."""
        mends, self._mends = self._mends, []
        for batch in _chunks(mends):
            self._send_mends(batch)

    def _send_mends(self, batch: list[tuple[str, Any, Any]]) -> None:
        def mended(done: asyncio.Future[Any]) -> None:
            if not done.cancelled() and done.exception() is not None:  # to free a place twice is harmless, to correct is not
                self._unsaid.extend((key, change) for key, slot, change in batch if slot == "lease")

        args = [word for _, slot, change in batch for word in (slot, change)]
        self._link.tell(MEND, [key for key, _, _ in batch], args).add_done_callback(mended)

    def _renewals(self, ttl_s: float) -> list[asyncio.Future[Any]]:
        places = [(key, lease) for lease, keys in self._leases.items() for key in keys]
        return [
            self._link.tell(RENEW, [key for key, _ in batch], [int(ttl_s * 1000), *(lease for _, lease in batch)])
            for batch in _chunks(places)
        ]

    def _key(self, dimension: RateDimension, key: MeterKey) -> str:
        return self._link.key("rate", LETTER[dimension], *key)


def gates_of(lines: Sequence[RateLine]) -> list[Gate]:
    """Return what is to be checked, in the order of the lines; of several gates on one counter the first with the most counts."""
    wanted: list[tuple[RateLine, RateDimension, int, int]] = []
    most: dict[tuple[RateDimension, MeterKey], int] = {}
    for line in lines:
        rate = line.rate
        bounds: tuple[tuple[RateDimension, int, int | None], ...] = (
            ("tokens", line.tokens, rate.tokens),
            ("requests", line.requests, rate.requests),
            ("concurrency", line.requests, rate.concurrency),
        )
        for dimension, amount, limit in bounds:
            if amount and limit is not None:
                counter = (dimension, line.key)
                wanted.append((line, dimension, amount, limit))
                most[counter] = max(most.get(counter, 0), amount)
    gates = []
    for line, dimension, amount, limit in wanted:
        counted = most.pop((dimension, line.key), 0)
        gates.append(Gate(line=line, dimension=dimension, amount=amount, limit=limit, counted=counted))
    return gates


def _arguments(gates: Iterable[Gate]) -> Iterator[Any]:
    for gate in gates:
        yield "lease" if gate.dimension == "concurrency" else "window"
        yield LENGTH_S[gate.line.rate.window]
        yield gate.amount
        yield gate.limit
        yield gate.counted


def _chunks(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
