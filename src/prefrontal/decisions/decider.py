"""Gets the answers of a request: model after model, rung after rung, and from the rules what is still open then.

A decision never fails of a model: timeouts, outages, budgets and nonsense end at the rule. Only a wrong request is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.decision import DecisionAnswer
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.capabilities import Capabilities
from prefrontal.decisions.ladder import Ability, Rung, after, rungs
from prefrontal.decisions.native import NativeExchange
from prefrontal.decisions.reading import Reading, answer_of
from prefrontal.decisions.rung import Climber
from prefrontal.decisions.wire.upstream import BATCH, Readings
from prefrontal.decisions.work import LOW_MASS, NO_MODEL, REFUSED, TIMEOUT, Asked, Failure, Work
from prefrontal.errors import ContextTooLong, NoModelAvailable, PrefrontalError, ProviderRejected, ProviderTimeout
from prefrontal.execute.executor import Executor
from prefrontal.execute.journal import Branch
from prefrontal.providers.profile import Profile

Known = TypeVar("Known", DecisionAnswer, Failure)


class Decider:
    """Answers typed decisions. Holds no request's state, only what engines turned out to lack."""

    def __init__(
        self,
        *,
        executor: Executor,
        clock: Clock,
        profiles: Mapping[str, Profile],
        capabilities: Capabilities | None = None,
    ) -> None:
        self._executor = executor
        self._profiles = profiles
        self._clock = clock
        self.capabilities = capabilities or Capabilities(clock)
        self._climber = Climber(executor)

    async def decide(self, work: Work) -> tuple[DecisionAnswer, ...]:
        """Return every question's answer in order.

        Raises:
            ContextTooLong: the state fits no model that was asked. Other errors: only where `without_rule` is ``error``.
        """
        deadline = work.call.deadline
        left_s = None if deadline is None else deadline - self._clock.monotonic()
        if left_s is None or left_s > 0:
            try:
                async with self._clock.timeout(left_s):
                    await self.ask(work, work.cards)
            except TimeoutError:
                pass  # what is open is answered by rules, which is what the deadline is for
        return tuple([self.settled(work, one) for one in work.asked])

    async def ask(self, work: Work, cards: Sequence[ModelCard]) -> None:
        """Ask the models one after another until every question has an answer; outcomes are written into `work`."""
        for card in cards:
            pending = work.open()
            if not pending:
                return
            await self.ask_model(work, card, pending)

    async def ask_model(self, work: Work, card: ModelCard, asked: Sequence[Asked]) -> None:
        """Ask one model these questions, on its own route first; each gets an outcome."""
        ability, lacks = _ability(card, self._profiles[card.profile]), self.capabilities.lacks(card)
        ladders: list[tuple[Asked, tuple[Rung, ...]]] = [
            (one, rungs(ability, one.type.technique, one.type.votes, lacks)) for one in asked
        ]
        native = [one for one, ladder in ladders if ladder and ladder[0] == "native"]
        done: set[int] = set()
        if native and card.decisions is not None:
            size = len(native) if card.decisions.joint else BATCH
            for at in range(0, len(native), size):
                done |= await self._native(work, card, native[at : at + size])
        rest = [(one, ladder) for one, ladder in ladders if one.question.index not in done]
        if len(rest) == 1:
            await self._climb(work, card, *rest[0], work.journal.branch(), alone=True)
        elif rest:
            await self._climb_all(work, card, rest)

    async def _native(self, work: Work, card: ModelCard, asked: Sequence[Asked]) -> set[int]:
        """Ask on the engine's own route; return the indexes of those that need not be asked on the other rungs."""
        assert card.decisions is not None
        questions = [one.question for one in asked]
        exchange = NativeExchange(work.request, questions, card.decisions)
        call = msgspec.structs.replace(work.call, request=work.chat, cards=(card,), exchange=exchange)
        branch = work.journal.branch()
        try:
            done, answered = await self._executor.exchange(call, branch)
        except PrefrontalError as error:
            fall = after("native", error)
            if fall.remember:
                self.capabilities.note(card, "native")
            spent = _cost(branch)
            cost_usd = None if spent is None else spent / len(asked)
            for one in asked:
                failure = Failure(code=_code(error), error=error, model=card.id, attempts=len(branch.own), cost_usd=cost_usd)
                self._fail(work, one, failure)
            return set() if fall.down else {one.question.index for one in asked}
        finally:
            work.journal.waited_s += branch.waited_s
        readings: Readings = done.answer
        found: set[int] = set()
        cost_usd = _cost(branch)
        share = None if cost_usd is None else cost_usd / len(asked)
        for one, reading in zip(asked, readings, strict=True):
            if reading is not None:
                self._take(work, one, reading, answered, attempts=len(branch.own), cost_usd=share, version=None)
                found.add(one.question.index)
        return found

    async def _climb_all(self, work: Work, card: ModelCard, rest: Sequence[tuple[Asked, tuple[Rung, ...]]]) -> None:
        gate = asyncio.Semaphore(work.parallel)
        branches = [work.journal.branch() for _ in rest]

        async def one(asked: Asked, ladder: tuple[Rung, ...], branch: Branch) -> None:
            async with gate:
                await self._climb(work, card, asked, ladder, branch)

        try:
            async with asyncio.TaskGroup() as group:
                for (asked, ladder), branch in zip(rest, branches, strict=True):
                    group.create_task(one(asked, ladder, branch))
        finally:
            work.journal.waited_s += max([branch.waited_s for branch in branches])

    async def _climb(
        self, work: Work, card: ModelCard, one: Asked, ladder: Sequence[Rung], branch: Branch, *, alone: bool = False
    ) -> None:
        """Climb down the rungs of chat until one answers; write the outcome."""
        failure = Failure(code=NO_MODEL, model=card.id)
        try:
            for rung in ladder:
                if rung == "native":
                    continue
                try:
                    reading, answered = await self._climber.measure(work, card, one.type, rung, branch)
                except PrefrontalError as error:
                    fall = after(rung, error)
                    if fall.remember:
                        self.capabilities.note(card, rung)
                    failure = Failure(
                        code=_code(error), error=error, model=card.id, attempts=len(branch.own), cost_usd=_cost(branch)
                    )
                    if fall.down:
                        continue
                    break
                version = one.type.prepared.version
                self._take(work, one, reading, answered, attempts=len(branch.own), cost_usd=_cost(branch), version=version)
                return
            self._fail(work, one, failure)
        finally:
            if alone:
                work.journal.waited_s += branch.waited_s

    def _take(
        self,
        work: Work,
        one: Asked,
        reading: Reading,
        card: ModelCard,
        *,
        attempts: int,
        cost_usd: float | None,
        version: str | None,
    ) -> None:
        """Write a reading down as the answer, or as a failure when it is not to be believed."""
        mass = reading.label_mass
        if reading.refusal or (mass is not None and mass < one.type.min_label_mass):
            code = REFUSED if reading.refusal else LOW_MASS
            self._fail(work, one, Failure(code=code, reading=reading, model=card.id, attempts=attempts, cost_usd=cost_usd))
            return
        answer = answer_of(one.question, reading, model=card.id, attempts=attempts, cost_usd=cost_usd, prompt_version=version)
        work.outcomes[one.question.index] = _added(work, answer)

    def _fail(self, work: Work, one: Asked, failure: Failure) -> None:
        work.outcomes[one.question.index] = _added(work, failure, one.question.index)

    def settled(self, work: Work, one: Asked) -> DecisionAnswer:
        """Return the answer of a question, its rule's where no model gave one. Raises like `decide`."""
        outcome = work.outcomes.get(one.question.index)
        if isinstance(outcome, DecisionAnswer):
            return outcome
        if outcome is None:
            outcome = Failure(code=TIMEOUT if work.cards else NO_MODEL)
        _refuse(work, one, outcome)
        fallback, reading = one.type.fallback, outcome.reading
        known = {"attempts": outcome.attempts, "cost_usd": outcome.cost_usd, "fallback": outcome.code}
        if fallback.rule is None and reading is not None and not reading.refusal:
            version = one.type.prepared.version
            return answer_of(one.question, reading, model=outcome.model, degraded=outcome.code, prompt_version=version, **known)
        probabilities, finding = fallback.answer(work.request.state, work.request.context)
        ruled = Reading(probabilities=probabilities, source="rule", refusal=outcome.code == REFUSED)
        return answer_of(one.question, ruled, finding=finding, **known)


