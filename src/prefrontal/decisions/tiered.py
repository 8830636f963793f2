"""Takes decisions through the tiers: asks where the policy says, judges what comes, and goes on from there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from prefrontal.contracts.decision import COMPLEX, ROUTINE, DecisionAnswer
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.allowance import Allowances
from prefrontal.decisions.tiers import AGENT_ALLOWANCE, LOW_CONFIDENCE, NO_TIER_MODEL, How, Step, Visit, following, weakness
from prefrontal.decisions.work import LOW_MASS, NO_MODEL, REFUSED, TIMEOUT, Asked, Failure, Ways, Work
from prefrontal.errors import QuotaExceeded

AskModel = Callable[[Work, ModelCard, Sequence[Asked]], Awaitable[None]]

WEAK = frozenset({LOW_MASS, REFUSED})
"""Failures that a better model may mend."""


class Tiered:
    """Climbs for every question of a request. ask: puts questions to one model; outcomes are written into the work."""

    def __init__(self, ask: AskModel, allowances: Allowances) -> None:
        self._ask = ask
        self._allowances = allowances

    async def decide(self, work: Work, ways: Ways) -> None:
        """Ask until every question has an answer or nobody is left to ask; see `settle` for what is still open then."""
        while groups := self._next(work, ways):
            if len(groups) == 1:
                await self._tier(work, ways, *next(iter(groups.items())))
                continue
            async with asyncio.TaskGroup() as tasks:
                for tier, asked in groups.items():
                    tasks.create_task(self._tier(work, ways, tier, asked))

    def _next(self, work: Work, ways: Ways) -> dict[int, list[Asked]]:
        """Return which questions are to be asked of which tier now."""
        groups: dict[int, list[Asked]] = {}
        for one in work.open():
            progress = work.progress[one.question.index]
            if progress.over:
                continue
            step = progress.step = following(progress.route, progress.visits, ways.barred, most=ways.most)
            if step.tier is None:
                progress.over = True
            else:
                groups.setdefault(step.tier, []).append(one)
        return groups

    async def _tier(self, work: Work, ways: Ways, tier: int, asked: Sequence[Asked]) -> None:
        """Put questions to a tier's models, best first, and judge what came."""
        refused: set[int] = set()
        for card in ways.cards[tier]:
            pending = [one for one in asked if not isinstance(work.outcomes.get(one.question.index), DecisionAnswer)]
            if not pending:
                break
            if card.self_hosted:
                await self._ask(work.paying(card), card, pending)
            else:
                refused |= await self._hosted(work, ways, card, pending)
        for one in asked:
            self._judge(work, ways, one, tier, refused=one.question.index in refused)

    async def _hosted(self, work: Work, ways: Ways, card: ModelCard, asked: Sequence[Asked]) -> set[int]:
        """Ask a hosted model what the agent's allowance lets it; return the indexes of what it does not."""
        bound, agent = ways.rules.cloud_calls_per_agent_day, work.request.context.agent
        if bound is None or (agent is None and bound > 0):
            await self._ask(work.paying(card), card, asked)
            return set()
        run, agent = work.run or "", agent or ""
        taken = [(one, self._allowances.take(run, agent, bound)) for one in asked]
        allowed = [(one, day) for one, day in taken if day is not None]
        if allowed:
            await self._ask(work.paying(card), card, [one for one, _ in allowed])
        for one, day in allowed:
            outcome = work.outcomes.get(one.question.index)
            if isinstance(outcome, Failure) and isinstance(outcome.error, QuotaExceeded):
                self._allowances.give_back(run, agent, day)
        return {one.question.index for one, day in taken if day is None}

    def _judge(self, work: Work, ways: Ways, one: Asked, tier: int, *, refused: bool) -> None:
        """Note what became of one question at a tier; a good answer is stamped and stays."""
        index = one.question.index
        outcome, progress = work.outcomes.get(index), work.progress[index]
        if isinstance(outcome, DecisionAnswer):
            assert progress.step is not None
            weak = weakness(outcome, ways.rules.escalate_below)
            stamped = _stamped(outcome, progress.step, tier, AGENT_ALLOWANCE if refused else None)
            if weak is None:
                work.outcomes[index] = stamped
                return
            progress.best = stamped
            work.outcomes[index] = Failure(
                code=weak, model=outcome.model, attempts=outcome.attempts, cost_usd=outcome.cost_usd
            )
            progress.visits.append(Visit(tier=tier, how="weak", code=weak))
            return
        how, code = _fate(outcome, refused=refused)
        progress.visits.append(Visit(tier=tier, how=how, code=code))

    def settle(self, work: Work, ways: Ways) -> None:
        """Let the best answer stand where no better one came; what has none is left to the rule. Time may have run out."""
        for one in work.open():
            index = one.question.index
            progress, outcome = work.progress[index], work.outcomes.get(index)
            if not progress.over:
                step = progress.step or following(progress.route, progress.visits, ways.barred, most=ways.most)
                reason = f"{step.reason}, {TIMEOUT}"
                progress.over = True
                progress.step = msgspec.structs.replace(step, reason=reason, degraded_by=step.degraded_by or TIMEOUT)
            if progress.best is None or progress.step is None:
                continue
            spent = outcome if isinstance(outcome, Failure) else Failure(code=LOW_CONFIDENCE)
            best = _stamped(progress.best, progress.step, progress.best.tier)
            work.outcomes[index] = msgspec.structs.replace(best, attempts=spent.attempts, cost_usd=spent.cost_usd)


def barred_now(ways_cards: dict[int, tuple[ModelCard, ...]]) -> dict[int, str]:
    """Return the tiers without a model."""
    return {tier: NO_TIER_MODEL for tier in range(ROUTINE, COMPLEX + 1) if not ways_cards.get(tier)}


def _fate(outcome: DecisionAnswer | Failure | None, *, refused: bool) -> tuple[How, str]:
    if refused:
        return "barred", AGENT_ALLOWANCE
    if not isinstance(outcome, Failure):
        return "failed", NO_MODEL
    if isinstance(outcome.error, QuotaExceeded):
        return "barred", outcome.code
    return ("weak" if outcome.code in WEAK else "failed"), outcome.code


def _stamped(answer: DecisionAnswer, step: Step, tier: int, barred: str | None = None) -> DecisionAnswer:
    return msgspec.structs.replace(answer, tier=tier, tier_reason=step.reason, degraded_by=step.degraded_by or barred)
