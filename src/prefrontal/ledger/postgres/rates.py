"""Rate limits on Postgres, for gateways without Redis. The server's clock counts, so those of the gateways may differ.

A group of calls is one transaction: it locks the meters it touches, reads them, checks and counts each call in its turn, and
writes. While the database is gone each gateway keeps to its share of every limit, the limit divided by the replicas (at least 1),
by what it let through itself; what it let through meanwhile is not counted again afterwards, but requests that still run are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from prefrontal.clock import Clock
from prefrontal.errors import StoreError
from prefrontal.ledger.board import Admitted, MeterKey, RateDenial, RateDimension, RateLine, exceeded, metered
from prefrontal.ledger.postgres.order import Order, answer
from prefrontal.ledger.postgres.sql import columns, text
from prefrontal.ledger.postgres.store import PostgresLedger
from prefrontal.ledger.rates import LENGTH_S, SLOTS, Sliding
from prefrontal.ledger.redis_rates import gates_of
from prefrontal.ledger.redis_shadow import Shadow

AHEAD = 2
"""Slots ahead of now that still count, as on SQLite: the server's clock may be set back a little (assumed)."""

_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_LOCK = (
    "SELECT pg_advisory_xact_lock(key) FROM"
    " (SELECT DISTINCT hashtextextended(meter, 7) AS key FROM unnest($1::text[]) AS meter ORDER BY 1) AS keys"
)
_SLOTS = (
    "SELECT s.meter, s.slot, s.requests, s.tokens FROM rate_slots s JOIN unnest($1::text[], $2::int8[], $3::int8[])"
    " AS m(meter, oldest, newest) ON s.meter = m.meter AND s.slot BETWEEN m.oldest AND m.newest"
)
_RUNNING = "SELECT meter, lease FROM rate_leases WHERE meter = ANY($1::text[]) AND ends_s >= $2"
_ADD = (
    "INSERT INTO rate_slots (meter, slot, requests, tokens, ends_s)"
    " SELECT * FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[], $5::float8[]) ORDER BY 1, 2"
    " ON CONFLICT (meter, slot) DO UPDATE SET requests = rate_slots.requests + excluded.requests,"
    " tokens = rate_slots.tokens + excluded.tokens"
)
_AMEND = (
    "UPDATE rate_slots s SET tokens = s.tokens + m.change FROM (SELECT meter, slot, sum(change)::int8 AS change"
    " FROM unnest($1::text[], $2::int8[], $3::int8[]) AS m(meter, slot, change) GROUP BY 1, 2) AS m"
    " WHERE s.meter = m.meter AND s.slot = m.slot"
)
_LEASE = (
    "INSERT INTO rate_leases (meter, lease, ends_s) SELECT m, l, $3 FROM unnest($1::text[], $2::text[]) AS t(m, l) ORDER BY 1, 2"
    " ON CONFLICT (meter, lease) DO UPDATE SET ends_s = excluded.ends_s"
)
_LEAVE = "DELETE FROM rate_leases WHERE lease = ANY($1::text[])"
_SWEEP = (
    "DELETE FROM rate_slots WHERE ctid IN (SELECT ctid FROM rate_slots WHERE ends_s < $1 LIMIT 5000 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM rate_leases WHERE ctid IN (SELECT ctid FROM rate_leases WHERE ends_s < $1 LIMIT 5000 FOR UPDATE SKIP LOCKED)",
)


class Enter(msgspec.Struct, frozen=True, kw_only=True):
    """A call, and whom to tell whether it was let in."""

    lines: tuple[RateLine, ...]
    lease: str
    ttl_s: float
    answer: asyncio.Future[Admitted | RateDenial]


