"""What the tests of the room share: the shipped tables and a short way to a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefrontal.assess.assessor import assess
from prefrontal.assess.rules import Rules, load_rules
from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.contracts.assessment import Assessment


@pytest.fixture(scope="session")
def rules() -> Rules:
    return load_rules()


@pytest.fixture(scope="session")
def ask() -> Callable[..., ChatRequest]:
    """A request of one user message; further fields by keyword."""

    def build(text: str, **fields: Any) -> ChatRequest:
        fields.setdefault("messages", (Message(role="user", blocks=(Text(text=text),)),))
        return ChatRequest(model="auto", **fields)

    return build


@pytest.fixture(scope="session")
def read(rules: Rules, ask: Callable[..., ChatRequest]) -> Callable[..., Assessment]:
    """The assessment of a text."""

    def run(text: str, **fields: Any) -> Assessment:
        return assess(ask(text, **fields), input_tokens=len(text) // 4, rules=rules)

    return run
