"""Profiles and a loader for the configuration's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.config.check import Known
from prefrontal.config.load import Loaded, load_text
from prefrontal.providers.profile import Auth, Profile


@pytest.fixture
def profiles() -> dict[str, Profile]:
    """Four profiles: two hosted, one with a local port, one without any address."""
    return {
        "openai": Profile(
            name="openai",
            title="OpenAI",
            wire="openai",
            provider="openai",
            base_url="https://api.openai.example/v1",
            auth=Auth(env=("OPENAI_API_KEY",), required=True),
            effort_dialect="openai_effort",
            capabilities={"tools": True, "vision": False},
        ),
        "deepseek": Profile(
            name="deepseek", title="DeepSeek", wire="openai", provider="deepseek", base_url="https://api.deepseek.example"
        ),
        "vllm": Profile(name="vllm", title="vLLM", wire="openai", provider="vllm", ports=(8000,), self_hosted=True),
        "llamacpp": Profile(
            name="llamacpp", title="llama.cpp", wire="openai", provider="llamacpp", ports=(8080,), self_hosted=True
        ),
        "generic": Profile(name="generic", title="Any", wire="openai", provider="custom"),
    }


@pytest.fixture
def known(profiles: dict[str, Profile]) -> Known:
    """What settings may refer to in these tests."""
    return Known(
        profiles=profiles, dialects=("fixed", "openai_effort"), facts=("gpt-5.6", "qwen3-4b"), tools=("calculator", "dates")
    )


@pytest.fixture
def read(known: Known, tmp_path: Path) -> Callable[..., Loaded]:
    """Load a text as the file ``prefrontal.yaml`` with an environment whose home is empty."""

    def call(text: str, env: dict[str, str] | None = None, flags: dict[str, object] | None = None) -> Loaded:
        full = {"PREFRONTAL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), **(env or {})}
        return load_text(text, env=full, known=known, file=Path("prefrontal.yaml"), flags=flags)

    return call
