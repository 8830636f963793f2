"""Carries out a plan: one model after another until one answers.

The order of care: the same model again (when the failure may pass), less effort (when thinking ate the cap), the next model of
the plan. After the first token has been shown there is no other model: a stream then ends with an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from prefrontal.chat.collect import Collector
from prefrontal.chat.embeddings import EmbeddingsResponse
from prefrontal.chat.response import ChatResponse
from prefrontal.clock import Chance, Clock
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import AllAttemptsFailed, LimitExceeded, PrefrontalError, ProviderTimeout, ThinkingAteCap
from prefrontal.execute.attempt import Attempter, Try
from prefrontal.execute.call import Call
from prefrontal.execute.journal import Journal
from prefrontal.execute.live import LiveStream
from prefrontal.execute.retry import LOADING_ATTEMPTS, RetryClass, backoff_s, classify

T = TypeVar("T")

MOVE_ON_S = 1.0
"""With another model at hand, a longer wait than this is not waited for (assumed: users notice a second)."""


class Executor:
    """Runs calls over the models of a plan. Holds no state of its own but what the attempter's runtime keeps."""

    def __init__(self, *, attempter: Attempter, clock: Clock, chance: Chance) -> None:
        self._attempter = attempter
        self._clock = clock
        self._chance = chance

    async def complete(self, call: Call, journal: Journal) -> tuple[ChatResponse, ModelCard]:
        """Return the whole answer and the model that gave it.

        Raises:
            PrefrontalError: the only attempt's error, or `AllAttemptsFailed` when several models were tried.
        """
        return await self._walk(call, journal, self._whole)

    async def open(self, call: Call, journal: Journal) -> tuple[LiveStream, ModelCard]:
        """Return a stream whose first token has arrived (or that has already ended), and its model. Raises like `complete`."""
        return await self._walk(call, journal, self._attempter.open)

    async def embed(self, call: Call, journal: Journal) -> tuple[EmbeddingsResponse, ModelCard]:
        """Return the vectors and the model that made them. Raises like `complete`."""
        return await self._walk(call, journal, self._attempter.embed)

    async def _whole(self, call: Call, attempt: Try, journal: Journal) -> ChatResponse:
        prepared = self._attempter.fields(call, attempt)
        if not prepared.stream_only:
            return await self._attempter.complete(call, attempt, journal)
        live = await self._attempter.open(call, attempt, journal)
        collector = Collector()
        try:
            while chunks := await live.read():
                for chunk in chunks:
                    collector.add(chunk)
        finally:
            await live.aclose()
        return collector.response()

    async def _walk(self, call: Call, journal: Journal, run: Callable[[Call, Try, Journal], Awaitable[T]]) -> tuple[T, ModelCard]:
        errors: list[PrefrontalError] = []
        for position, card in enumerate(call.cards):
            others = position + 1 < len(call.cards)
            result = await self._one_model(call, card, journal, run, errors, others=others)
            if result is not None:
                return result, card
            if not classify(errors[-1]).fallback:
                break
        raise errors[0] if len(errors) == 1 or len(call.cards) == 1 else AllAttemptsFailed(errors)

    async def _one_model(
        self,
        call: Call,
        card: ModelCard,
        journal: Journal,
        run: Callable[[Call, Try, Journal], Awaitable[T]],
        errors: list[PrefrontalError],
        *,
        others: bool,
    ) -> T | None:
        """Try one model until it answers or there is no point; None: it failed, and why is the last of `errors`."""
        attempt = Try(card=card, effort=call.effort)
        retries = 0
        while True:
            try:
                return await run(call, attempt, journal)
            except PrefrontalError as error:
                retry = classify(error)
                if journal.entries and journal.entries[-1].error is error:
                    journal.entries[-1].retry = retry
                relieved = self._attempter.relief(call, attempt, error)
                if relieved is not None:
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
        if not retry.retry or isinstance(error, LimitExceeded | ThinkingAteCap):
            return None
        if retry.kind == "loading":
            if retries >= LOADING_ATTEMPTS or others:
                return None
            wait: float | None = retry.after_s
        else:
            policy = call.limits.retries
            if retries + 1 >= policy.attempts or _is_total_timeout(error):
                return None
            wait = backoff_s(
                retries + 1, base_s=policy.base_s, max_s=policy.max_s, chance=self._chance.random(), after_s=retry.after_s
            )
        if wait is None or (others and wait > MOVE_ON_S):
            return None
        if call.deadline is not None and self._clock.monotonic() + wait >= call.deadline:
            return None
        return wait

    async def _pause(self, journal: Journal, wait_s: float) -> None:
        before = self._clock.monotonic()
        try:
            await self._clock.sleep(wait_s)
        finally:
            journal.waited_s += self._clock.monotonic() - before


def _is_total_timeout(error: PrefrontalError) -> bool:
    """A whole timeout spent is not spent again on the same model."""
    return isinstance(error, ProviderTimeout) and error.details.get("stage") in ("total", "first_byte", "first_token")
