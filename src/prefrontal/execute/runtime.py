"""What is known of each model while it runs: queue, breaker, latency, token calibration. Survives a reload."""

from __future__ import annotations

from collections import deque
from typing import Any

from prefrontal.clock import Clock
from prefrontal.config.schema_resilience import Shedding
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.execute import breaker
from prefrontal.execute.learnt import Learnt
from prefrontal.execute.parking import Parking
from prefrontal.execute.slots import Slots
from prefrontal.plan.balance import Peak, Place, observed
from prefrontal.plan.tokens import Calibration

SMOOTHING = 0.2
"""Weight of the newest observation in the running means (assumed: about the last ten requests)."""

MAX_STATES = 2_000
"""Models remembered at once (assumed: more than any registry holds; a few MB)."""

KEPT_TIMES = 128
"""Latest times kept of each deployment, for their 95th percentile (assumed: enough for six beyond it; 1 KB)."""

Identity = tuple[object, ...]


def identity_of(card: ModelCard) -> Identity:
    """Return what makes a card stand for the same model at the same place; what was learnt holds only as long as it does."""
    return (
        card.profile,
        card.wire_name,
        card.base_url,
        card.local_path,
        card.key,
        card.version,
        card.effort_dialect,
        card.effort_levels,
        card.effort_overrides,
    )


class ModelState:
    """The mutable side of one model, owned by the event loop."""

    def __init__(
        self, card: ModelCard, *, limit: int, queue: int, clock: Clock | None = None, shedding: Shedding | None = None
    ) -> None:
        self.name = card.place
        self.model = card.id
        self.deployment = card.deployment
        self.slots = Slots(card.place, limit=limit, queue=queue, clock=clock)
        self.slots.shedding = shedding or self.slots.shedding
        self.calls = 0
        self.failures = 0
        self.last_error: str | None = None
        self.forget(card)

    def forget(self, card: ModelCard) -> None:
        """Start afresh: nothing is known yet of the model that `card` stands for now. Slots and counts stay."""
        self.identity = identity_of(card)
        self.breaker = breaker.CLOSED
        self.first_token_ms: float | None = None
        self.duration_ms: float | None = None
        self.tokens_per_s: float | None = None
        self.peak: Peak | None = None
        self.first_tokens: deque[float] = deque(maxlen=KEPT_TIMES)
        self.whole_answers: deque[float] = deque(maxlen=KEPT_TIMES)
        self.calibration = Calibration()
        self.dearest_exchange_usd = 0.0  # most that a call outside of chat has cost: nobody can tell before what is billed for it
        self.effort_levels: tuple[str, ...] | None = None
        self.effort_overrides: dict[str, Any] | None = None
        self.structured: Learnt | None = None

    def observe(self, *, first_token_ms: float | None, duration_ms: float, output_tokens: int) -> None:
        """Take one success into the running means.

        first_token_ms: None for an answer that came as a whole; then its duration counts: so long there was nothing to read.
        """
        waited_ms = duration_ms if first_token_ms is None else first_token_ms
        (self.whole_answers if first_token_ms is None else self.first_tokens).append(waited_ms)
        self.first_token_ms = _mean(self.first_token_ms, waited_ms)
        self.duration_ms = _mean(self.duration_ms, duration_ms)
        generating_ms = duration_ms - (first_token_ms or 0.0)
        if output_tokens > 1 and generating_ms > 0:
            self.tokens_per_s = _mean(self.tokens_per_s, output_tokens * 1000.0 / generating_ms)

    def peaked(self, waited_ms: float, now: float) -> None:
        """Take a wait for the first token, also one in vain, into the latency that balancing goes by."""
        self.peak = observed(self.peak, waited_ms, now)

    def queue_wait_ms(self) -> float:
        """Return the wait a new request should expect, from the queue's length and the mean duration."""
        slots = self.slots
        if slots.held < slots.limit:
            return 0.0
        return (slots.waiting + 1) * (self.duration_ms or 1000.0) / max(1, slots.limit)


