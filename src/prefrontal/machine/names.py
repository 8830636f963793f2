"""What a client's model name asks for. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from prefrontal.config.registry import Registry
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import InvalidRequest, UnknownModel

AUTO = "auto"
REFLEX = "reflex"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """kind ``named``: `card`; ``role``: `role`; ``auto`` and ``reflex``: nothing more. `channel` from ``auto/NAME``."""

    kind: Literal["named", "auto", "role", "reflex"]
    card: ModelCard | None = None
    role: str | None = None
    channel: str | None = None


def read_name(name: str, registry: Registry, channels: Collection[str]) -> Asked:
    """Return what `name` stands for.

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
        channel = name.removeprefix("auto/")
        if channel not in channels:
            raise InvalidRequest(
                f"There is no channel '{channel}'.", param="model", hint=f"Known: {', '.join(sorted(channels))}."
            )
        return Asked(kind="auto", channel=channel)
    if name.startswith("role/"):
        role = name.removeprefix("role/")
        if role not in registry.roles:
            raise UnknownModel(
                f"No model has the role '{role}'.", param="model", hint=f"Roles: {', '.join(sorted(registry.roles)) or 'none'}."
            )
        return Asked(kind="role", role=role)
    return Asked(kind="named", card=registry.require(name))
