"""A second attempt beside a slow first one: whoever answers first answers, and the other is cancelled and settled.

Nothing of an answer is shown before its race is over, so no request whose first token was shown is ever hedged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from prefrontal.clock import Clock
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.resilience import Hedge
from prefrontal.errors import LimitExceeded
from prefrontal.execute.call import Call
from prefrontal.execute.journal import Branch, Journal
from prefrontal.execute.live import LiveStream
from prefrontal.execute.relief import Try
from prefrontal.execute.runtime import Runtime
from prefrontal.plan.hedging import Credit, hedge_after_s
from prefrontal.plan.reserve import reserved

PASSES = 8
"""How often the loop runs before a cancelled attempt that is not settled by then is waited for (assumed: a chain of awaits)."""

T = TypeVar("T")
Ask = Callable[[Call, Try, Journal], Awaitable[T]]
Second = Callable[[], ModelCard | None]
"""Says where a second attempt would go now; None: nowhere."""


class Hedger:
    """Decides on second attempts. What is kept: each hedged model's credit. Owned by one event loop."""

    def __init__(self, *, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._credit: dict[str, Credit] = {}
        self._closing: set[asyncio.Future[None]] = set()

    async def ask(
        self, hedge: Hedge, ask: Ask[T], call: Call, attempt: Try, journal: Journal, second: Second, *, stream: bool
    ) -> tuple[T, ModelCard]:
        """Ask `attempt`'s model, and another place when that takes too long; return the first answer and whose it is.

        Raises:
            PrefrontalError: of the first attempt when both failed, or when it failed before there was a second one.
        """
        card = attempt.card
        credit = self._credit[card.id] = self._credit.get(card.id, Credit()).earned(hedge.max_share)
        state = self._runtime.find(card.place)
        times = () if state is None else state.first_tokens if stream else state.whole_answers
        delay_s = hedge_after_s(hedge, times)
        if delay_s is None or not credit.enough:
            return await ask(call, attempt, journal), card
        race: Race[T] = Race(journal, self._clock, self._closing)
        try:
            race.start(ask, call, attempt)
            if not await race.over_within(delay_s):
                other = self._allowed(call, second())
                if other is not None:
                    self._credit[card.id] = self._credit[card.id].spent()
                    race.start(ask, call, Try(card=other, effort=call.effort))
            return await race.winner()
        finally:
            await race.end()

    def _allowed(self, call: Call, card: ModelCard | None) -> ModelCard | None:
        """Return where the second attempt may go: nowhere without money or time for it, or without credit by now."""
        now = self._clock.monotonic()
        if card is None or (call.deadline is not None and now >= call.deadline):
            return None
        if not self._credit.get(card.id, Credit(amount=1.0)).enough:
            return None
        if call.purse is not None:
            usage, pico = reserved(call.request, card, self._clock.now(), default_cap=call.default_cap)
            try:
                call.purse.check(card.id, pico, usage.total_tokens)
            except LimitExceeded:
                return None
        return card


class Race(Generic[T]):
    """Attempts at the same time. `end` it whatever happens: then every attempt has ended and is settled."""

    def __init__(self, journal: Journal, clock: Clock, closing: set[asyncio.Future[None]]) -> None:
        """`closing` holds what is still being closed after the race."""
        self._journal = journal
        self._closing = closing
        self._clock = clock
        self._began = clock.monotonic()
        self._runners: dict[asyncio.Task[T], tuple[ModelCard, Branch]] = {}
        self._won: asyncio.Task[T] | None = None

    def start(self, ask: Ask[T], call: Call, attempt: Try) -> None:
        """Let one more attempt run."""
        branch = self._journal.branch()
        second = bool(self._runners)
        task = asyncio.ensure_future(_marked(ask, call, attempt, branch, hedge=second))
        self._runners[task] = (attempt.card, branch)

    async def over_within(self, delay_s: float) -> bool:
        """Wait for the attempt at most so long; return whether it has ended."""
        bell = asyncio.ensure_future(self._clock.sleep(delay_s))
        try:
            done, _ = await asyncio.wait([bell, *self._runners], return_when=asyncio.FIRST_COMPLETED)
        finally:
            bell.cancel()
        return any(task in done for task in self._runners)

    async def winner(self) -> tuple[T, ModelCard]:
        """Return the first answer and whose it is. Raises the first attempt's error when none answers."""
        open_tasks = set(self._runners)
        while open_tasks:
            done, open_tasks = await asyncio.wait(open_tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in self._runners:
                if task in done and not task.cancelled() and task.exception() is None:
                    return self._take(task)
        first = next(iter(self._runners))
        self._count_waiting(first)
        return first.result(), self._runners[first][0]

    def _take(self, task: asyncio.Task[T]) -> tuple[T, ModelCard]:
        self._won = task
        self._count_waiting(task)
        answer = task.result()
        if isinstance(answer, LiveStream):
            answer.journal = self._journal  # what it waits for from now on is waited for by the request alone
        return answer, self._runners[task][0]

    def _count_waiting(self, task: asyncio.Task[T]) -> None:
        """Count what was waited for somebody else once, not once for each attempt."""
        branch = self._runners[task][1]
        self._journal.waited_s += branch.waited_s + branch.started - self._began

    async def end(self) -> None:
        """Cancel every attempt that has not won, and return when it is settled.

        An attempt is settled as soon as its cancellation reaches it. What it still has to close after that is closed beside the
        answer of the winner, which does not wait for a slow goodbye.
        """
        losers = [task for task in self._runners if task is not self._won]
        for task in losers:
            if self._won is not None:
                for entry in self._runners[task][1].own:
                    entry.lost = True
            task.cancel()
        try:
            await self._cleared(losers)
        except BaseException:  # cancelled here, nobody gets the winner's answer either
            for task in losers:
                self._close_beside(task)
            if self._won is not None and isinstance(answer := self._won.result(), LiveStream):
                await answer.aclose()
            raise

    async def _cleared(self, losers: list[asyncio.Task[T]]) -> None:
        for _ in range(PASSES):
            if all(task.done() for task in losers):
                break
            await self._clock.sleep(0)
        for task in losers:
            if any(entry.outcome == "open" for entry in self._runners[task][1].own):
                await _left(task)
            else:
                self._close_beside(task)

    def _close_beside(self, task: asyncio.Task[T]) -> None:
        closing = asyncio.ensure_future(_left(task))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _left(task: asyncio.Task[T]) -> None:
    """Wait for the end of an attempt that lost; close its answer where it was there in the same moment."""
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None and isinstance(result := task.result(), LiveStream):
        await result.aclose()


async def _marked(ask: Ask[T], call: Call, attempt: Try, branch: Branch, *, hedge: bool) -> T:
    try:
        return await ask(call, attempt, branch)
    finally:
        for entry in branch.own:
            entry.hedge = hedge
