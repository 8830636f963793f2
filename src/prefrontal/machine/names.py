"""What a client's model name asks for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.config.registry import Registry
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import InvalidRequest, UnknownModel
from prefrontal.machine.context import CallContext, World

AUTO = "auto"
REFLEX = "reflex"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``named``: `card`; ``role``: `role`; ``auto`` and ``reflex``: nothing more. `channel` from ``auto/NAME``."""

    kind: Literal["named", "auto", "role", "reflex"]
    card: ModelCard | None = None
    role: str | None = None
    channel: str | None = None


def asked_channel(request: ChatRequest, context: CallContext, channels: Collection[str]) -> str | None:
    """Return the channel asked for in the body or a header, or None.

    Raises:
        InvalidRequest: there is no such channel.
    """
    for name, where in ((request.hints.channel, "x_prefrontal.channel"), (context.channel, "x-prefrontal-channel")):
        if name:
            return _known(name, channels, where)
    return None


def own_channel(context: CallContext, channels: Collection[str]) -> str | None:
    """Return the channel of the caller's key, as long as there is one of that name."""
    name = context.grant.channel if context.grant is not None else None
    return name if name in channels else None


def adhoc_in(world: World, adhoc: Callable[[str], ModelCard | None]) -> Callable[[str], ModelCard | None]:
    """Return `adhoc` for the models that exist in `world`: a key with a list of models has no others by this way either."""
    models = world.models
    return adhoc if models is None else lambda name: adhoc(name) if name in models else None


def _known(name: str, channels: Collection[str], where: str) -> str:
    if name not in channels:
        raise InvalidRequest(f"There is no channel '{name}'.", param=where, hint=f"Known: {', '.join(sorted(channels))}.")
    return name


def read_name(
    name: str, registry: Registry, channels: Collection[str], adhoc: Callable[[str], ModelCard | None] = lambda _name: None
) -> Asked:
    """Return what `name` stands for. `adhoc` is asked for ``provider/model`` names that the registry does not have.

    Raises:
        UnknownModel: with the nearest names. InvalidRequest: ``auto/NAME`` with an unknown channel.
    """
    card = registry.cards.get(name)
    if card is not None and card.enabled:
        return Asked(kind="named", card=card)
    if name in (AUTO, ""):
        return Asked(kind="auto")
    if name == REFLEX:
        return Asked(kind="reflex")
    if name.startswith("auto/"):
        return Asked(kind="auto", channel=_known(name.removeprefix("auto/"), channels, "model"))
    if name.startswith("role/"):
        role = name.removeprefix("role/")
        if role not in registry.roles:
            raise UnknownModel(
                f"No model has the role '{role}'.", param="model", hint=f"Roles: {', '.join(sorted(registry.roles)) or 'none'}."
            )
        return Asked(kind="role", role=role)
    if "/" in name and registry.resolve(name) is None and name not in registry.cards:
        found = adhoc(name)
        if found is not None:
            return Asked(kind="named", card=found)
    return Asked(kind="named", card=registry.require(name))
