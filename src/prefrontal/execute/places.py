"""One request's way over the deployments of one model: which is asked, and which one after it."""

from __future__ import annotations

from prefrontal.clock import Clock
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import CredentialsExhausted, PrefrontalError, ProviderError, ProviderOverloaded
from prefrontal.execute.call import Call
from prefrontal.execute.journal import Journal
from prefrontal.execute.retry import other_place
from prefrontal.execute.runtime import Runtime
from prefrontal.plan.balance import Chosen, Place, choose
from prefrontal.plan.parking import WORDS


class Places:
    """The deployments of `card` for one request. Those that fail are not asked again until `anew`."""

    def __init__(self, runtime: Runtime, clock: Clock, call: Call, card: ModelCard) -> None:
        self.card = card
        self._runtime = runtime
        self._clock = clock
        self._call = call
        self._tried: set[str] = set()

    def next(self, journal: Journal) -> ModelCard:
        """Return the deployment to ask now.

        Raises:
            CredentialsExhausted: all of them rest. ProviderOverloaded: none takes requests. The refusal is in the journal.
        """
        choice, places = self._choose(self._tried)
        if choice.name is not None:
            return deployment(self.card, choice.name)
        error = _none_left(self.card, choice, places)
        journal.refuse(self.card, error)
        raise error

    def other(self, than: ModelCard) -> ModelCard | None:
        """Return another deployment that could begin at once, for a second attempt beside the one at `than`."""
        choice, places = self._choose(self._tried | {than.deployment or ""})
        place = next((place for place in places if place.name == choice.name), None)
        if place is None or place.in_flight >= place.limit:
            return None
        return deployment(self.card, place.name)

    def moves_on(self, failed: ModelCard, error: PrefrontalError, journal: Journal) -> bool:
        """Note that `failed` has failed, and whoever was asked beside it; return whether another should be asked at once."""
        for entry in journal.entries:
            if entry.hedge and entry.error is not None and entry.card.id == self.card.id:
                self._tried.add(entry.card.deployment or "")
        if failed.deployment is None or not other_place(error, failed.place):
            return False
        self._tried.add(failed.deployment)
        return self._choose(self._tried)[0].name is not None

    def anew(self) -> None:
        """Let every deployment be asked again."""
        self._tried.clear()

    def _choose(self, tried: set[str]) -> tuple[Chosen, list[Place]]:
        places = places_for(self._runtime, self._call, self.card, self._clock.monotonic())
        return choose(places, self.card.balance, tried=frozenset(tried), prefer=self._call.prefer), places


def places_for(runtime: Runtime, call: Call, card: ModelCard, now: float) -> list[Place]:
    """Return the deployments as they are for one call: those at addresses that it may not reach take nothing."""
    places = runtime.places(card, now)
    reach = call.reach
    if reach is None:
        return places
    return [
        place if reach.refusal(one.base_url) is None else Place(name=place.name, resting="this request may not be sent there")
        for place, one in zip(places, card.deployments, strict=True)
    ]


def would_ask(runtime: Runtime, call: Call, card: ModelCard, now: float) -> Chosen:
    """Return which deployment a call would be sent to now, and why."""
    return choose(places_for(runtime, call, card, now), card.balance, prefer=call.prefer)


def deployment(card: ModelCard, name: str) -> ModelCard:
    """Return the card of a model's deployment. Raises StopIteration when there is none of that name."""
    return next(one for one in card.deployments if one.deployment == name)


def _none_left(card: ModelCard, choice: Chosen, places: list[Place]) -> ProviderError:
    """Return the error that says what keeps each deployment away, and when the first one is back."""
    said = "; ".join(f"{name}: {why}" for name, why in choice.others)
    words = tuple(WORDS.values())
    parked = all(place.resting is not None and place.resting.startswith(words) for place in places)
    kind = CredentialsExhausted if parked else ProviderOverloaded
    return kind(
        f"No deployment of model '{card.id}' takes requests now: {said}.",
        model=card.id,
        provider=card.provider or card.profile,
        retry_after_s=None if choice.back_s is None else round(max(choice.back_s, 0.1), 1),
    )
