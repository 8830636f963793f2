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


async def test_tokens_are_counted_for_a_model_that_only_a_key_names(tmp_path: Path) -> None:
    """Its card is in no registry; a count is an estimate under its name, and longer text counts more."""
    env = {"PREFRONTAL_HOME": str(tmp_path), "GROQ_API_KEY": "gsk_000000000000"}
    async with prefrontal.open({"discovery": {"enabled": False}}, env=env) as pf:
        short = await pf.count_tokens("Hello", model="groq/llama-of-tomorrow")
        long = await pf.count_tokens("Hello there, " * 50, model="groq/llama-of-tomorrow")
    assert (short.model, short.source) == ("groq/llama-of-tomorrow", "estimate")
    assert long.input_tokens > short.input_tokens
