"""Asks upstreams that rest whether they are there, at no cost, so that no request has to find out.

Only a model whose breaker is open is asked, by the request that lists its engine's models. Any answer below 500 says that the
upstream is there. One that is down is left alone for as long as it is; the first answer after that lets one request try it,
before its pause is over. Where the upstream was there all along, the pause stays as it is: what failed was something else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from prefrontal.clock import Clock
from prefrontal.config.schema_service import Breaker as Settings
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import PrefrontalError
from prefrontal.execute import breaker
from prefrontal.execute.runtime import ModelState, Runtime
from prefrontal.execute.transport.base import Timeouts, Transport
from prefrontal.execute.trust import tls_of
from prefrontal.providers.base import Target
from prefrontal.providers.profile import Profile
from prefrontal.providers.registry import Providers

AT_ONCE = 4
"""Upstreams asked at the same time (assumed)."""

THERE = 500
"""An answer below this status comes from an upstream that works, whatever it thinks of the question."""


class Probing:
    """Belongs to one event loop. `cards` and `settings` are those of the moment."""

    def __init__(
        self,
        *,
        transport: Transport,
        providers: Providers,
        profiles: Mapping[str, Profile],
        runtime: Runtime,
        clock: Clock,
        cards: Callable[[], Iterable[ModelCard]],
        settings: Callable[[], Settings],
    ) -> None:
        self._transport = transport
        self._providers = providers
        self._profiles = profiles
        self._runtime = runtime
        self._clock = clock
        self._cards = cards
        self._settings = settings
        self._down: set[str] = set()

    async def keep(self) -> None:
        """Ask again and again until cancelled."""
        while True:
            await self._clock.sleep(self._settings().probe_s)
            if self._settings().probe:
                await self.look()

    async def look(self) -> None:
        """Ask every upstream that rests, once, and apply what it says."""
        resting = list(self._resting())
        self._down.intersection_update([state.name for state, _, _ in resting])
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(state: ModelState, card: ModelCard, target: Target) -> None:
            found = state.breaker
            async with gate:
                there = await self._is_there(card, target)
            if state.breaker is found and there is not None:
                self._apply(state, there)

        await asyncio.gather(*[one(*asked) for asked in resting])

    def _resting(self) -> Iterable[tuple[ModelState, ModelCard, Target]]:
        for card in self._cards():
            for place in card.deployments or (card,):
                state = self._runtime.find(place.id if place.deployment is None else place.place)
                if state is None or state.breaker.opened_at is None or state.breaker.trial_out or place.base_url is None:
                    continue
                yield state, place, Target(card=place, profile=self._profiles[place.profile], base_url=place.base_url)

    async def _is_there(self, card: ModelCard, target: Target) -> bool | None:
        """Return whether an upstream answers; None: there is nothing to ask it, or a rule of ours forbids to."""
        wire = self._providers.for_profile(target.profile).render_models(target)
        if wire is None:
            return None
        limit_s = self._settings().probe_timeout_s
        timeouts = Timeouts(connect_s=limit_s, first_byte_s=limit_s, total_s=limit_s)
        try:
            reply = await self._transport.send(wire, timeouts, tls=tls_of(card))
        except PrefrontalError as error:
            return None if error.origin == "gateway" else False
        return reply.status < THERE

    def _apply(self, state: ModelState, there: bool) -> None:
        now = self._clock.monotonic()
        if not there:
            self._down.add(state.name)
            settings = self._settings()
            state.breaker = breaker.held(state.breaker, now, 2 * settings.probe_s + settings.probe_timeout_s)
        elif state.name in self._down:
            self._down.discard(state.name)
            state.breaker = breaker.ready(state.breaker, now)
