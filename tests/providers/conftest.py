"""What the tests of several wires share: shipped profiles as targets, and streams cut in every way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefrontal.chat.response import Chunk
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.providers.base import StreamParser, Target
from prefrontal.providers.catalogue import load_profiles

MODELS = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-pro", "ollama": "qwen3:4b"}


@pytest.fixture(scope="session")
def target_of() -> Callable[..., Target]:
    """A function from a shipped profile's name, and fields of the card, to a target."""
    profiles = load_profiles()

    def make(profile: str, **card: Any) -> Target:
        found = profiles[profile]
        fields = {"id": "house/model", "wire_name": MODELS[profile], "profile": profile, "key": "sk-up", **card}
        return Target(card=ModelCard(**fields), profile=found, base_url=found.base_url or "http://127.0.0.1:11434")

    return make


@pytest.fixture(scope="session")
def plain() -> EffortFields:
    """An effort that says nothing."""
    return EffortFields(dialect="none")


@pytest.fixture(scope="session")
def read_stream() -> Callable[[StreamParser, list[bytes]], list[Chunk]]:
    """A function that feeds pieces to a parser and returns all chunks."""

    def read(parser: StreamParser, pieces: list[bytes]) -> list[Chunk]:
        chunks = [chunk for piece in pieces for chunk in parser.feed(piece)]
        return [*chunks, *parser.finish()]

    return read


@pytest.fixture(scope="session")
def same_however_cut(
    read_stream: Callable[[StreamParser, list[bytes]], list[Chunk]],
) -> Callable[[Callable[[], StreamParser], bytes], list[Chunk]]:
    """A function that checks that every cut of the bytes in two, and single bytes, give the same chunks, and returns them."""

    def check(fresh: Callable[[], StreamParser], data: bytes) -> list[Chunk]:
        whole = read_stream(fresh(), [data])
        assert read_stream(fresh(), [data[i : i + 1] for i in range(len(data))]) == whole
        for at in range(len(data)):
            assert read_stream(fresh(), [data[:at], data[at:]]) == whole
        return whole

    return check
