"""How many input tokens a request will be: the engine's own count where it has a counter, else the calibrated estimate."""

from __future__ import annotations

from typing import Literal

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import Reach
from prefrontal.errors import EgressDenied, ProviderError
from prefrontal.execute.media import fetches_itself, named_by_url
from prefrontal.execute.runtime import Runtime
from prefrontal.execute.transport.base import Timeouts, Transport
from prefrontal.execute.trust import tls_of
from prefrontal.plan.tokens import NEUTRAL, estimate_request
from prefrontal.providers.base import Target
from prefrontal.providers.profile import Profile
from prefrontal.providers.registry import Providers

COUNT_TIMEOUTS = Timeouts(connect_s=2.0, first_byte_s=5.0, between_s=5.0, total_s=10.0)
"""A counter that is slower than this is not waited for: the estimate stands in (assumed)."""


class TokenCount(msgspec.Struct, frozen=True, kw_only=True):
    """`input_tokens` and who counted: the ``engine``, exactly, or an ``estimate``."""

    input_tokens: int
    source: Literal["engine", "estimate"]
    model: str


class TokenCounter:
    """Counts for one model at a time. Contacts only engines that have a counter; never raises for one that fails."""

    def __init__(self, *, transport: Transport, providers: Providers, profiles: dict[str, Profile], runtime: Runtime) -> None:
        self._transport = transport
        self._providers = providers
        self._profiles = profiles
        self._runtime = runtime

    async def count(
        self, request: ChatRequest, card: ModelCard, base_url: str | None, *, reach: Reach | None = None
    ) -> TokenCount:
        """Return the count; `base_url` is the engine's address (None: it is not running, so it cannot be asked).

        reach: which hosts the request may go to. An engine of our own is not asked about images and files by URL: it would
        fetch them.
        """
        asked = base_url is not None and not (named_by_url(request) and fetches_itself(card, self._profiles[card.profile]))
        counted = await self._ask(request, card, base_url, reach) if asked and base_url is not None else None
        if counted is not None:
            return TokenCount(input_tokens=counted, source="engine", model=card.id)
        state = self._runtime.find(card.id)
        calibration = state.calibration if state is not None else NEUTRAL
        return TokenCount(input_tokens=estimate_request(request, calibration), source="estimate", model=card.id)

    async def _ask(self, request: ChatRequest, card: ModelCard, base_url: str, reach: Reach | None) -> int | None:
        profile = self._profiles[card.profile]
        provider = self._providers.for_profile(profile)
        target = Target(card=card, profile=profile, base_url=base_url)
        try:
            wire = provider.render_count(request, target)
            if wire is None:
                return None
            if reach is not None:
                wire = msgspec.structs.replace(wire, reach=reach)
            reply = await self._transport.send(wire, COUNT_TIMEOUTS, tls=tls_of(card))
            return provider.parse_count(reply, target) if reply.status < 300 else None
        except (ProviderError, EgressDenied):
            return None
