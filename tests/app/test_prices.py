"""The price list: what each model costs, who says so, and that what nobody knows is not 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.prices import PriceLine, price_list
from prefrontal.errors import UnknownModel
from prefrontal.testing.scripted import SCRIPTED_URL

NOON_S, NIGHT_S = 12 * 3600.0, 23 * 3600.0
CHEAP = {"from": "22:00", "to": "06:00", "input_usd": 0.5}
OWN = {"input_usd": 2, "output_usd": 8, "windows": [CHEAP]}
MODELS: dict[str, Any] = {
    "own": {"profile": "openai-compatible", "endpoint": SCRIPTED_URL, "price": OWN},
    "mystery": {"profile": "openai-compatible", "endpoint": SCRIPTED_URL},
    "claude": {"profile": "anthropic", "key": "k", "model": "claude-sonnet-4-5"},
    "mine": {"profile": "ollama", "endpoint": "http://127.0.0.1:9", "model": "qwen3:4b"},
}


async def lines(home: Path, now_s: float, model: str | None = None) -> dict[str, PriceLine]:
    """The list by model."""
    tree = {"models": MODELS, "discovery": {"enabled": False}, "records": {"enabled": False}}
    async with prefrontal.open(tree, env={"PREFRONTAL_HOME": str(home)}) as pf:
        return {line.model: line for line in price_list(pf.registry, now_s, model)}


async def test_each_price_says_where_it_is_from(tmp_path: Path) -> None:
    """The file's, the dated catalogue's, none for one's own engine, and unknown, which has no number."""
    found = await lines(tmp_path, NOON_S)
    assert {name: line.source for name, line in found.items()} == {
        "own": "config",
        "mystery": "unknown",
        "claude": "catalogue",
        "mine": "self_hosted",
    }
    assert (found["own"].input_usd, found["own"].output_usd, found["own"].date) == (2, 8, None)
    assert found["claude"].date is not None
    assert (found["claude"].input_usd or 0) > 0
    unknown = found["mystery"]
    assert {unknown.input_usd, unknown.output_usd, unknown.now_input_usd, unknown.now_output_usd} == {None}
    assert (found["mine"].now_input_usd, found["mine"].now_output_usd) == (0, 0)


async def test_hours_with_other_prices(tmp_path: Path) -> None:
    """The base price stays in the list; what holds now follows the clock, and what a window leaves out is the base price."""
    noon, night = (await lines(tmp_path, NOON_S))["own"], (await lines(tmp_path, NIGHT_S))["own"]
    assert [(hours.start, hours.end, hours.input_usd) for hours in noon.windows] == [("22:00", "06:00", 0.5)]
    assert (noon.in_window, noon.now_input_usd, noon.input_usd) == (False, 2, 2)
    assert (night.in_window, night.now_input_usd, night.now_output_usd, night.input_usd) == (True, 0.5, 8, 2)


async def test_one_model_and_one_that_is_not_there(tmp_path: Path) -> None:
    """A name narrows the list; an unknown one is an error and not an empty list."""
    assert list(await lines(tmp_path, NOON_S, "own")) == ["own"]
    with pytest.raises(UnknownModel):
        await lines(tmp_path, NOON_S, "nobody")
