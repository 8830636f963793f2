"""What a decision needs before it is asked: the models or tiers it may go to, who pays, and within which bounds."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.decision import DecisionRequest
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.money import to_pico
from prefrontal.contracts.reach import url_for
from prefrontal.decisions.asks import Shown
from prefrontal.decisions.decider import Decider
from prefrontal.decisions.tierbook import begin
from prefrontal.decisions.tiers import NO_TIER_MODEL
from prefrontal.decisions.types import DecisionType, Types
from prefrontal.decisions.work import Asked, Progress, Ways, Work
from prefrontal.errors import CapabilityMissing, InvalidRequest
from prefrontal.execute.call import Call
from prefrontal.execute.egress import check_reach
from prefrontal.ledger.purse import Purse
from prefrontal.ledger.runs import MAX_RUN, run_purse
from prefrontal.machine.fit import CHARACTERS_PER_TOKEN_AT_LEAST, SURE, too_long
from prefrontal.machine.machine import Machine
from prefrontal.machine.names import adhoc_in, read_name
from prefrontal.machine.run import Run
from prefrontal.plan.caching import tenant_of
from prefrontal.plan.musts import chats
from prefrontal.plan.tokens import estimate_request

AUTO = "auto"
ROLE = "decision"

MOST_MODELS = 3
"""Models that ``auto`` asks one after another before the rules answer (assumed: a deadline is over after that)."""

QUESTION_TOKENS = 256
"""What a question adds to the state in an estimate (assumed: instructions and a dozen options)."""


class Sitting:
    """What the decisions of one run of the machine have in common. Close it once, whatever happens."""

    def __init__(self, machine: Machine, decider: Decider, run: Run, purse: Purse | None) -> None:
        config = run.world.config
        self.purse = purse
        self._machine = machine
        self._decider = decider
        self._run = run
        self._settings = config.decisions
        self._tenant = tenant_of(config.cache, run.context.key_id, run.context.grant)
        self._private = not run.keeps_content and run.context.grant is not None
        self._call = Call(
            request=run.request,
            cards=(),
            effort=run.effort,
            limits=config.limits,
            purse=run.purse,
            trace=run.propagation(always=machine.parts.tracing),
            reach=run.reach,
            who=run.context.key_id,
            priority=run.priority,
        )

    @staticmethod
    async def of(machine: Machine, decider: Decider, run: Run, request: DecisionRequest) -> Sitting:
        """Return the sitting of `run` for requests like this one. Raises InvalidRequest, StoreError."""
        return Sitting(machine, decider, run, await purse_of_run(run, request, machine))

    def close(self) -> None:
        """The run is over."""
        if self.purse is not None:
            self.purse.close()

    def start(self, work: Work) -> None:
        """Let the deadline of a request count from now."""
        deadline = self._machine.parts.clock.monotonic() + work.longest_s
        if self._run.deadline is not None:
            deadline = min(deadline, self._run.deadline)
        work.call = msgspec.structs.replace(work.call, deadline=deadline)

    def work(self, request: DecisionRequest, types: Types, chat: ChatRequest, text: str, begun: float | None = None) -> Work:
        """Return one request made ready; begun: the moment its deadline counts from (None: `start` will say).

        Raises:
            UnknownModel, CapabilityMissing, EgressDenied: the model it names. ContextTooLong: the state fits none.
        """
        run, settings = self._run, self._settings
        asked = tuple([Asked(question=question, type=types.of(question)) for question in request.questions])
        kinds = [one.type for one in asked]
        ways = _ways(run, request, kinds, self._decider)
        cards = _cards(run, request.model, kinds, self._machine) if ways is None else ways.every
        fitting = _fitting(run, chat, cards, len(text))
        if ways is not None and fitting is not cards:
            ways = _narrowed(ways, fitting)
        longest_s = min([one.deadline_s for one in kinds]) if request.deadline_s is None else request.deadline_s
        deadline = run.deadline
        if begun is not None:
            deadline = begun + longest_s if deadline is None else min(deadline, begun + longest_s)
        return Work(
            request=request,
            asked=asked,
            cards=fitting,
            chat=chat,
            shown=Shown(text, tuple([one.image for one in request.media])),
            call=msgspec.structs.replace(self._call, request=chat, deadline=deadline),
            journal=run.journal,
            parallel=settings.parallel,
            without_rule=settings.without_rule,
            longest_s=longest_s,
            ways=ways,
            progress=_progress(request, asked, ways),
            run=request.run,
            run_purse=self.purse,
            tenant=self._tenant,
            private=self._private,
            batching=settings.batching,
        )


def _progress(request: DecisionRequest, asked: Sequence[Asked], ways: Ways | None) -> dict[int, Progress]:
    if ways is None:
        return {}
    return {one.question.index: Progress(route=begin(request, one.type, ways)) for one in asked}


async def purse_of_run(run: Run, request: DecisionRequest, machine: Machine) -> Purse | None:
    """Return what pays for a run's calls; None: the request belongs to none. Raises InvalidRequest, StoreError."""
    treasury = machine.parts.treasury
    if request.run is None or treasury is None:
        return None
    if not 0 < len(request.run) <= MAX_RUN:
        raise InvalidRequest(f"A run's name has 1 to {MAX_RUN} characters.", param="run")
    grant, run_usd = run.context.grant, run.world.config.decisions.tiers.run_usd
    limit = None if run_usd is None else to_pico(run_usd)
    payer = None if grant is None else grant.payer
    return await run_purse(treasury, payer, run.context.key_id, request.run, limit, run.id)


