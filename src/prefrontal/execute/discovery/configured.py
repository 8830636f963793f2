"""What the engines of configured models say of themselves: window, capabilities, levels.

Asked once each generation, in the background, and only of engines that their users run: a hosted API is described by the
shipped facts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from prefrontal.contracts.model import ModelCard
from prefrontal.errors import PrefrontalError
from prefrontal.execute.discovery.visit import merged
from prefrontal.execute.transport.base import Timeouts, Transport
from prefrontal.execute.trust import tls_of
from prefrontal.providers.base import Found, Target
from prefrontal.providers.profile import Profile
from prefrontal.providers.registry import Providers

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Engines asked at the same time (assumed)."""


class ConfiguredProbe:
    """Asks the engines of configured models what they can do."""

    def __init__(self, *, transport: Transport, providers: Providers, profiles: Mapping[str, Profile]) -> None:
        self._transport = transport
        self._providers = providers
        self._profiles = profiles

    async def probe(self, cards: Iterable[ModelCard], *, timeout_s: float) -> dict[str, Found]:
        """Return what was learned, by model id; an engine that does not answer, or talks nonsense, teaches nothing.

        Never raises but for cancellation.
        """
        gate = asyncio.Semaphore(AT_ONCE)
        asked = [card for card in cards if card.base_url is not None and self._profiles[card.profile].self_hosted]

        async def one(card: ModelCard) -> Found | None:
            async with gate:
                return await self._ask(card, timeout_s)

        answers = await asyncio.gather(*[one(card) for card in asked])
        return {card.id: found for card, found in zip(asked, answers, strict=True) if found is not None}

    async def _ask(self, card: ModelCard, timeout_s: float) -> Found | None:
        profile = self._profiles[card.profile]
        provider = self._providers.for_profile(profile)
        target = Target(card=card, profile=profile, base_url=card.base_url or "")
        timeouts = Timeouts(connect_s=timeout_s, first_byte_s=timeout_s, total_s=2 * timeout_s)
        found: Found | None = None
        try:
            listing = provider.render_models(target)
            if listing is not None:
                reply = await self._transport.send(listing, timeouts, tls=tls_of(card))
                if reply.status < 300:
                    found = next((f for f in provider.parse_models(reply, target) if f.id == card.wire_name), None)
            probe = provider.render_probe(target)
            if probe is not None:
                reply = await self._transport.send(probe, timeouts, tls=tls_of(card))
                if reply.status < 300:
                    told = provider.parse_probe(reply, target)
                    found = told if found is None else merged(found, told)
        except PrefrontalError as error:
            log.info("the engine of '%s' did not say what it can do: %s", card.id, error.message)
        return found
