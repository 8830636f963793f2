"""Every model that can be called, by every name it answers to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from prefrontal.config.cards import Sources, missing_key
from prefrontal.config.check import pull_hint
from prefrontal.config.deployments import build_model
from prefrontal.config.load import config_hash
from prefrontal.config.problems import nearest
from prefrontal.config.schema import Config
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import UnknownModel
from prefrontal.providers.base import Found

LISTED = "GET /v1/models, or `prefrontal models list`, lists what there is."
FOLDER = " A file put into the models folder is found within about 5 seconds."
"""Two looks of two seconds each (`FOLDER_LOOK_S` of discovery), and reading its header."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something people should hear about one model at start: why it is out of service, or that another entry hides it."""

    model: str
    message: str


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """The models of one generation. Immutable.

    cards: by id, also disabled ones. roles: role → ids of enabled models, best first. by_tag: tag → ids of enabled models.
    aliases: wire names that mean exactly one model. hash: of the configuration it was built from. watches_folder: a file put
    into the models folder becomes a model by itself.
    """

    cards: dict[str, ModelCard]
    roles: dict[str, tuple[str, ...]] = {}
    by_tag: dict[str, tuple[str, ...]] = {}
    aliases: dict[str, str] = {}
    notes: tuple[Note, ...] = ()
    hash: str = ""
    watches_folder: bool = False

    @property
    def enabled(self) -> tuple[ModelCard, ...]:
        """The cards in service, in the order of the file, discovered ones last."""
        return tuple(card for card in self.cards.values() if card.enabled)

    def resolve(self, name: str) -> ModelCard | None:
        """Return the enabled model called `name`: by id, else by a wire name that only one model has, else whatever its case."""
        card = self.cards.get(name) or self.cards.get(self.aliases.get(name, ""))
        if card is None:
            card = self.cards.get(self.aliases.get(name.lower(), ""))
        return card if card is not None and card.enabled else None

    def require(self, name: str) -> ModelCard:
        """Return the enabled model called `name`.

        Raises:
            UnknownModel: there is none; `details` hold the nearest names, the hint says them or why it is out of service.
        """
        card = self.resolve(name)
        if card is not None:
            return card
        close = self.nearest(name)
        note = next((note.message for note in self.notes if note.model == name), None)
        hint = f"Did you mean {' or '.join(close)}?" if close else LISTED
        if self.watches_folder:
            hint += FOLDER
        if name in self.cards:
            hint = f"It is configured but {note or 'disabled'}."
        raise UnknownModel(f"There is no model `{name}`.", param="model", hint=hint, details={"nearest": close})

    def only(self, models: frozenset[str]) -> Registry:
        """Return the registry as it is for somebody for whom no other models exist."""
        return Registry(
            cards={name: card for name, card in self.cards.items() if name in models},
            roles={role: tuple([name for name in names if name in models]) for role, names in self.roles.items()},
            by_tag={tag: tuple([name for name in names if name in models]) for tag, names in self.by_tag.items()},
            aliases={alias: name for alias, name in self.aliases.items() if name in models},
            notes=tuple([note for note in self.notes if note.model in models]),
            hash=self.hash,
            watches_folder=self.watches_folder,
        )

    def roles_of(self, model: str) -> tuple[str, ...]:
        """Return the roles a model fills."""
        return tuple([role for role, names in self.roles.items() if model in names])

    def nearest(self, name: str) -> list[str]:
        """Return up to three ids of enabled models that a person may have meant."""
        return nearest(name, [card.id for card in self.enabled])

    def role(self, role: str) -> tuple[ModelCard, ...]:
        """Return the enabled models of a role, best first."""
        return tuple(self.cards[name] for name in self.roles.get(role, ()))


def build_registry(
    config: Config,
    sources: Sources,
    *,
    discovered: Sequence[ModelCard] = (),
    probed: Mapping[str, Found] | None = None,
    missing: Mapping[str, Path] | None = None,
) -> Registry:
    """Return the registry of `config`: its models, then the discovered ones that it does not name already.

    `probed` maps a model's id to what its engine said of it; `missing` names those whose file is not there: they are out of
    service, with a note, until it is. A discovered model at the same address and with the same wire
    name as a configured one is left out, also when the file disables it: the file has the last word.

    Raises:
        ConfigError: an entry names a profile, effort dialect or level that does not exist.
    """
    cards: dict[str, ModelCard] = {}
    notes: list[Note] = []
    for name, entry in config.models.items():
        card = build_model(name, entry, sources, found=(probed or {}).get(name))
        said = missing_key(entry, card, sources.profiles[card.profile])
        file = (missing or {}).get(name)
        if file is not None and card.enabled:
            card = msgspec.structs.replace(card, enabled=False)
            said = f"not in service: no such file: {file} ({pull_hint(file)})"
        cards[name] = card
        if said:
            notes.append(Note(model=name, message=said))
    _add_discovered(cards, notes, discovered)
    usable = [card for card in cards.values() if card.enabled]
    return Registry(
        cards=cards,
        roles=_roles(config, usable),
        by_tag=_groups((tag, card.id) for card in usable for tag in card.tags),
        aliases=_aliases(cards.values()),
        notes=tuple(notes),
        hash=config_hash(config),
        watches_folder=not config.models if config.discovery.enabled is None else config.discovery.enabled,
    )


def _add_discovered(cards: dict[str, ModelCard], notes: list[Note], discovered: Iterable[ModelCard]) -> None:
    known = {_place(one) for card in cards.values() for one in (card, *card.deployments)}
    for card in discovered:
        if _place(card) in known:
            continue
        known.add(_place(card))
        name = card.id
        if name in cards:  # two engines serve a model of one name
            name = f"{card.profile}/{card.id}"
            if name in cards:
                notes.append(Note(model=card.id, message=f"found again at {card.base_url}, hidden by the one of the same name"))
                continue
            notes.append(Note(model=card.id, message=f"found again at {card.base_url}, offered as {name}"))
        cards[name] = card if name == card.id else msgspec.structs.replace(card, id=name)


def _place(card: ModelCard) -> tuple[str | None, str]:
    """What makes two cards the same model: the file, or the address and the name there."""
    return (card.local_path, "") if card.local_path else (card.base_url, card.wire_name)


def _roles(config: Config, usable: Sequence[ModelCard]) -> dict[str, tuple[str, ...]]:
    """Return role → ids: the roles table in its order, then models that claim the role, by priority."""
    ids = {card.id for card in usable}
    roles = {role: [name for name in dict.fromkeys(names) if name in ids] for role, names in config.roles.items()}
    for card in sorted(usable, key=lambda card: -card.priority):
        for role in card.roles:
            listed = roles.setdefault(role, [])
            if card.id not in listed:
                listed.append(card.id)
    return {role: tuple(names) for role, names in roles.items()}


def _groups(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for name, model in pairs:
        groups.setdefault(name, []).append(model)
    return {name: tuple(dict.fromkeys(models)) for name, models in groups.items()}


def _aliases(cards: Iterable[ModelCard]) -> dict[str, str]:
    """Return other names → id where one enabled model alone answers to them: wire names, and both in lower case."""
    aliases: dict[str, str] = {}
    usable = [card for card in cards if card.enabled]
    for spell in (str, str.lower):
        by_wire = _groups((spell(card.wire_name), card.id) for card in usable)
        by_id = _groups((spell(card.id), card.id) for card in usable)
        for name, ids in (*by_id.items(), *by_wire.items()):
            if len(ids) == 1:
                aliases.setdefault(name, ids[0])
    return aliases
