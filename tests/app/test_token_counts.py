"""Token counts and what configured engines say of themselves."""

from __future__ import annotations

from pathlib import Path

import prefrontal
from prefrontal.testing.gguf import build_rules
from prefrontal.testing.upstream import MockUpstream

QUIET = {"enabled": False}


async def test_an_engine_with_a_counter_counts_exactly(tmp_path: Path) -> None:
    """The real engine's tokenizer is asked, and its count equals the usage it reports."""
    (tmp_path / "models").mkdir()
    build_rules(tmp_path / "models" / "tiny.gguf", {"refund": "It is on its way."})
    async with prefrontal.open(env={"PREFRONTAL_HOME": str(tmp_path), "HOME": str(tmp_path)}) as pf:
        reply = await pf.chat("I want a refund", model="tiny")
        counted = await pf.count_tokens("I want a refund", model="tiny")
    assert counted.source == "engine"
    assert counted.input_tokens == reply.usage.input_tokens


async def test_without_a_counter_the_estimate_says_so(tmp_path: Path) -> None:
    """An engine that cannot count gets an estimate marked as one."""
    async with MockUpstream() as upstream:
        models = {"m": {"profile": "openai-compatible", "endpoint": upstream.base_url}}
        config = {"models": models, "discovery": QUIET}
        async with prefrontal.open(config, env={"PREFRONTAL_HOME": str(tmp_path)}) as pf:
            short = await pf.count_tokens("Hello", model="m")
            long = await pf.count_tokens("Hello " * 200, model="m")
    assert short.source == long.source == "estimate"
    assert long.input_tokens > 50 * short.input_tokens / 10


async def test_a_configured_engine_is_asked_what_it_can_do(tmp_path: Path) -> None:
    """What an engine reports fills what the file leaves open, with its origin."""
    async with MockUpstream(models=["m"]) as upstream:
        models = {"m": {"profile": "ollama", "endpoint": upstream.root_url}}
        config = {"models": models, "discovery": QUIET}
        async with prefrontal.open(config, env={"PREFRONTAL_HOME": str(tmp_path)}) as pf:
            for _ in range(200):
                card = pf.registry.cards["m"]
                if card.capabilities.get("vision") and card.capabilities["vision"].origin == "engine":
                    break
                await pf.clock.sleep(0.01)
    assert card.capabilities["vision"].origin == "engine"
    assert card.capabilities["vision"].value is False
