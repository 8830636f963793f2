"""Carries out a plan: one model after another until one answers.

The order of care: the same model again (when the failure may pass), less effort (when thinking ate the cap), the next model of
the plan. After the first token has been shown there is no other model: a stream then ends with an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from prefrontal.chat.embeddings import EmbeddingsResponse
from prefrontal.chat.response import ChatResponse
from prefrontal.clock import Chance, Clock
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import AllAttemptsFailed, LimitExceeded, PrefrontalError, ProviderTimeout, ThinkingAteCap
from prefrontal.execute.attempt import Attempter, Try
from prefrontal.execute.call import Call
from prefrontal.execute.journal import Journal
from prefrontal.execute.live import LiveStream
from prefrontal.execute.retry import LOADING_ATTEMPTS, MAX_HONOURED_WAIT_S, RetryClass, backoff_s, classify

T = TypeVar("T")
Ask = Callable[[Call, Try, Journal], Awaitable[T]]

MOVE_ON_S = 1.0
"""With another model at hand, a longer wait than this is not waited for (assumed: users notice a second)."""

SPENT_STAGES = frozenset({"total", "first_byte", "first_token", "queue"})
"""A limit of these stages that was waited out in full is not waited out again on the same model."""


class Executor:
    """Runs calls over the models of a plan. Holds no state of its own but what the attempter's runtime keeps."""

    def __init__(self, *, attempter: Attempter, clock: Clock, chance: Chance) -> None:
        self._attempter = attempter
        self._clock = clock
        self._chance = chance

    async def complete(self, call: Call, journal: Journal) -> tuple[ChatResponse, ModelCard]:
        """Return the whole answer and the model that gave it.

        Raises:
            PrefrontalError: the last attempt's error when one model was tried, `AllAttemptsFailed` when several were.
        """
        return await self._walk(call, journal, self._attempter.complete)

    async def open(self, call: Call, journal: Journal) -> tuple[LiveStream, ModelCard]:
        """Return a stream whose first token has arrived (or that has already ended), and its model. Raises like `complete`."""
        return await self._walk(call, journal, self._attempter.open)

    async def embed(self, call: Call, journal: Journal) -> tuple[EmbeddingsResponse, ModelCard]:
        """Return the vectors and the model that made them. Raises like `complete`."""
        return await self._walk(call, journal, self._attempter.embed)

    async def _walk(self, call: Call, journal: Journal, ask: Ask[T]) -> tuple[T, ModelCard]:
        errors: list[PrefrontalError] = []
        tried = 0
        for position, card in enumerate(call.cards):
            others = position + 1 < len(call.cards)
            result = await self._one_model(call, card, journal, ask, errors, others=others)
            if result is not None:
                return result, card
            tried += 1
            if not classify(errors[-1]).fallback or self._is_over(call, 0.0):
                break
        raise errors[-1] if tried == 1 else AllAttemptsFailed(errors)

    async def _one_model(
        self, call: Call, card: ModelCard, journal: Journal, ask: Ask[T], errors: list[PrefrontalError], *, others: bool
    ) -> T | None:
        """Try one model until it answers or there is no point; None: it failed, and why is the last of `errors`."""
        attempt = Try(card=card, effort=call.effort)
        retries = 0
        while True:
            try:
                return await ask(call, attempt, journal)
            except PrefrontalError as error:
                retry = classify(error)
                if journal.entries and journal.entries[-1].error is error:
                    journal.entries[-1].retry = retry
                relieved = self._attempter.relief.after(call, attempt, error)
                if relieved is not None and not self._is_over(call, 0.0):
                    attempt = relieved
                    continue
                errors.append(error)
                wait_s = self._wait_s(call, error, retry, retries, others=others)
            if wait_s is None:
                return None
            retries += 1
            await self._pause(journal, wait_s)

    def _wait_s(self, call: Call, error: PrefrontalError, retry: RetryClass, retries: int, *, others: bool) -> float | None:
        """Return how long to wait before the same model is asked again; None: it is not."""
        if not retry.retry or isinstance(error, LimitExceeded | ThinkingAteCap) or _is_spent(error):
            return None
        if retry.kind == "loading":
            if others or retries >= LOADING_ATTEMPTS:
                return None
            wait, longest_s = retry.after_s, MAX_HONOURED_WAIT_S
        else:
            policy = call.limits.retries
            if retries + 1 >= policy.attempts:
                return None
            chance = self._chance.random()
            wait = backoff_s(retries + 1, base_s=policy.base_s, max_s=policy.max_s, chance=chance, after_s=retry.after_s)
            longest_s = policy.max_s
        if wait is None or wait > (min(longest_s, MOVE_ON_S) if others else longest_s) or self._is_over(call, wait):
            return None
        return wait

    def _is_over(self, call: Call, wait_s: float) -> bool:
        """Return whether the caller's deadline will have passed in `wait_s` seconds."""
        return call.deadline is not None and self._clock.monotonic() + wait_s >= call.deadline

    async def _pause(self, journal: Journal, wait_s: float) -> None:
        before = self._clock.monotonic()
        try:
            await self._clock.sleep(wait_s)
        finally:
            journal.waited_s += self._clock.monotonic() - before


def _is_spent(error: PrefrontalError) -> bool:
    """Return whether a limit of ours was waited out; an upstream that answers 408 or 504 by itself may do better next time."""
    if not isinstance(error, ProviderTimeout) or error.upstream_status is not None:
        return False
    return error.details.get("stage") in SPENT_STAGES
