"""Questions about one state that come at the same time go to an engine in one body.

The first of them leads: it waits for others for as long as the window is, or until there are enough, and asks for all. Who joins
later waits for less. If the leader is given up or runs out of its own time, the others ask for themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from prefrontal.clock import Clock
from prefrontal.errors import PrefrontalError, ProviderTimeout

Q = TypeVar("Q")
A = TypeVar("A")


class _Room(Generic[Q, A]):
    """Those who wait for one body. answers: in the order of `questions`; None: everybody asks for himself."""

    def __init__(self, questions: list[Q]) -> None:
        self.questions = questions
        self.full = asyncio.Event()
        self.answers: asyncio.Future[Sequence[A] | None] = asyncio.get_running_loop().create_future()


class Gatherer(Generic[Q, A]):
    """Belongs to one event loop. Nobody waits longer for others than the window."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rooms: dict[Hashable, _Room[Q, A]] = {}

    async def ask(
        self,
        key: Hashable,
        questions: Sequence[Q],
        send: Callable[[Sequence[Q]], Awaitable[Sequence[A]]],
        *,
        most: int,
        window_s: float,
        left_s: float | None = None,
    ) -> tuple[Sequence[A], bool]:
        """Return the answers to `questions`, and whether they were asked with those of somebody who led.

        key: what must be equal for questions to go together. send: asks; it gets the questions of all. left_s: the time the
        caller has; with less than twice the window nobody is waited for.

        Raises:
            PrefrontalError: what `send` raised, also to those who joined.
        """
        room = self._rooms.get(key)
        if room is None or len(room.questions) + len(questions) > most:
            return await self._lead(key, questions, send, most, window_s, left_s), False
        at = len(room.questions)
        room.questions += questions
        if len(room.questions) >= most:
            self._rooms.pop(key, None)
            room.full.set()
        answers = await asyncio.shield(room.answers)
        if answers is None:
            return await send(questions), False
        return answers[at : at + len(questions)], True

    async def _lead(
        self,
        key: Hashable,
        questions: Sequence[Q],
        send: Callable[[Sequence[Q]], Awaitable[Sequence[A]]],
        most: int,
        window_s: float,
        left_s: float | None,
    ) -> Sequence[A]:
        if len(questions) >= most:
            return await send(questions)
        room = self._rooms[key] = _Room(list(questions))
        try:
            await self._wait(room, window_s, left_s)
            self._close(key, room)
            answers = await send(room.questions)
        except PrefrontalError as error:
            self._over(room, error)
            raise
        except BaseException:
            self._over(room, None)
            raise
        finally:
            self._close(key, room)
        room.answers.set_result(answers)
        return answers[: len(questions)]

    async def _wait(self, room: _Room[Q, A], window_s: float, left_s: float | None) -> None:
        if window_s <= 0 or (left_s is not None and left_s < 2 * window_s):
            await self._clock.sleep(0)  # those that are ready now have joined then
            return
        try:
            async with self._clock.timeout(window_s):
                await room.full.wait()
        except TimeoutError:
            pass

    def _close(self, key: Hashable, room: _Room[Q, A]) -> None:
        if self._rooms.get(key) is room:
            del self._rooms[key]

    @staticmethod
    def _over(room: _Room[Q, A], error: PrefrontalError | None) -> None:
        """Tell those who joined how it ended; time that ran out was the leader's own."""
        if error is None or isinstance(error, ProviderTimeout):
            room.answers.set_result(None)
            return
        room.answers.set_exception(error)
        room.answers.exception()  # nobody may have joined
