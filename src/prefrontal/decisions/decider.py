"""Gets the answers of a request: model after model, rung after rung, and from the rules what is still open then.

A decision never fails of a model: timeouts, outages, budgets and nonsense end at the rule. Only a wrong request is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.decision import DecisionAnswer, Question
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.allowance import Allowances
from prefrontal.decisions.calibrators import UNCALIBRATED, Calibration
from prefrontal.decisions.capabilities import Capabilities
from prefrontal.decisions.gather import Gatherer
from prefrontal.decisions.ladder import Ability, Rung, after, rungs
from prefrontal.decisions.native import NativeExchange, numbered
from prefrontal.decisions.reading import Reading, answer_of
from prefrontal.decisions.recall import Recall, Recalled
from prefrontal.decisions.rung import Climber
from prefrontal.decisions.tierbook import TierBook
from prefrontal.decisions.tiered import Tiered
from prefrontal.decisions.wire.upstream import BATCH, Readings
from prefrontal.decisions.work import LOW_MASS, NO_MODEL, REFUSED, TIMEOUT, Asked, Failure, Work
from prefrontal.errors import ContextTooLong, NoModelAvailable, PrefrontalError, ProviderRejected, ProviderTimeout
from prefrontal.execute.executor import Executor
from prefrontal.execute.journal import Branch
from prefrontal.providers.profile import Profile

Known = TypeVar("Known", DecisionAnswer, Failure)

Told = tuple[Reading | None, ModelCard, float | None]
"""What came back for one question: its reading, who gave it, and its share of the cost."""


class Decider:
    """Answers typed decisions. Holds no request's state, only what engines turned out to lack."""

    def __init__(
        self,
        *,
        executor: Executor,
        clock: Clock,
        profiles: Mapping[str, Profile],
        capabilities: Capabilities | None = None,
        recall: Recall | None = None,
        allowances: Allowances | None = None,
    ) -> None:
        self._executor = executor
        self._profiles = profiles
        self._clock = clock
        self.capabilities = capabilities or Capabilities(clock)
        self.recall = recall
        self.allowances = allowances or Allowances(clock)
        self.tiers = TierBook()
        self._tiered = Tiered(self.ask_model, self.allowances)
        self._gatherer: Gatherer[Question, Told] = Gatherer(clock)
        self._climber = Climber(executor)
        self.calibration = UNCALIBRATED

    def calibrate(self, calibration: Calibration) -> None:
        """Let calibrators be applied from now on; what the cache holds from under others is not given again."""
        self.calibration = calibration
        if self.recall is not None:
            self.recall.revision = calibration.digest

    async def decide(self, work: Work) -> tuple[DecisionAnswer, ...]:
        """Return every question's answer in order.

        Raises:
            ContextTooLong: the state fits no model that was asked. Other errors: only where `without_rule` is ``error``.
        """
        deadline = work.call.deadline
        left_s = None if deadline is None else deadline - self._clock.monotonic()
        recalled = None if self.recall is None else await self.recall.begin(work)
        try:
            if (work.held or work.open()) and (left_s is None or left_s > 0):
                await self._in_time(work, left_s, recalled)
        finally:
            if recalled is not None:
                recalled.end(work)
        return tuple([self.settled(work, one) for one in work.asked])

    async def _in_time(self, work: Work, left_s: float | None, recalled: Recalled | None) -> None:
        try:
            async with self._clock.timeout(left_s):
                await self._ways(work)
                if recalled is not None and recalled.followed:
                    recalled.land(work)
                    if await recalled.follow(work):
                        await self._ways(work)
        except TimeoutError:
            pass  # what is open is answered by rules, which is what the deadline is for
        if work.ways is not None:
            self._tiered.settle(work, work.ways)

    async def _ways(self, work: Work) -> None:
        """Ask by tiers where there are any, else the models of the request as they stand."""
        if work.ways is None:
            await self.ask(work, work.cards)
        else:
            await self._tiered.decide(work, work.ways)
            self._tiered.settle(work, work.ways)

    def known(self, work: Work) -> tuple[DecisionAnswer, ...] | None:
        """Return the answer to a request with one question when the cache of this process holds it; nothing is waited for."""
        found = None if self.recall is None else self.recall.known(work)
        return None if found is None else (found,)

    async def ask(self, work: Work, cards: Sequence[ModelCard]) -> None:
        """Ask the models one after another until every question has an answer; outcomes are written into `work`."""
        for card in cards:
            pending = work.open()
            if not pending:
                return
            await self.ask_model(work.paying(card), card, pending)

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
        branch = work.journal.branch()
        try:
            told, joined = await self._sent(work, card, [one.question for one in asked], branch)
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
        found: set[int] = set()
        for one, (reading, answered, share) in zip(asked, told, strict=True):
            if reading is not None:
                attempts = 1 if joined else len(branch.own)
                self._take(work, one, reading, answered, attempts=attempts, cost_usd=share, version=None)
                found.add(one.question.index)
        return found

    async def _sent(
        self, work: Work, card: ModelCard, questions: Sequence[Question], branch: Branch
    ) -> tuple[Sequence[Told], bool]:
        """Send questions in one body, with those that others of the same caller ask about the same state at the same time."""
        wire = card.decisions
        assert wire is not None

        async def send(together: Sequence[Question]) -> Sequence[Told]:
            named = questions if len(together) == len(questions) else numbered(together)
            exchange = NativeExchange(work.request, named, wire)
            call = msgspec.structs.replace(work.call, request=work.chat, cards=(card,), exchange=exchange)
            done, answered = await self._executor.exchange(call, branch)
            spent = _cost(branch)
            share = None if spent is None else spent / len(together)
            readings: Readings = done.answer
            return [(reading, answered, share) for reading in readings]

        if wire.joint:
            return await send(questions), False
        batching, deadline = work.batching, work.call.deadline
        left_s = None if deadline is None else deadline - self._clock.monotonic()
        most, window_s = min(batching.most, BATCH), batching.window_ms / 1000.0
        return await self._gatherer.ask(_together(work, card), questions, send, most=most, window_s=window_s, left_s=left_s)

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
        work.outcomes[one.question.index] = _added(work, self.calibration.applied(answer))

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
        known: dict[str, Any] = {"attempts": outcome.attempts, "cost_usd": outcome.cost_usd, "fallback": outcome.code}
        if fallback.rule is None and reading is not None and not reading.refusal:
            version = one.type.prepared.version
            return answer_of(one.question, reading, model=outcome.model, degraded=outcome.code, prompt_version=version, **known)
        probabilities, finding = fallback.answer(work.request.state, work.request.context)
        ruled = Reading(probabilities=probabilities, source="rule", refusal=outcome.code == REFUSED)
        progress = work.progress.get(one.question.index)
        if progress is not None and progress.step is not None:
            known.update(tier_reason=progress.step.reason, degraded_by=progress.step.degraded_by)
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


def _together(work: Work, card: ModelCard) -> tuple[object, ...]:
    """Return what must be equal for questions to share a body: the engine, the state, and who pays for it under which bounds."""
    call, request = work.call, work.request
    state = request.state if isinstance(request.state, str) else msgspec.json.encode(request.state)
    shown = (request.state_kind, state, msgspec.json.encode((request.media, request.extra)))
    return (card.id, card.base_url, *shown, call.who, work.run, call.priority, msgspec.json.encode(call.reach))


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