# -- which tiers -------------------------------------------------------------------------------------------------------


def _ways(run: Run, request: DecisionRequest, types: Sequence[DecisionType], decider: Decider) -> Ways | None:
    """Return the tiers of an automatic request; None: it names its model, a type names its own, or there are no tiers."""
    if request.model != AUTO or any(one.models for one in types):
        return None
    reach = run.reach
    within = None if reach is None else lambda card: reach.refusal(url_for(reach, card)) is None
    return decider.tiers.ways(run.world.registry, run.world.config.decisions.tiers, request.most_tier, within)


def _narrowed(ways: Ways, fitting: tuple[ModelCard, ...]) -> Ways:
    """Return the tiers without models whose window is too small for the state."""
    left = {tier: tuple([card for card in listed if card in fitting]) for tier, listed in ways.cards.items()}
    barred = {**ways.barred, **{tier: NO_TIER_MODEL for tier, listed in left.items() if not listed}}
    return msgspec.structs.replace(ways, cards=left, barred=barred)


# -- which models ------------------------------------------------------------------------------------------------------


def _cards(run: Run, model: str, types: Sequence[DecisionType], machine: Machine) -> tuple[ModelCard, ...]:
    """Return the models to ask, best first; none where `auto` finds none. Raises UnknownModel, CapabilityMissing."""
    world = run.world
    registry = world.registry
    asked = read_name(model, registry, frozenset(world.config.routing.channels), adhoc_in(world, machine.parts.adhoc))
    if asked.card is not None:
        if not _can_decide(asked.card):
            raise CapabilityMissing(f"'{asked.card.id}' makes embeddings and cannot decide.", param="model")
        if run.reach is not None:
            check_reach(run.reach, url_for(run.reach, asked.card))
        return (asked.card,)
    if asked.role is not None:
        found = list(registry.role(asked.role))
    else:
        own = dict.fromkeys([name for one in types for name in one.models])
        found = [registry.cards[name] for name in own if name in registry.cards and registry.cards[name].enabled]
        found = found or list(registry.role(ROLE)) or _able(registry.enabled)
    if run.reach is not None:
        found = [card for card in found if run.reach.refusal(url_for(run.reach, card)) is None]
    return tuple(found[:MOST_MODELS])


def _able(cards: Sequence[ModelCard]) -> list[ModelCard]:
    """Return the models that may be chosen and can decide: those with a route for it first, then by priority."""
    able = [card for card in cards if card.auto and _can_decide(card)]
    return sorted(able, key=lambda card: (-card.priority, not _has_route(card), not card.self_hosted, card.id))


def _can_decide(card: ModelCard) -> bool:
    return _has_route(card) or chats(card)


def _has_route(card: ModelCard) -> bool:
    return card.decisions is not None and card.decisions.dialect is not None


def _fitting(run: Run, chat: ChatRequest, cards: tuple[ModelCard, ...], characters: int) -> tuple[ModelCard, ...]:
    """Return the models whose window surely holds the state. Raises ContextTooLong when it is too long for each of them."""
    narrow = [card for card in cards if card.context_tokens and characters >= card.context_tokens * CHARACTERS_PER_TOKEN_AT_LEAST]
    if not narrow:
        return cards
    tokens = estimate_request(chat) + QUESTION_TOKENS
    fitting = tuple([card for card in cards if card.context_tokens is None or tokens <= card.context_tokens * SURE])
    if not fitting:
        widest = max(cards, key=lambda card: card.context_tokens or 0)
        error = too_long(widest.id, tokens, widest.context_tokens or 0, run.world.registry)
        error.param = "state"
        raise error
    return fitting
