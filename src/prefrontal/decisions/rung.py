"""One rung of one model: the calls that ask a prepared question of it, and the distribution that comes of them."""

from __future__ import annotations

import asyncio

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse
from prefrontal.contracts.effort import Effort
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.asks import (
    MOST,
    conversation,
    declined,
    grammar_request,
    joined,
    json_request,
    logprobs_request,
    orders,
    reading_of,
    reading_of_statement,
    reading_of_votes,
    reasoning_request,
)
from prefrontal.decisions.distribution import mode, uniform
from prefrontal.decisions.ladder import Rung
from prefrontal.decisions.prepared import Prepared, Read
from prefrontal.decisions.reading import Reading
from prefrontal.decisions.types import DecisionType
from prefrontal.decisions.wording import Form
from prefrontal.decisions.work import Work
from prefrontal.errors import ProviderMisbehaved
from prefrontal.execute.executor import Executor
from prefrontal.execute.journal import Journal

NO_THINKING = Effort(score=0.0, level="none", origin="caller")
"""What a model that thinks is told: the answer is one token, and thinking would use it up."""

TRIES = 2
"""How often an answer in JSON is asked for before the rung counts as failed (specified: reference ladder, retry once)."""

GROUP = 15
"""Options of one group where there are more than codes (assumed: beyond about 15, small models confuse letters)."""


class Climber:
    """Asks models by chat. Holds no state."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def measure(
        self, work: Work, card: ModelCard, type_: DecisionType, rung: Rung, journal: Journal
    ) -> tuple[Reading, ModelCard]:
        """Return the distribution that `card` gives on `rung`, and the card that answered. Raises PrefrontalError."""
        prepared = type_.prepared
        reasons = None
        if type_.technique == "chain_of_thought":
            reasoned, card = await self._chat(work, card, reasoning_request(prepared, work.shown, card.id), journal)
            if declined(reasoned):
                return _refused(prepared), card
            reasons = reasoned.text.strip()
        if len(prepared.order) <= MOST[rung]:
            return await self._one(work, card, prepared, rung, type_.votes, reasons, journal)
        outer, inner = prepared.grouped(GROUP)
        which, card = await self._one(work, card, outer, rung, type_.votes, None, journal)
        if which.refusal:
            return _refused(prepared), card
        best = mode(which.probabilities)
        within, card = await self._one(work, card, inner[best], rung, type_.votes, None, journal)
        if within.refusal:
            return _refused(prepared), card
        return joined(GROUP, len(prepared.order), which, best, within), card

    async def _one(
        self, work: Work, card: ModelCard, prepared: Prepared, rung: Rung, votes: int, reasons: str | None, journal: Journal
    ) -> tuple[Reading, ModelCard]:
        if rung == "votes":
            return await self._votes(work, card, prepared, votes, reasons, journal)
        if rung == "self_report":
            said, card = await self._in_json(work, card, prepared, None, reasons, journal, stated=True)
            return (_refused(prepared) if said is None else reading_of_statement(prepared, said)), card
        messages = conversation(prepared, "code", work.shown, None, reasons)
        request = grammar_request(prepared, messages, card.id) if rung == "grammar" else logprobs_request(messages, card.id)
        answer, card = await self._chat(work, card, request, journal)
        if declined(answer):
            return _refused(prepared), card
        return reading_of(prepared, answer), card

    async def _votes(
        self, work: Work, card: ModelCard, prepared: Prepared, votes: int, reasons: str | None, journal: Journal
    ) -> tuple[Reading, ModelCard]:
        """Let samples vote, each shown the options in another order; after reasons the order is that of the reasons."""
        shown = orders(prepared, votes) if reasons is None else [prepared.order] * votes
        cast: list[Read] = []
        errors: list[ProviderMisbehaved] = []
        refused = 0

        async def vote(order: tuple[int, ...]) -> None:
            nonlocal refused
            try:
                said, _ = await self._in_json(work, card, prepared, order, reasons, journal, stated=False)
            except ProviderMisbehaved as error:
                errors.append(error)
                return
            if said is None:
                refused += 1
            else:
                cast.append(said)

        try:
            async with asyncio.TaskGroup() as group:
                for order in shown:
                    group.create_task(vote(order))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        if refused > len(cast):
            return _refused(prepared), card
        if not cast and errors:
            raise errors[0]
        return reading_of_votes(prepared, cast), card

    async def _in_json(
        self,
        work: Work,
        card: ModelCard,
        prepared: Prepared,
        order: tuple[int, ...] | None,
        reasons: str | None,
        journal: Journal,
        *,
        stated: bool,
    ) -> tuple[Read | None, ModelCard]:
        """Return what the model says in JSON; None: it declined. Raises ProviderMisbehaved when it says something else."""
        form: Form = "stated" if stated else "json"
        messages = conversation(prepared, form, work.shown, order, reasons)
        for _ in range(TRIES):
            answer, card = await self._chat(work, card, json_request(prepared, form, messages, card.id), journal)
            if declined(answer):
                return None, card
            said = prepared.read(form, answer.text, order)
            if said is not None:
                return said, card
        raise ProviderMisbehaved(f"Model '{card.id}' gave no answer in the form asked for.", model=card.id)

    async def _chat(self, work: Work, card: ModelCard, request: ChatRequest, journal: Journal) -> tuple[ChatResponse, ModelCard]:
        effort = NO_THINKING if card.can("thinking") else work.call.effort
        call = msgspec.structs.replace(work.call, request=request, cards=(card,), effort=effort)
        return await self._executor.complete(call, journal)


def _refused(prepared: Prepared) -> Reading:
    return Reading(probabilities=uniform(len(prepared.order)), source="self_report", refusal=True)