def _refuse(work: Work, one: Asked, failure: Failure) -> None:
    """Raise the error of a request that no rule should paper over: one that is wrong, or where errors are asked for."""
    error = failure.error
    if isinstance(error, ContextTooLong):
        raise error
    if isinstance(error, ProviderRejected) and error.details.get("code") == "context_length_exceeded":
        raise ContextTooLong(error.message, param="state", hint="No model that was asked can take this state.") from error
    if work.without_rule == "error" and one.type.fallback.rule is None and failure.reading is None:
        raise error or NoModelAvailable("No model answered this decision in time.", hint="Give its type a rule.")


def _added(work: Work, outcome: Known, index: int | None = None) -> Known:
    """Return the outcome with what earlier ways of asking cost."""
    before = work.outcomes.get(outcome.index if isinstance(outcome, DecisionAnswer) else index or 0)
    if not isinstance(before, Failure):
        return outcome
    spent = None if before.cost_usd is None or outcome.cost_usd is None else before.cost_usd + outcome.cost_usd
    return msgspec.structs.replace(outcome, attempts=before.attempts + outcome.attempts, cost_usd=spent)


def _code(error: PrefrontalError) -> str:
    """Return the reason for a rule's answer: time that ran out is one reason, wherever it did."""
    return TIMEOUT if isinstance(error, ProviderTimeout) else error.code


def _ability(card: ModelCard, profile: Profile) -> Ability:
    listed = profile.wire == "openai" and profile.label_probabilities != "none"
    return Ability(
        dialect=None if card.decisions is None else card.decisions.dialect,
        post_sampling=listed and profile.label_probabilities == "post_sampling",
        logprobs=listed,
    )


def _cost(branch: Branch) -> float | None:
    total = 0.0
    for entry in branch.own:
        if entry.cost_usd is None:
            if entry.outcome == "ok":
                return None
            continue
        total += entry.cost_usd
    return total
