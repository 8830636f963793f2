"""One look at one port of 127.0.0.1: who answers, which models it has, and what they can do."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from prefrontal.config.cards import Sources, build_card
from prefrontal.config.schema import ModelEntry
from prefrontal.contracts.model import ModelCard, Price
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import PrefrontalError, ProviderTimeout, ProviderUnreachable
from prefrontal.execute.discovery.identify import GENERIC, claimed_profile, is_native, read_listing
from prefrontal.execute.discovery.naming import without_chat
from prefrontal.execute.transport.base import Timeouts, Transport
from prefrontal.providers.base import Found, Provider, Target
from prefrontal.providers.profile import Profile
from prefrontal.providers.registry import Providers

HOST = "127.0.0.1"
INSTANCE_HEADER = "x-prefrontal-instance"
"""Every answer of a Prefrontal carries it."""
MAX_MODELS = 50
"""Models taken from one server. Assumed: a machine holds fewer; a proxy with hundreds belongs into the registry."""
MAX_ASKED_AT_ONCE = 4
"""Questions to one server at a time. Assumed: an engine that is busy answering people must not notice them."""

log = logging.getLogger(__name__)

State = Literal["ready", "empty", "loading", "locked", "silent", "foreign", "prefrontal"]


class SeenServer(msgspec.Struct, frozen=True, kw_only=True):
    """Something that listens at a port where engines are expected.

    state: ready (models found) · empty (none) · loading · locked (it wants a key: write a registry entry) · silent (no answer in
    time) · foreign (no model server) · prefrontal (left alone). models: their names there. detail: one clause for people.
    """

    profile: str | None
    base_url: str
    state: State
    models: tuple[str, ...] = ()
    detail: str = ""

    @property
    def port(self) -> int:
        """The port."""
        return urlsplit(self.base_url).port or 0


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The profiles expected at one port, most likely first. `told`: the settings say so, not the profiles' defaults."""

    port: int
    profiles: tuple[Profile, ...]
    told: bool = False


def local_base(profile: Profile, port: int) -> str:
    """Return the base URL of a profile's engine at a local port: the path is the profile's, ``/v1`` for OpenAI's wire."""
    path = urlsplit(profile.base_url).path.rstrip("/") if profile.base_url else "/v1" if profile.wire == "openai" else ""
    return f"http://{HOST}:{port}{path}"


class _Prefrontal(Exception):
    """A Prefrontal answered; the message is its instance."""


