"""What the tests of planning share: short ways to a model card and to a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from prefrontal.config.schema_routing import Routing
from prefrontal.contracts.assessment import Assessment, Needs
from prefrontal.contracts.model import Capability, ModelCard, Price
from prefrontal.plan.inputs import PlanInputs

Card = Callable[..., ModelCard]
Snapshot = Callable[..., PlanInputs]


def make_card(name: str, *, can: Sequence[str] = ("chat",), cannot: Sequence[str] = (), **fields: Any) -> ModelCard:
    """A hosted model that chats; `usd` is the price of both directions, per million tokens."""
    usd = fields.pop("usd", None)
    if usd is not None:
        fields["price"] = Price(input_usd=usd, output_usd=usd)
    capabilities = {word: Capability(value=True, origin="config") for word in can}
    capabilities.update({word: Capability(value=False, origin="config") for word in cannot})
    return ModelCard(
        id=name, wire_name=name, profile="openai", base_url="http://127.0.0.1:1", capabilities=capabilities, **fields
    )


def make_inputs(*cards: ModelCard, **fields: Any) -> PlanInputs:
    """A snapshot over these cards. Fields of the assessment, its needs and the routing are told apart by name."""
    needs = {name: fields.pop(name) for name in list(fields) if name in Needs.__struct_fields__}
    needs.setdefault("input_tokens", 100)
    needs.setdefault("output_tokens", 100)
    routing = {name: fields.pop(name) for name in list(fields) if name in Routing.__struct_fields__}
    task = fields.pop("task_type", "chat_writing")
    assessment = Assessment(
        task_type=task, complexity=fields.pop("complexity", 0.5), needs=Needs(**needs), confidence=fields.pop("confidence", 0.8)
    )
    roles: dict[str, tuple[str, ...]] = {}
    for card in cards:
        for role in card.roles:
            roles[role] = (*roles.get(role, ()), card.id)
    fields.setdefault("roles", roles)
    return PlanInputs(assessment=assessment, cards={card.id: card for card in cards}, routing=Routing(**routing), **fields)


@pytest.fixture(scope="session")
def card() -> Card:
    return make_card


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    return make_inputs
