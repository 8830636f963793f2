"""The tiers as the models of the moment fill them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from prefrontal.config.registry import Registry
from prefrontal.config.schema_tiers import Tiers
from prefrontal.contracts.decision import COMPLEX, CONTEXTUAL, ROUTINE, DecisionRequest
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.tiers import NO_TIER_MODEL, Route, route
from prefrontal.decisions.types import DecisionType
from prefrontal.decisions.work import Ways
from prefrontal.plan.cache_key import identity_of

Within = Callable[[ModelCard], bool]
"""Whether a request may reach a model."""


class TierBook:
    """Remembers what the last registry made of the last rules. Belongs to one event loop."""

    def __init__(self) -> None:
        self._known: tuple[Registry, Tiers, dict[int, Ways]] | None = None

    def ways(self, registry: Registry, rules: Tiers, most: int, within: Within | None) -> Ways | None:
        """Return the tiers up to `most`; None: none has a model in the configuration."""
        if not (rules.routine or rules.contextual or rules.complex):
            return None
        if within is not None:
            return _ways(registry, rules, most, within)
        known = self._known
        if known is None or known[0] is not registry or known[1] is not rules:
            known = self._known = (registry, rules, {})
        found = known[2].get(most)
        if found is None:
            found = known[2][most] = _ways(registry, rules, most, None)
        return found


def begin(request: DecisionRequest, type_: DecisionType, ways: Ways) -> Route:
    """Return where a question begins."""
    return route(type_.tier, request.context, ways.rules, least=request.tier, most=ways.most)


def _ways(registry: Registry, rules: Tiers, most: int, within: Within | None) -> Ways:
    named = {ROUTINE: rules.routine, CONTEXTUAL: rules.contextual, COMPLEX: rules.complex}
    cards = {tier: tuple(_enabled(registry, names, within)) for tier, names in named.items() if tier <= most}
    barred = {tier: NO_TIER_MODEL for tier in named if not cards.get(tier)}
    told = (rules.escalate_below, most, [(tier, [identity_of(card) for card in cards[tier]]) for tier in sorted(cards)])
    every = tuple({card.id: card for listed in cards.values() for card in listed}.values())
    return Ways(rules=rules, cards=cards, barred=barred, most=most, digest=msgspec.json.encode(told), every=every)


def _enabled(registry: Registry, names: Iterable[str], within: Within | None) -> Iterable[ModelCard]:
    for name in names:
        card = registry.cards.get(name)
        if card is not None and card.enabled and (within is None or within(card)):
            yield card