class Runtime:
    """All models' states by model id. `configure` drops those that are gone and idle; beyond `MAX_STATES` the least used goes.

    Clients may name models that no registry lists (``provider/model`` by a key of the environment), so the registry is no bound.
    """

    def __init__(
        self, *, default_limit: int, default_queue: int, clock: Clock | None = None, shedding: Shedding | None = None
    ) -> None:
        """`clock` and `shedding`: for refusing low priority where everybody has waited too long."""
        self._clock = clock
        self._shedding = shedding
        self._default_limit = default_limit
        self._default_queue = default_queue
        self._states: dict[str, ModelState] = {}
        self.parking = Parking()

    def state(self, card: ModelCard) -> ModelState:
        """Return the model's state, made on first use."""
        name = card.id if card.deployment is None else card.place
        found = self._states.get(name)
        if found is None:
            if len(self._states) >= MAX_STATES:
                self._make_room()
            found = self._states[name] = ModelState(
                card, limit=self._limit(card), queue=self._queue(card), clock=self._clock, shedding=self._shedding
            )
        return found

    def _make_room(self) -> None:
        idle = [state for state in self._states.values() if not state.slots.held and not state.slots.waiting]
        if idle:
            del self._states[min(idle, key=lambda state: state.calls).name]

    def find(self, model: str) -> ModelState | None:
        """Return the state of a model that was used, or None."""
        return self._states.get(model)

    def configure(
        self, cards: dict[str, ModelCard], *, default_limit: int, default_queue: int, shedding: Shedding | None = None
    ) -> None:
        """Apply new bounds after a reload; forget models that are gone and idle, and what was learnt of a name's former model."""
        self._shedding = shedding or self._shedding
        self._default_limit, self._default_queue = default_limit, default_queue
        places = {one.place: one for card in cards.values() for one in (card.deployments or (card,))}
        for name in list(self._states):
            state, card = self._states[name], places.get(name)
            state.slots.shedding = self._shedding or state.slots.shedding
            if card is not None:
                state.slots.resize(limit=self._limit(card), queue=self._queue(card))
                if state.identity != identity_of(card):
                    state.forget(card)
            elif not state.slots.held and not state.slots.waiting:
                del self._states[name]

    def snapshot(self, card: ModelCard, now: float, *, ready: bool | None = None) -> ModelRuntime:
        """Return what policies may know of the model at monotonic time `now`."""
        if card.deployments:
            return self._together(card, now)
        state = self._states.get(card.id)
        if state is None:
            return ModelRuntime(ready=ready)
        return ModelRuntime(
            open=not breaker.admits(state.breaker, now),
            in_flight=state.slots.held,
            limit=state.slots.limit,
            waiting=state.slots.waiting,
            queue_wait_ms=state.queue_wait_ms(),
            first_token_ms=state.first_token_ms,
            tokens_per_s=state.tokens_per_s,
            ready=ready,
            full=state.slots.waiting >= state.slots.queue and state.slots.held >= state.slots.limit,
        )

    def places(self, card: ModelCard, now: float) -> list[Place]:
        """Return a model's deployments as they are at monotonic time `now`."""
        return [self._place(one, now) for one in card.deployments]

    def _place(self, card: ModelCard, now: float) -> Place:
        state, parked = self._states.get(card.place), self.parking.of(card, now)
        resting = None if parked is None else parked.words(now)
        back_s = None if parked is None else parked.back_s(now)
        name = card.deployment or card.id
        if state is None:
            return Place(name=name, weight=card.weight, limit=self._limit(card), resting=resting, back_s=back_s)
        if resting is None and not breaker.admits(state.breaker, now):
            back_s = breaker.reopens_in_s(state.breaker, now)
            resting = f"left alone after repeated failures, back in {back_s:.0f} s"
        slots = state.slots
        return Place(
            name=name,
            weight=card.weight,
            in_flight=slots.held,
            limit=slots.limit,
            waiting=slots.waiting,
            served=state.calls,
            latency_ms=None if state.peak is None else state.peak.ms,
            resting=resting,
            back_s=back_s,
            full=slots.held >= slots.limit and slots.waiting >= slots.queue,
        )

    def _together(self, card: ModelCard, now: float) -> ModelRuntime:
        """Return the condition of a model with several deployments: closed and full only where all of them are."""
        places = self.places(card, now)
        able = [place for place in places if place.resting is None]
        states = [state for one in card.deployments if (state := self._states.get(one.place)) is not None]
        first = [state.first_token_ms for state in states if state.first_token_ms is not None]
        speed = [state.tokens_per_s for state in states if state.tokens_per_s is not None]
        waits = [self._states[f"{card.id}#{p.name}"].queue_wait_ms() if p.in_flight >= p.limit else 0.0 for p in able]
        return ModelRuntime(
            open=not able,
            in_flight=sum(place.in_flight for place in places),
            limit=sum(place.limit for place in able),
            waiting=sum(place.waiting for place in places),
            queue_wait_ms=min(waits, default=0.0),
            first_token_ms=min(first, default=None),
            tokens_per_s=max(speed, default=None),
            full=bool(able) and all(place.full for place in able),
        )

    def forget_forms(self) -> None:
        """Forget which way models are told the form of their answers."""
        for state in self._states.values():
            state.structured = None

    def all(self) -> list[ModelState]:
        """Return every state, for status pages and metrics."""
        return list(self._states.values())

    def _limit(self, card: ModelCard) -> int:
        return card.max_concurrency or self._default_limit

    def _queue(self, card: ModelCard) -> int:
        return self._default_queue if card.max_queue is None else card.max_queue


def _mean(old: float | None, new: float | None) -> float | None:
    if new is None:
        return old
    return new if old is None else old + SMOOTHING * (new - old)