class Visit:
    """One round at one port."""

    def __init__(
        self,
        transport: Transport,
        providers: Providers,
        sources: Sources,
        place: Expected,
        timeout_s: float,
        known: dict[str, tuple[Found, Found]],
    ) -> None:
        self.port = place.port
        self.cards: list[ModelCard] = []
        self.partial: set[tuple[str, str]] = set()
        self.details: dict[str, tuple[Found, Found]] = {}
        self.stranger = False
        self._transport = transport
        self._providers = providers
        self._sources = sources
        self._place = place
        self._known = known
        self._timeouts = Timeouts(connect_s=timeout_s, first_byte_s=timeout_s, between_s=timeout_s, total_s=timeout_s)
        self._gate = asyncio.Semaphore(MAX_ASKED_AT_ONCE)
        self._met: _Prefrontal | None = None
        self._heard: dict[tuple[str, str, bytes], WireResponse] = {}

    async def run(self, own_instance: str) -> SeenServer | None:
        """Return what was seen; None when nothing listens."""
        try:
            return await self._look()
        except _Prefrontal as found:
            self.cards, self.partial = [], set()
            who = "this process" if str(found) == own_instance else "another Prefrontal"
            return self._seen(None, "prefrontal", f"{who}, left alone")
        except ProviderUnreachable:
            return None
        except ProviderTimeout:
            return self._seen(None, "silent", f"no answer within {self._timeouts.total_s:g} s")
        except PrefrontalError as error:
            return self._seen(None, "foreign", error.message)
        except Exception as error:  # noqa: BLE001 - an edge: what foreign bytes do to a plug-in's parser must not end the round
            return self._seen(None, "foreign", f"its answer could not be read ({type(error).__name__})")

    async def _look(self) -> SeenServer:
        """Ask in the way of each expected profile until the engine has given itself away."""
        expected = [profile.name for profile in self._place.profiles]
        listed = False
        statuses: list[str] = []
        for profile in self._profiles():
            target = self._target(profile)
            request = self._providers.for_profile(profile).render_models(target)
            if request is None:
                continue
            response = await self._ask(request)
            if response.status in (401, 403):
                return self._seen(profile.name, "locked", "it wants a key: write a registry entry with `key:`")
            if response.status == 503 and profile.name != GENERIC:
                return self._seen(profile.name, "loading", "it answers 503")
            listing = read_listing(response)
            if listing is None:
                statuses.append(f"GET {urlsplit(request.url).path} gave {_said(response)}")
                continue
            if listing.shape == "empty":
                return self._seen(profile.name, "empty", "it has no model yet")
            claim = claimed_profile(listing, response.headers, expected)
            if claim is not None and claim in self._sources.profiles:
                return await self._take(self._sources.profiles[claim])
            listed = True
        if not listed:
            self.stranger = True
            return self._seen(None, "foreign", "; ".join(dict.fromkeys(statuses)) or "nothing to ask it")
        return await self._take(await self._confirmed())

    def _profiles(self) -> list[Profile]:
        """The profiles to try: those expected, and last the common denominator."""
        generic = self._sources.profiles.get(GENERIC)
        known = [profile for profile in self._place.profiles if profile.wire in self._providers.wires]
        return known if generic is None or generic in known else [*known, generic]

    async def _confirmed(self) -> Profile:
        """Return the profile of a server that lists models in the common form without a sign of what it is."""
        for profile in self._place.profiles:
            request = self._providers.for_profile(profile).render_probe(self._target(profile))
            if request is None:
                continue
            try:
                if is_native(profile.name, await self._ask(request)):
                    return profile
            except ProviderTimeout:  # it need not answer a stranger's route
                continue
        if self._place.told or GENERIC not in self._sources.profiles:
            return self._place.profiles[0]
        return self._sources.profiles[GENERIC]

    async def _take(self, profile: Profile) -> SeenServer:
        """Read the models of a server whose profile is settled."""
        provider = self._providers.for_profile(profile)
        target = self._target(profile)
        request = provider.render_models(target)
        if request is None:
            return self._seen(profile.name, "empty", "this engine does not list its models")
        response = await self._ask(request)
        everything = {found.id: found for found in provider.parse_models(response, target)}
        taken = dict(list(everything.items())[:MAX_MODELS])
        if not taken:
            return self._seen(profile.name, "empty", "it has no model yet")
        await self._add_details(profile, taken)
        detail = f"the first {len(taken)} of {len(everything)} models" if len(taken) < len(everything) else ""
        self.cards = [self._card(profile, found) for found in taken.values()]
        return self._seen(profile.name, "ready", detail, tuple(taken))

    async def _add_details(self, profile: Profile, models: dict[str, Found]) -> None:
        """Put into `models` what the engine says of each, asking only where that cannot be the same as before."""
        provider = self._providers.for_profile(profile)
        requests: dict[str, tuple[Target, WireRequest]] = {}
        for name in models:
            target = self._target(profile, name)
            request = provider.render_probe(target)
            if request is not None:
                requests[name] = (target, request)
        asked = list(requests)
        shared = len({_key(request) for _, request in requests.values()}) == 1
        if shared:  # one question tells of all models: it is always asked, and by the first alone
            await self._ask_of(provider, *requests[asked[0]])
        else:
            asked = [name for name in asked if name not in self._known or self._known[name][0] != models[name]]
            async with asyncio.TaskGroup() as group:
                for name in asked:
                    group.create_task(self._ask_of(provider, *requests[name]))
        if self._met is not None:
            raise self._met
        for name, (target, request) in requests.items():
            told = self._told(provider, target, request) if name in asked else self._known[name][1]
            if told is None:
                self.partial.add((target.base_url, name))
                continue
            self.details[name] = (models[name], told)
            models[name] = merged(models[name], told)

    async def _ask_of(self, provider: Provider, target: Target, request: WireRequest) -> None:
        """Ask for one model's details; the answer is kept among those heard. A server may well not know the route."""
        try:
            await self._ask(request)
        except _Prefrontal as found:
            self._met = found
        except PrefrontalError as error:
            log.debug("%s %s does not tell of %s: %s", provider.wire, target.base_url, target.card.wire_name, error)

    def _told(self, provider: Provider, target: Target, request: WireRequest) -> Found | None:
        response = self._heard.get(_key(request))
        if response is None or response.status != 200:
            return None
        try:
            return provider.parse_probe(response, target)
        except Exception as error:  # noqa: BLE001 - an edge: a card without details is better than none
            log.debug("%s %s told nothing readable of %s: %s", provider.wire, target.base_url, target.card.wire_name, error)
            return None

    def _card(self, profile: Profile, found: Found) -> ModelCard:
        entry = ModelEntry(profile=profile.name, endpoint=local_base(profile, self.port), model=found.id)
        card = without_chat(build_card(found.id, entry, self._sources, found=found, origin="discovered"))
        if (found.extra or {}).get("remote_host"):  # Ollama's cloud: the prompt would leave this machine, and may cost
            return msgspec.structs.replace(card, self_hosted=False, price=Price(), auto=False)
        fact = self._sources.facts.match(found.id, profile.name)
        if card.self_hosted or (fact is not None and fact.licence == "proprietary"):
            return card  # an unknown server that offers a hosted model passes it on, and somebody pays for that
        free = Price(input_usd=0.0, output_usd=0.0, cache_read_usd=0.0, cache_write_usd=0.0)
        return msgspec.structs.replace(card, self_hosted=True, price=free)

    def _target(self, profile: Profile, wire_name: str = "") -> Target:
        base_url = local_base(profile, self.port)
        card = ModelCard(id=wire_name or profile.name, wire_name=wire_name, profile=profile.name, base_url=base_url)
        return Target(card=card, profile=profile, base_url=base_url)

    async def _ask(self, request: WireRequest) -> WireResponse:
        """Send a question; the same one is sent once a round. Raises _Prefrontal, and what the transport raises."""
        parts = urlsplit(request.url)
        if (parts.hostname, parts.port) != (HOST, self.port):
            raise ProviderUnreachable(f"A probe of port {self.port} may not go elsewhere.")
        key = _key(request)
        if key not in self._heard:
            async with self._gate:
                response = await self._transport.send(request, self._timeouts)
            if INSTANCE_HEADER in response.headers:
                raise _Prefrontal(response.headers[INSTANCE_HEADER])
            self._heard[key] = response
        return self._heard[key]

    def _seen(self, profile: str | None, state: State, detail: str, models: tuple[str, ...] = ()) -> SeenServer:
        known = self._sources.profiles.get(profile or "")
        base_url = local_base(known, self.port) if known else f"http://{HOST}:{self.port}"
        return SeenServer(profile=profile, base_url=base_url, state=state, models=models, detail=detail)


def _key(request: WireRequest) -> tuple[str, str, bytes]:
    return (request.method, request.url, request.body)


def _said(response: WireResponse) -> str:
    return str(response.status) if response.status != 200 else "no list of models"


def merged(listed: Found, told: Found) -> Found:
    """Return what the list says with what the engine said of the model itself, which knows better."""
    return msgspec.structs.replace(
        listed,
        context_tokens=told.context_tokens or listed.context_tokens,
        max_output_tokens=told.max_output_tokens or listed.max_output_tokens,
        capabilities={**listed.capabilities, **told.capabilities},
        effort_levels=told.effort_levels or listed.effort_levels,
        loaded=listed.loaded if told.loaded is None else told.loaded,
    )
