"""Carries out a plan: one model after another until one answers.

The order of care: the same model again (when the failure may pass), less effort (when thinking ate the cap), the next model of
the plan. After the first token has been shown there is no other model: a stream then ends with an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from prefrontal.chat.embeddings import EmbeddingsResponse
from prefrontal.chat.response import ChatResponse
from prefrontal.clock import Chance, Clock
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.resilience import Hedge
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.errors import AllAttemptsFailed, LimitExceeded, PrefrontalError, ProviderTimeout, ThinkingAteCap
from prefrontal.execute.attempt import Attempter, Try
from prefrontal.execute.call import Call
from prefrontal.execute.exchange import Exchanged
from prefrontal.execute.hedge import Hedger
from prefrontal.execute.journal import Journal
from prefrontal.execute.live import LiveStream
from prefrontal.execute.places import Places
from prefrontal.execute.retry import LOADING_ATTEMPTS, MAX_HONOURED_WAIT_S, RetryClass, backoff_s, classify
from prefrontal.execute.shapes import Shapes

T = TypeVar("T")
Ask = Callable[[Call, Try, Journal], Awaitable[T]]

MOVE_ON_S = 1.0
"""With another model at hand, a longer wait than this is not waited for (assumed: users notice a second)."""

MAX_RETOLD = 4
"""So often one model is told the form of its answer in another way within one call (assumed: more than there are ways)."""

SPENT_STAGES = frozenset({"total", "first_byte", "first_token", "queue"})
"""A limit of these stages that was waited out in full is not waited out again on the same model."""


class Executor:
    """Runs calls over the models of a plan. Holds no state of its own but what the attempter's runtime keeps."""

    def __init__(self, *, attempter: Attempter, clock: Clock, chance: Chance) -> None:
        self._attempter = attempter
        self._clock = clock
        self._chance = chance
        self._hedger = Hedger(runtime=attempter.runtime, clock=clock)

    def fields(self, call: Call) -> EffortFields:
        """Return how effort would be told to the first model of a call."""
        return self._attempter.relief.fields(call, Try(card=call.cards[0], effort=call.effort))

    async def complete(self, call: Call, journal: Journal) -> tuple[ChatResponse, ModelCard]:
        """Return the whole answer and the model that gave it.

        Raises:
            PrefrontalError: the last attempt's error when one model was tried, `AllAttemptsFailed` when several were.
        """
        return await self._walk(call, journal, self._attempter.complete)

    async def open(self, call: Call, journal: Journal) -> tuple[LiveStream, ModelCard]:
        """Return a stream whose first token has arrived (or that has already ended), and its model. Raises like `complete`."""
        return await self._walk(call, journal, self._attempter.open)

    @property
    def shapes(self) -> Shapes:
        """How models are told the form of their answers."""
        return self._attempter.shapes

    async def embed(self, call: Call, journal: Journal) -> tuple[EmbeddingsResponse, ModelCard]:
        """Return the vectors and the model that made them. Raises like `complete`."""
        return await self._walk(call, journal, self._attempter.embed)

    async def exchange(self, call: Call, journal: Journal) -> tuple[Exchanged, ModelCard]:
        """Return what came of `call.exchange` and the model that answered. Raises like `complete`."""
        return await self._walk(call, journal, self._attempter.exchange)

    async def _walk(self, call: Call, journal: Journal, ask: Ask[T]) -> tuple[T, ModelCard]:
        errors: list[PrefrontalError] = []
        tried = 0
        for position, card in enumerate(call.cards):
            others = call.cards[position + 1 :]
            result = await self._one_model(call, card, journal, ask, errors, others=others)
            if result is not None:
                return result
            tried += 1
            if not classify(errors[-1]).fallback or self._is_over(call, 0.0):
                break
        raise errors[-1] if tried == 1 else AllAttemptsFailed(errors)

    async def _one_model(
        self,
        call: Call,
        card: ModelCard,
        journal: Journal,
        ask: Ask[T],
        errors: list[PrefrontalError],
        *,
        others: tuple[ModelCard, ...],
    ) -> tuple[T, ModelCard] | None:
        """Try one model until it answers or there is no point; None: it failed, and why is the last of `errors`."""
        attempt = Try(card=card, effort=call.effort)
        places = Places(self._attempter.runtime, self._clock, call, card) if card.deployments else None
        retries = retold = 0
        while True:
            try:
                if places is not None and not attempt.relieved:  # what was eased, was eased for one deployment
                    attempt = msgspec.structs.replace(attempt, card=places.next(journal))
                hedge = card.hedge or call.hedge
                if hedge is None or call.embeddings is not None:
                    return await ask(call, attempt, journal), attempt.card
                return await self._hedged(hedge, ask, call, attempt, journal, places, others)
            except PrefrontalError as error:
                retry = classify(error)
                journal.classified(error, retry)
                relieved = self._attempter.relief.after(call, attempt, error)
                if relieved is not None and not self._is_over(call, 0.0):
                    attempt = relieved
                    continue
                if retold < MAX_RETOLD and self._retold(call, journal, error):
                    retold += 1
                    continue
                errors.append(error)
                if places is not None:
                    moves_on = places.moves_on(attempt.card, error, journal) and not self._is_over(call, 0.0)
                    attempt = Try(card=card, effort=call.effort)
                    if moves_on:
                        continue
                    places.anew()
                wait_s = self._wait_s(call, error, retry, retries, others=bool(others))
            if wait_s is None:
                return None
            retries += 1
            await self._pause(journal, wait_s)

    async def _hedged(
        self,
        hedge: Hedge,
        ask: Ask[T],
        call: Call,
        attempt: Try,
        journal: Journal,
        places: Places | None,
        others: tuple[ModelCard, ...],
    ) -> tuple[T, ModelCard]:
        """Ask with a second attempt in reserve: at another deployment, else, where that is wanted, at the next model."""

        def second() -> ModelCard | None:
            found = None if places is None else places.other(attempt.card)
            if found is not None or hedge.to != "model" or not others:
                return found
            runtime, now = self._attempter.runtime, self._clock.monotonic()
            able = [card for card in others if _has_room(runtime.snapshot(card, now))]
            if not able or not able[0].deployments:
                return able[0] if able else None
            return Places(runtime, self._clock, call, able[0]).other(able[0])

        stream = ask == self._attempter.open
        return await self._hedger.ask(hedge, ask, call, attempt, journal, second, stream=stream)

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

    def _retold(self, call: Call, journal: Journal, error: PrefrontalError) -> bool:
        """Return whether to tell the same model the form of its answer in another way, now."""
        asks = call.request.response_format is not None and not self._is_over(call, 0.0)
        return asks and self._attempter.shapes.after(call.request, journal.of(error), error)

    def _is_over(self, call: Call, wait_s: float) -> bool:
        """Return whether the caller's deadline will have passed in `wait_s` seconds."""
        return call.deadline is not None and self._clock.monotonic() + wait_s >= call.deadline

    async def _pause(self, journal: Journal, wait_s: float) -> None:
        before = self._clock.monotonic()
        try:
            await self._clock.sleep(wait_s)
        finally:
            journal.waited_s += self._clock.monotonic() - before


def _has_room(condition: ModelRuntime) -> bool:
    """Return whether a model could begin at once; one that was never asked could."""
    return not condition.open and (condition.limit == 0 or condition.in_flight < condition.limit)


def _is_spent(error: PrefrontalError) -> bool:
    """Return whether a limit of ours was waited out; an upstream that answers 408 or 504 by itself may do better next time."""
    if not isinstance(error, ProviderTimeout) or error.upstream_status is not None:
        return False
    return error.details.get("stage") in SPENT_STAGES