class Amend(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens to be corrected in the slots they were counted in."""

    lines: tuple[RateLine, ...]
    at_s: float
    tokens: int
    answer: None = None


class Leave(msgspec.Struct, frozen=True, kw_only=True):
    """A request that no longer runs."""

    lease: str
    answer: None = None


Step = Enter | Amend | Leave


class PostgresRates:
    """Implements `RateBoard` on an open `PostgresLedger`. Times of what was counted without the database are negative."""

    def __init__(
        self, ledger: PostgresLedger, *, clock: Clock, replicas: int = 1, ahead_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        """`ahead_s` is a seam for tests: how far ahead of itself the server's clock is taken to be."""
        self._postgres = ledger.postgres
        self._clock = clock
        self._replicas = replicas
        self._ahead_s = ahead_s
        self._shadow = Shadow(clock)
        self._leases: dict[str, tuple[str, ...]] = {}
        self._alone: set[str] = set()  # let in while the database was gone, which knows nothing of them
        self._offset_s = 0.0
        self.order = Order(self._take, postgres=ledger.postgres, clock=clock, what="rate limits")
        ledger.before_close.append(self.order.aclose)

    async def enter(self, lines: Sequence[RateLine], lease_id: str, ttl_s: float) -> Admitted | RateDenial:
        """See `RateBoard.enter`. Never fails: without the database this gateway counts for itself."""
        held = self._leases.get(lease_id, ())
        fresh = tuple([name for name in _places(lines) if name not in held])
        if fresh:
            self._leases[lease_id] = (*held, *fresh)
        waiting: asyncio.Future[Admitted | RateDenial] = asyncio.get_running_loop().create_future()
        sent = self.order.problem is None
        step = Enter(lines=tuple(lines), lease=lease_id, ttl_s=ttl_s, answer=waiting)
        try:
            found: Admitted | RateDenial = await self.order.ask(step)
        except StoreError:
            found = self._without(lines, lease_id)
            if isinstance(found, Admitted):
                if not sent and not held:
                    self._alone.add(lease_id)
            elif sent and not held:  # it may have been counted
                self.leave(lease_id)
            else:
                self._forget(lease_id, fresh)
        except BaseException:
            self.leave(lease_id)
            raise
        else:
            if isinstance(found, Admitted):
                self._offset_s = found.at_s - self._clock.monotonic()
            elif fresh:
                self._forget(lease_id, fresh)
        if isinstance(found, Admitted):
            self._shadow.count(gates_of(lines), lease_id, untold=False)
        return found

    def amend(self, lines: Sequence[RateLine], at_s: float, tokens: int) -> None:
        """See `RateBoard.amend`."""
        own_s = -at_s if at_s < 0 else at_s - self._offset_s
        for key, line in metered(lines).items():
            if line.tokens:
                self._shadow.amend(key, own_s, tokens - line.tokens)
        if at_s >= 0 and any(line.tokens not in (0, tokens) for line in lines):
            self.order.say(Amend(lines=tuple(lines), at_s=at_s, tokens=tokens))

    def leave(self, lease_id: str) -> None:
        """See `RateBoard.leave`."""
        self._shadow.leave(lease_id)
        if self._leases.pop(lease_id, None) and lease_id not in self._alone:
            self.order.say(Leave(lease=lease_id))
        self._alone.discard(lease_id)

    async def renew(self, ttl_s: float) -> None:
        """See `RateBoard.renew`. Requests that were let in without the database take their places; what ended is deleted."""
        self._shadow.sweep()
        self._alone.clear()  # from now on the database knows them
        pairs = [(meter, text(lease)) for lease, meters in self._leases.items() for meter in meters]

        async def run() -> None:
            now_s = await self._now_s(self._postgres)
            if pairs:
                await self._postgres.execute(_LEASE, *columns(pairs), now_s + ttl_s)
            for statement in _SWEEP:
                await self._postgres.execute(statement, now_s)

        await self.order.do(run)

    def _forget(self, lease_id: str, places: Sequence[str]) -> None:
        left = tuple([place for place in self._leases.get(lease_id, ()) if place not in places])
        if left:
            self._leases[lease_id] = left
        else:
            self._leases.pop(lease_id, None)

    def _without(self, lines: Sequence[RateLine], lease_id: str) -> Admitted | RateDenial:
        for gate in gates_of(lines):
            limit = max(1, gate.limit // self._replicas)
            used, wait_s = self._shadow.used(gate, limit, lease_id)
            if used + gate.amount > limit:
                return RateDenial(line=gate.line, dimension=gate.dimension, used=used, limit=limit, wait_s=wait_s)
        return Admitted(at_s=-self._clock.monotonic())

    # -- in the database -----------------------------------------------------------------------------------------------

    async def _now_s(self, where: Any) -> float:
        (now_s,) = await where.fetchrow(_NOW)
        return float(now_s) + self._ahead_s()

    async def _take(self, steps: list[Step]) -> None:
        entering = [step for step in steps if isinstance(step, Enter)]
        gone = [text(step.lease) for step in steps if isinstance(step, Leave)]
        corrections = [row for step in steps if isinstance(step, Amend) for row in _corrections(step)]
        names = {_name(key) for step in entering for key in metered(step.lines)} | {str(row[0]) for row in corrections}
        answers: list[Admitted | RateDenial] = []
        async with self._postgres.transaction() as connection:
            if names:
                await connection.fetch(_LOCK, sorted(names))
            if gone:
                await connection.execute(_LEAVE, gone)
            if corrections:
                await connection.execute(_AMEND, *columns(corrections))
            if entering:
                now_s = await self._now_s(connection)
                desk = Desk(now_s)
                await desk.read(connection, entering)
                answers = [desk.enter(step) for step in entering]
                await desk.write(connection)
        for step, found in zip(entering, answers, strict=True):
            answer(step, found)


class Desk:
    """The meters of one transaction at one moment, and what is added to them."""

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s
        self._slots: dict[str, dict[int, tuple[int, int]]] = {}
        self._running: dict[str, set[str]] = {}
        self._added: dict[str, tuple[int, int, int, float]] = {}
        self._leases: dict[tuple[str, str], float] = {}

    async def read(self, connection: Any, entering: Sequence[Enter]) -> None:
        """Read what stands in the meters of these calls."""
        slots = {_name(key): _slot(key, self._now_s) for step in entering for key in metered(step.lines)}
        wanted = [(name, slot - SLOTS, slot + AHEAD) for name, slot in sorted(slots.items())]
        for meter, slot, requests, tokens in await connection.fetch(_SLOTS, *columns(wanted)):
            self._slots.setdefault(meter, {})[slot] = (requests, tokens)
        counted = [_name(line.key) for step in entering for line in step.lines if line.rate.concurrency is not None]
        if counted:
            for meter, lease in await connection.fetch(_RUNNING, sorted(set(counted)), self._now_s):
                self._running.setdefault(meter, set()).add(lease)

    def enter(self, step: Enter) -> Admitted | RateDenial:
        """Count a call in every meter or in none."""
        lease = text(step.lease)
        for line in step.lines:
            name = _name(line.key)
            slots = self._slots.get(name, {}).values()
            stand = {"requests": sum([slot[0] for slot in slots]), "tokens": sum([slot[1] for slot in slots])}
            full = exceeded(line, **stand, running=len(self._running.get(name, set()) - {lease}))
            if full is not None:
                return self._denial(line, full)
        for key, line in metered(step.lines).items():
            self._count(key, line, lease, step.ttl_s)
        return Admitted(at_s=self._now_s)

    async def write(self, connection: Any) -> None:
        """Write what was added."""
        if self._added:
            await connection.execute(_ADD, *columns([(meter, *row) for meter, row in sorted(self._added.items())]))
        for ends_s in sorted(set(self._leases.values())):
            pairs = sorted(pair for pair, end in self._leases.items() if end == ends_s)
            await connection.execute(_LEASE, *columns(pairs), ends_s)

    def _count(self, key: MeterKey, line: RateLine, lease: str, ttl_s: float) -> None:
        name, slot = _name(key), _slot(key, self._now_s)
        before = self._slots.setdefault(name, {}).get(slot, (0, 0))
        self._slots[name][slot] = (before[0] + line.requests, before[1] + line.tokens)
        _, requests, tokens, _ = self._added.get(name, (slot, 0, 0, 0.0))
        ends_s = (slot + SLOTS + AHEAD + 1) * LENGTH_S[key[1]] / SLOTS
        self._added[name] = (slot, requests + line.requests, tokens + line.tokens, ends_s)
        if line.requests and line.rate.concurrency is not None:
            self._running.setdefault(name, set()).add(lease)
            self._leases[name, lease] = self._now_s + ttl_s

    def _denial(self, line: RateLine, full: tuple[RateDimension, int, int]) -> RateDenial:
        dimension, used, limit = full
        wait_s = None
        if dimension != "concurrency":
            place, amount = (1, line.tokens) if dimension == "tokens" else (0, line.requests)
            slots = {slot: counted[place] for slot, counted in sorted(self._slots.get(_name(line.key), {}).items())}
            wait_s = Sliding.of(LENGTH_S[line.rate.window], slots).wait_s(self._now_s, amount, limit)
        return RateDenial(line=line, dimension=dimension, used=used, limit=limit, wait_s=wait_s)


def _places(lines: Sequence[RateLine]) -> list[str]:
    """Return the meters in which a call of these lines counts as running."""
    return [_name(key) for key, line in metered(lines).items() if line.requests and line.rate.concurrency is not None]


def _corrections(step: Amend) -> list[tuple[object, ...]]:
    return [
        (_name(key), _slot(key, step.at_s), step.tokens - line.tokens)
        for key, line in metered(step.lines).items()
        if line.tokens and step.tokens != line.tokens
    ]


def _slot(key: MeterKey, at_s: float) -> int:
    return int(at_s / (LENGTH_S[key[1]] / SLOTS))


def _name(key: MeterKey) -> str:
    return msgspec.json.encode((key[0], key[1], text(key[2]))).decode()
