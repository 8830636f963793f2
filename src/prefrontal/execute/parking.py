"""Keys and deployments that are left alone for a while because their upstream refused them. Owned by one event loop."""

from __future__ import annotations

import logging

from prefrontal.contracts.model import ModelCard
from prefrontal.plan.parking import WORDS, Parked

log = logging.getLogger(__name__)

Account = tuple[str, str]


class Parking:
    """What rests, by deployment and by key. A key rests for every model that uses it. Only models with deployments are parked."""

    def __init__(self) -> None:
        self._places: dict[str, Parked] = {}
        self._accounts: dict[Account, Parked] = {}

    def park(self, card: ModelCard, parked: Parked) -> None:
        """Let a deployment, or its whole key, rest. The log names the deployment, never the key."""
        account = _account(card)
        known = self._places.get(card.place) if account is None else self._accounts.get(account)
        if known is None and parked.why in ("auth", "quota"):
            log.warning("deployment '%s' of model '%s' rests: %s", card.deployment, card.id, WORDS[parked.why])
        if parked.whole_key and account is not None:
            self._accounts[account] = parked
        else:
            self._places[card.place] = parked

    def of(self, card: ModelCard, now: float) -> Parked | None:
        """Return what keeps a deployment away at monotonic time `now`; what is over is forgotten."""
        if not self._places and not self._accounts:
            return None
        account = _account(card)
        found = None if account is None else self._accounts.get(account)
        if found is not None and account is not None:
            if found.holds(now):
                return found
            del self._accounts[account]
        found = self._places.get(card.place)
        if found is not None and not found.holds(now):
            del self._places[card.place]
            return None
        return found

    def clear(self) -> None:
        """Forget everything: the configuration was read again, so keys may be good again."""
        self._places.clear()
        self._accounts.clear()


def _account(card: ModelCard) -> Account | None:
    return None if card.key is None else (card.provider or card.profile, card.key)
