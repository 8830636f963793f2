"""Models offered because their provider's key lies in the environment. Pure: nothing is called, the keys are not tried.

Which models: those of the shipped facts whose listed price is for the provider's own route. A base URL in the environment is
honoured where the provider's own SDK honours it; the key then goes there and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from prefrontal.config.cards import Sources, build_card
from prefrontal.config.schema import ModelEntry
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import is_loopback
from prefrontal.providers.facts import ListedPrice
from prefrontal.providers.profile import Profile

PREFIXES = {"google": "gemini", "kimi": "moonshot", "moonshotai": "moonshot", "mistralai": "mistral", "x-ai": "xai"}
"""First parts of model names that people write for a profile of another name."""

_WIRE_NAME = re.compile(r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$")  # some wires put the name into the address


class BaseVariable(msgspec.Struct, frozen=True, kw_only=True):
    """The variable in which a provider's SDK looks for its address; `rooted`: the SDK adds the version's path itself."""

    name: str
    rooted: bool


BASE_VARIABLES = {
    "openai": BaseVariable(name="OPENAI_BASE_URL", rooted=False),
    "anthropic": BaseVariable(name="ANTHROPIC_BASE_URL", rooted=True),
    "gemini": BaseVariable(name="GOOGLE_GEMINI_BASE_URL", rooted=True),
    "groq": BaseVariable(name="GROQ_BASE_URL", rooted=True),
}
"""Profile → variable, as the official SDKs have them."""


class KeyFound(msgspec.Struct, frozen=True, kw_only=True):
    """One key in the environment, without the key: where it was, and what it gives. For `doctor` and the line at start.

    profile: whose models are offered. models: their ids, empty when none can be offered; `note` says why.
    """

    profile: str
    variable: str
    models: tuple[str, ...] = ()
    note: str = ""


class _Access(msgspec.Struct, frozen=True, kw_only=True):
    """A key and where it may go. `endpoint` None: the profile's own address. `note`: why nothing is offered."""

    profile: Profile
    variable: str
    key: str
    endpoint: str | None = None
    note: str = ""

    def __repr__(self) -> str:
        return f"_Access({self.profile.name}, {self.variable})"


def environment_cards(sources: Sources, *, today: str | None = None) -> tuple[ModelCard, ...]:
    """Return a card for each model that a key in ``sources.env`` gives access to, by provider in the order of the profiles.

    The cards have ``origin="discovered"`` and join `auto`. `today` (``YYYY-MM-DD``) leaves out models whose route has ended.
    """
    return tuple(card for access in _accesses(sources) for card in _cards(access, sources, today))


def environment_keys(sources: Sources, *, today: str | None = None) -> tuple[KeyFound, ...]:
    """Return what was found, for people. No key is in it."""
    return tuple(
        KeyFound(
            profile=access.profile.name,
            variable=access.variable,
            models=tuple(card.id for card in _cards(access, sources, today)),
            note=access.note,
        )
        for access in _accesses(sources)
    )


def adhoc_card(name: str, sources: Sources) -> ModelCard | None:
    """Return a card for ``provider/model`` when the provider's key is in the environment, be the model known or not; else None.

    Such a model stays out of `auto`: it was asked for by name, and its price may be unknown.
    """
    prefix, slash, wire_name = name.partition("/")
    profile = PREFIXES.get(prefix.lower(), prefix.lower())
    if not slash or not _WIRE_NAME.match(wire_name):
        return None
    for access in _accesses(sources):
        if access.profile.name == profile and not access.note:
            entry = ModelEntry(profile=profile, endpoint=access.endpoint, key=access.key, model=wire_name, auto=False)
            return build_card(name, entry, sources, origin="discovered")
    return None


def _accesses(sources: Sources) -> Iterator[_Access]:
    for profile in sources.profiles.values():
        if profile.self_hosted:
            continue
        found = next(((name, sources.env[name].strip()) for name in profile.auth.env if sources.env.get(name, "").strip()), None)
        if found is not None:
            yield _redirected(_Access(profile=profile, variable=found[0], key=found[1]), sources)


def _redirected(access: _Access, sources: Sources) -> _Access:
    """Apply a base URL from the environment."""
    replace = msgspec.structs.replace
    variable = BASE_VARIABLES.get(access.profile.name)
    given = sources.env.get(variable.name, "").strip().rstrip("/") if variable else ""
    if variable is None or not given:
        note = "its address must be written in the registry" if access.profile.base_url is None else ""
        return replace(access, note=note)
    host = _host(given)
    if host is None:
        return replace(access, note=f"{variable.name} is not a web address; the key is not used")
    if is_loopback(host):
        # the key belongs to that server, which local probes look for, and which may be ourselves
        return replace(access, note=f"{variable.name} points to this machine; the key is not used")
    owner = next((profile for profile in sources.profiles.values() if _host(profile.base_url) == host), None)
    if owner is not None and owner.name != access.profile.name:
        if owner.wire != access.profile.wire:
            return replace(access, note=f"{variable.name} points to {owner.title}, whose models are unknown on this wire")
        return replace(access, profile=owner, endpoint=given)
    return replace(access, endpoint=_own_form(given, access.profile) if variable.rooted else given)


def _own_form(given: str, profile: Profile) -> str:
    """Return an address without the version's path in the form this profile has its own: with it, or with it in the routes."""
    path = urlsplit(profile.base_url or "").path.rstrip("/")
    version = path or "/" + profile.paths.chat.strip("/").split("/")[0]
    return given.removesuffix(version) + path


def _host(url: str | None) -> str | None:
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


def _cards(access: _Access, sources: Sources, today: str | None) -> list[ModelCard]:
    if access.note:
        return []
    cards = []
    for fact in sources.facts.catalogue.models:
        price = fact.price
        if price is None or price.profile != access.profile.name or (today and price.until and price.until <= today):
            continue
        name = wire_name_of(price)
        known = sources.facts.match(name, access.profile.name)
        if known is None or known.id != fact.id:
            continue  # a price list's own spelling: the provider would not know it
        entry = ModelEntry(profile=access.profile.name, endpoint=access.endpoint, key=access.key, model=name)
        cards.append(build_card(name, entry, sources, origin="discovered"))
    return cards


def wire_name_of(price: ListedPrice) -> str:
    """Return what the provider calls the model: the route without the provider's own name before it."""
    return price.route.partition("/")[2] or price.route
