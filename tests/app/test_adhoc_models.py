"""Models that nobody configured, named as ``provider/model``."""

from __future__ import annotations

from pathlib import Path

import pytest

import prefrontal
from prefrontal.errors import UnknownModel


async def test_a_model_of_a_provider_whose_key_is_there_can_be_named_though_nothing_lists_it(tmp_path: Path) -> None:
    """The provider's key in the environment is enough to name any of its models; `auto` does not take it."""
    env = {"PREFRONTAL_HOME": str(tmp_path), "OPENAI_API_KEY": "sk-test-000000000000"}
    config = {"discovery": {"enabled": False}}
    async with prefrontal.open(config, env=env) as pf:
        found = await pf.explain("Hello", model="openai/gpt-of-tomorrow")
        assert found.plan.model == "openai/gpt-of-tomorrow"
        assert "openai/gpt-of-tomorrow" not in pf.registry.cards
        with pytest.raises(UnknownModel):
            await pf.explain("Hello", model="anthropic/claude-of-tomorrow")
