"""Which provider speaks which wire: the shipped ones, and those of other packages by entry point."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

import msgspec

from prefrontal.errors import ConfigError
from prefrontal.providers.base import Provider
from prefrontal.providers.profile import Profile

ENTRY_POINT_GROUP = "prefrontal.providers"


class Providers:
    """An immutable map from wire to provider."""

    def __init__(self, by_wire: Mapping[str, Provider]) -> None:
        self._by_wire = dict(by_wire)

    @property
    def wires(self) -> tuple[str, ...]:
        """The wires that can be spoken, sorted."""
        return tuple(sorted(self._by_wire))

    def for_profile(self, profile: Profile) -> Provider:
        """Return the provider that speaks the profile's wire.

        Raises:
            ConfigError: no provider does; the message names the wires there are.
        """
        found = self._by_wire.get(profile.wire)
        if found is None:
            near = difflib.get_close_matches(profile.wire, self._by_wire, n=1)
            known = ", ".join(self.wires)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known wires: {known}."
            raise ConfigError(
                f"Profile {profile.name!r} speaks the wire {profile.wire!r}, which no provider implements.",
                path=f"profiles.{profile.name}.wire",
                rule="known_wire",
                hint=hint,
            )
        return found

    def plus(self, more: Mapping[str, Provider]) -> Providers:
        """Return a new map in which `more` wins over what is here."""
        return Providers({**self._by_wire, **more})


class BrokenPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """An entry point that could not be used, and why, in one sentence."""

    name: str
    target: str
    reason: str


class Discovered(msgspec.Struct, frozen=True, kw_only=True):
    """What the entry points gave: providers by wire, and those that are broken."""

    by_wire: dict[str, Provider] = {}
    broken: tuple[BrokenPlugin, ...] = ()


def builtin_providers() -> Providers:
    """Return the providers that ship with the package."""
    from prefrontal.providers.anthropic.provider import AnthropicProvider
    from prefrontal.providers.gemini.provider import GeminiProvider
    from prefrontal.providers.ollama.provider import OllamaProvider
    from prefrontal.providers.openai.provider import OpenAIProvider

    shipped: list[Provider] = [OpenAIProvider(), AnthropicProvider(), GeminiProvider(), OllamaProvider()]
    return Providers({provider.wire: provider for provider in shipped})


def discover_providers(points: Iterable[EntryPoint] | None = None) -> Discovered:
    """Load the providers other packages offer in the entry-point group ``prefrontal.providers``.

    Each entry point names a class or a function without arguments that returns a `Provider`; its `wire` is the key. A broken
    one is reported in `broken` and stops nobody. `points` replaces the installed entry points, for tests.
    """
    by_wire: dict[str, Provider] = {}
    broken: list[BrokenPlugin] = []
    for point in entry_points(group=ENTRY_POINT_GROUP) if points is None else points:
        try:
            provider = point.load()()
        except Exception as error:  # noqa: BLE001 - an edge: foreign code may fail in any way and must not take us along
            broken.append(BrokenPlugin(name=point.name, target=point.value, reason=f"{type(error).__name__}: {error}"))
            continue
        if not isinstance(provider, Provider):
            reason = f"{type(provider).__name__} lacks methods of prefrontal.providers.base.Provider."
            broken.append(BrokenPlugin(name=point.name, target=point.value, reason=reason))
        elif provider.wire in by_wire:
            reason = f"The wire {provider.wire!r} is already offered by another entry point."
            broken.append(BrokenPlugin(name=point.name, target=point.value, reason=reason))
        else:
            by_wire[provider.wire] = provider
    return Discovered(by_wire=by_wire, broken=tuple(broken))
