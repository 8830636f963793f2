"""One model at several places: from an entry's `deployments` and `keys` to the cards of each place. Pure."""

from __future__ import annotations

import msgspec

from prefrontal.config.cards import Sources, build_card
from prefrontal.config.hedging import hedge_of
from prefrontal.config.schema_models import ModelEntry
from prefrontal.config.schema_resilience import DeploymentEntry
from prefrontal.contracts.model import ModelCard
from prefrontal.providers.base import Found


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment before it is a card: its name, its weight, and the entry as it would be were it the only one."""

    name: str
    weight: float
    entry: ModelEntry


def build_model(name: str, entry: ModelEntry, sources: Sources, *, found: Found | None = None) -> ModelCard:
    """Return the card of a model of the file, with its deployments where it has several. Raises ConfigError like `build_card`.

    A deployment whose profile needs a key and that has none is left out; with none left the model is out of service.
    """
    spots = spots_of(entry)
    if not spots:
        return build_card(name, entry, sources, found=found)
    built = [
        msgspec.structs.replace(
            build_card(name, spot.entry, sources, found=found), deployment=spot.name, weight=spot.weight, hedge=None
        )
        for spot in spots
    ]
    usable = tuple([card for card in built if card.enabled])
    first = usable[0] if usable else built[0]
    return msgspec.structs.replace(
        first,
        deployment=None,
        weight=1.0,
        max_concurrency=entry.concurrency,
        max_queue=entry.queue,
        deployments=usable,
        hedge=hedge_of(entry.hedge),
    )


def spots_of(entry: ModelEntry) -> list[Spot]:
    """Return an entry's deployments, in the order of the file, each key of one by itself; none where it names neither."""
    if not entry.deployments:
        return _by_key("", 1.0, entry, entry.keys)
    found: list[Spot] = []
    for number, one in enumerate(entry.deployments, 1):
        name = one.name or f"d{number}"
        own = _merged(entry, one)
        keys = one.keys or (() if one.key else entry.keys)
        found += _by_key(f"{name}/", one.weight, own, keys) or [Spot(name=name, weight=one.weight, entry=own)]
    return found


def _by_key(prefix: str, weight: float, entry: ModelEntry, keys: tuple[str, ...]) -> list[Spot]:
    bare = msgspec.structs.replace(entry, keys=(), deployments=())
    return [
        Spot(name=f"{prefix}key{number}", weight=weight, entry=msgspec.structs.replace(bare, key=key))
        for number, key in enumerate(keys, 1)
        if key
    ]


def _merged(entry: ModelEntry, one: DeploymentEntry) -> ModelEntry:
    """Return the model's entry with what the deployment says in place of it."""
    own = {
        name: getattr(one, name)
        for name in ("endpoint", "key", "model", "concurrency", "queue", "tls")
        if getattr(one, name) is not None
    }
    return msgspec.structs.replace(entry, **own, headers={**entry.headers, **one.headers}, keys=(), deployments=())
