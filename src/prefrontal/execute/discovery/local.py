"""Looks for model servers on 127.0.0.1, at the ports engines use by default.

Nothing but 127.0.0.1 is contacted, without any key. A server is asked which models it has and what they can do; a server that
answers nonsense is reported, never fatal; a Prefrontal, ourselves above all, is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from prefrontal.config.cards import Sources
from prefrontal.config.schema import Discovery
from prefrontal.contracts.model import ModelCard
from prefrontal.execute.discovery.naming import name_cards
from prefrontal.execute.discovery.visit import Expected, SeenServer, Visit
from prefrontal.execute.transport.base import Transport
from prefrontal.providers.base import Found
from prefrontal.providers.profile import Profile
from prefrontal.providers.registry import Providers

REST_ROUNDS = 10
"""Rounds for which a port is left alone after something there was no model server. Assumed: with the default interval, other
people's development servers see us every five minutes."""


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one round found. Ports where nothing listens are not mentioned.

    partial: places (`place_of`) of cards whose server listed the model but did not answer for its capabilities.
    """

    cards: tuple[ModelCard, ...] = ()
    seen: tuple[SeenServer, ...] = ()
    partial: frozenset[tuple[str, str]] = frozenset()


def expected_ports(settings: Discovery, profiles: Mapping[str, Profile]) -> tuple[Expected, ...]:
    """Return the ports to look at, each once, in the order of the profiles. Pure."""
    by_port: dict[int, list[Profile]] = {}
    told = settings.ports is not None
    for profile in profiles.values():
        for port in (settings.ports or {}).get(profile.name, ()) if told else profile.ports:
            by_port.setdefault(port, []).append(profile)
    return tuple(Expected(port=port, profiles=tuple(found), told=told) for port, found in by_port.items())


class LocalProbe:
    """Looks for servers, round after round. Remembers what models can do while the server lists them unchanged.

    Cancelling a round ends its requests; nothing is left behind.
    """

    def __init__(self, *, transport: Transport, providers: Providers, sources: Sources) -> None:
        self._transport = transport
        self._providers = providers
        self._sources = sources
        self._details: dict[int, dict[str, tuple[Found, Found]]] = {}
        self._resting: dict[int, tuple[int, SeenServer]] = {}

    async def probe(
        self, settings: Discovery, *, own_ports: frozenset[int] = frozenset(), own_instance: str = "", fresh: bool = False
    ) -> ProbeReport:
        """Look once at every port. `own_ports` are not contacted. `fresh`: nothing remembered is used.

        `own_instance` is our own id; it only decides what is said about a Prefrontal that is found. Never raises but for
        cancellation.
        """
        if fresh:
            self._details.clear()
            self._resting.clear()
        seen: dict[int, SeenServer] = {}
        visits: list[Visit] = []
        ports = [place for place in expected_ports(settings, self._sources.profiles) if place.port not in own_ports]
        for place in ports:
            rounds, server = self._resting.pop(place.port, (0, None))
            if rounds > 1 and server is not None:
                self._resting[place.port] = (rounds - 1, server)
            if server is not None:
                seen[place.port] = server
            else:
                known = self._details.get(place.port, {})
                visits.append(Visit(self._transport, self._providers, self._sources, place, settings.timeout_s, known))
        async with asyncio.TaskGroup() as group:  # a visit raises nothing of its own
            running = [group.create_task(visit.run(own_instance)) for visit in visits]
        cards: dict[int, list[ModelCard]] = {}
        partial: set[tuple[str, str]] = set()
        for visit, task in zip(visits, running, strict=True):
            port, server = visit.port, task.result()
            self._details[port] = visit.details
            if server is None:
                continue
            seen[port] = server
            cards[port] = visit.cards
            partial |= visit.partial
            if visit.stranger:
                self._resting[port] = (REST_ROUNDS, server)
        ordered = [place.port for place in ports]
        return ProbeReport(
            cards=name_cards(card for port in ordered for card in cards.get(port, ())),
            seen=tuple(seen[port] for port in ordered if port in seen),
            partial=frozenset(partial),
        )
