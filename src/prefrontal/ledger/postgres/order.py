"""What is said is carried out in the order it was said, in groups, and once: also when the database is gone for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import asyncpg
import msgspec

from prefrontal.clock import Clock
from prefrontal.errors import StoreError
from prefrontal.ledger.postgres.pool import POISON, RETRY_AFTER_S, Postgres
from prefrontal.ledger.writer import RETRY_S

log = logging.getLogger(__name__)

T = TypeVar("T")

WAIT_S = 5.0
"""How long a commit is waited for (assumed: a hundred times what a busy database takes)."""

GROUP_MAX = 500
"""Steps in one transaction at most, so that rows are not locked for long (assumed: some ten milliseconds)."""

TRIES = 3
"""How often a group is tried that another transaction stops (assumed)."""

FAULTS = (LookupError, TypeError, ValueError, AttributeError)
"""What a fault of ours raises. It must not end the order, or nothing behind the step would ever be carried out."""

NEVER = (*POISON, *FAULTS)

AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""What another transaction caused, and a second try mends."""


class Step(Protocol):
    """Something to carry out. Somebody waits for one whose `answer` is a future: it is refused when the database is gone.

    One without is kept until it is carried out.
    """

    @property
    def answer(self) -> asyncio.Future[Any] | None:
        """Whom to tell what came of it."""
        ...


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing but a place in the order, and whom to tell when it is reached."""

    answer: asyncio.Future[Any]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is carried out by itself, and kept while the database is gone; `answer` hears what it returns."""

    run: Callable[[], Awaitable[object]]
    answer: asyncio.Future[Any] | None = None


class Order:
    """A list of steps and the task that works it off. While one group is being committed the next one gathers."""

    def __init__(
        self,
        take: Callable[[list[Any]], Awaitable[None]],
        *,
        postgres: Postgres,
        clock: Clock,
        what: str,
        on_return: Callable[[], None] = lambda: None,
    ) -> None:
        """`take` carries out a group of steps, none of them work, and answers them; marks it may pass over.

        what: how messages call it. on_return: called when the database is back.
        """
        self.todo: list[Step] = []
        self.problem: str | None = None
        self._take_steps = take
        self._postgres = postgres
        self._clock = clock
        self._what = what
        self._on_return = on_return
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    # -- saying --------------------------------------------------------------------------------------------------------

    def say(self, step: Step) -> None:
        """Have a step carried out; never waits."""
        self.todo.append(step)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._carry_out(), name=self._what)

    async def ask(self, step: Step) -> Any:
        """Return the answer of a step. Raises StoreError: at once while the database is known to be gone; it is dropped then."""
        self.check()
        self.say(step)
        return await self._in_time(cast("asyncio.Future[Any]", step.answer))

    async def do(self, run: Callable[[], Awaitable[T]]) -> T:
        """Have something done in its place and return what it returns. Raises StoreError; once begun it is tried again then."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        return cast("T", await self.ask(Work(run=run, answer=answer)))

    async def reached(self) -> None:
        """Return when everything said so far is carried out. Raises StoreError."""
        if self.todo:
            await self.ask(Mark(answer=asyncio.get_running_loop().create_future()))

    def check(self) -> None:
        """Return when steps are carried out. Raises StoreError."""
        if self.problem is not None:
            raise refusal(self.problem)
        if self._closing:
            raise refusal("the ledger is closed")

    async def aclose(self) -> None:
        """Carry out what was said, or say that it is lost. Bounded in time."""
        self._closing = True
        if self._task is not None:
            try:
                async with self._clock.timeout(WAIT_S):
                    await self._task
            except TimeoutError:
                log.error("%s did not end in time", self._what)
        if self.todo:
            log.error("%d steps of %s could not be written before the end: %s", len(self.todo), self._what, self.problem)

    async def _in_time(self, answer: asyncio.Future[T]) -> T:
        try:
            async with self._clock.timeout(WAIT_S):
                return await answer
        except TimeoutError:
            raise refusal(f"nothing was committed for {WAIT_S:g} s") from None

    # -- carrying out --------------------------------------------------------------------------------------------------

    async def _carry_out(self) -> None:
        """Carry out what is to be done until there is nothing left, or for as long as the database is gone."""
        while self.todo or self.problem is not None:
            try:
                await self._next(_group(self.todo))
            except StoreError as error:
                self._failed(error.message.rstrip("."))
                if self._closing:
                    break
                await self._clock.sleep(RETRY_S)
            else:
                if self.problem is not None:
                    self.problem = None
                    log.warning("%s can be written again", self._what)
                    self._on_return()
        self._task = None

    async def _next(self, group: list[Step]) -> None:
        """Carry out a group and take it off the list. Raises StoreError: it stays there."""
        for _ in range(TRIES):
            try:
                await self._take(group)
            except StoreError as error:
                if isinstance(error.__cause__, AGAIN):
                    continue
                if not isinstance(error.__cause__, NEVER):
                    raise
                await self._one_by_one(group, error)
            else:
                del self.todo[: len(group)]
            return
        raise StoreError(f"other transactions came first {TRIES} times")

    async def _take(self, group: list[Step]) -> None:
        try:
            await self._carried_out(group)
        except FAULTS as error:
            raise StoreError(f"a step failed ({type(error).__name__}: {error})") from error

    async def _carried_out(self, group: list[Step]) -> None:
        if not group:
            await self._postgres.execute("SELECT 1")  # whether the database is back
            return
        first = group[0]
        if isinstance(first, Work):
            answer(first, await first.run())
            return
        # what was given up before it was sent need not be carried out
        steps = [step for step in group if step.answer is None or not step.answer.done()]
        if any(not isinstance(step, Mark) for step in steps):
            await self._take_steps([step for step in steps if not isinstance(step, Mark)])
        for step in steps:
            if isinstance(step, Mark):
                answer(step, None)

    async def _one_by_one(self, group: list[Step], error: StoreError) -> None:
        """Carry out one after the other what cannot be carried out together; what never can be is left out."""
        for one in group:
            try:
                if len(group) == 1:
                    raise error
                await self._take([one])
            except StoreError as failed:
                if not isinstance(failed.__cause__, NEVER):
                    raise
                log.error("a step is left out of %s: %s", self._what, failed.message)
                _refuse(one, failed)
            del self.todo[0]

    def _failed(self, why: str) -> None:
        """Refuse whoever waits; what has ended stays, what was only asked for does not: nobody would use it."""
        if self.problem is None:
            log.error("%s cannot be written: %s", self._what, why)
        self.problem = why
        for one in self.todo:
            _refuse(one, refusal(why))
        self.todo = [one for one in self.todo if isinstance(one, Work) or one.answer is None]


def answer(step: Step, found: object) -> None:
    """Tell whoever waits for a step, if anybody still does."""
    if step.answer is not None and not step.answer.done():
        step.answer.set_result(found)


def refusal(why: str) -> StoreError:
    """Return what is said while nothing can be written."""
    return StoreError(f"The ledger cannot be written: {why}.", retry_after_s=RETRY_AFTER_S)


def _refuse(one: Step, error: StoreError) -> None:
    if one.answer is not None and not one.answer.done():
        one.answer.set_exception(error)


def _group(todo: Sequence[Step]) -> list[Step]:
    """Return what is carried out next: as many steps as come first, or one piece of work."""
    if todo and isinstance(todo[0], Work):
        return [todo[0]]
    group: list[Step] = []
    for one in todo[:GROUP_MAX]:
        if isinstance(one, Work):
            break
        group.append(one)
    return group
