"""Every client dialect × every upstream wire × every feature, over HTTP, through the official client libraries.

What the client sees must be the same for all; what the upstream receives, and what is reported as not sent as given, stands in
`golden_dialects.yaml` (written anew with ``PYTEST_GOLDEN=write``; read the difference). Cells that cannot exist are in `CANNOT`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefrontal.testing.faults import Fault

pytestmark = pytest.mark.asyncio(loop_scope="package")

THOUGHT, ASIDE, ANSWER = "A tool knows.", "Let me look.", "It rains in Oslo."

GOLDEN = Path(__file__).with_name("golden_dialects.yaml")
WRITING = os.environ.get("PYTEST_GOLDEN") == "write"

CLIENTS = ("chat", "responses", "messages")
UPSTREAMS = ("openai-compatible", "anthropic", "gemini", "ollama")
FEATURES = ("text", "reasoning", "signature", "tools", "loop", "image", "structured", "usage", "error", "stream")

CANNOT: dict[tuple[str, str, str], str] = {
    ("*", "openai-compatible", "signature"): "the wire has no signatures",
    ("*", "ollama", "signature"): "the wire has no signatures",
    ("*", "gemini", "signature"): "the mock's thoughts carry none; calls get the API's placeholder, which the loop shows",
    ("chat", "*", "signature"): "a chat message has no field for one: the gateway keeps it, which the loop shows",
}
"""Cells without a meaning, and why."""

UNCACHED = ("ollama",)
"""Wires that do not say how much of the input was cached."""


def why_not(client: str, upstream: str, feature: str) -> str | None:
    """The reason why a cell cannot exist, or None."""
    names = product((client, "*"), (upstream, "*"), (feature,))
    return next((CANNOT[name] for name in names if name in CANNOT), None)


CELLS = [cell for cell in product(CLIENTS, UPSTREAMS, FEATURES) if why_not(*cell) is None]


@dataclass
class Seat:
    """One client in front of one model, with what it has seen."""

    house: Any
    client: str
    model: str

    async def ask(self, text: str, **options: Any) -> Any:
        """Ask, and return what was seen."""
        return await self.house.ask(self.client, self.model, text, **options)

    @property
    def errors(self) -> tuple[type[Exception], type[Exception]]:
        """The library's errors for a refused request and for a broken stream."""
        library = self.house.clients[self.client]
        return library.rejected, library.broken


def bare(value: Any) -> Any:
    """A body without what differs from run to run: the ids that are made of a request's own."""
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return "call" if isinstance(value, str) and value.startswith(("gemini_call_", "ollama_call_", "call_")) else value


@pytest.fixture(scope="module")
def golden() -> Iterator[dict[str, Any]]:
    """The table; written at the end when that is asked for."""
    table: dict[str, Any] = {} if WRITING else yaml.safe_load(GOLDEN.read_text(encoding="utf-8"))
    yield table
    if WRITING:
        GOLDEN.write_text(yaml.safe_dump(table, sort_keys=True, width=130, allow_unicode=True), encoding="utf-8")


@pytest.mark.parametrize("cell", CELLS, ids="/".join)
async def test_cell(house: Any, golden: dict[str, Any], cell: tuple[str, str, str]) -> None:
    """The client sees the whole answer, and the upstream receives what the table says."""
    house.up.heal()
    since = len(house.sent)
    seen = await FEATURE_TESTS[cell[2]](Seat(house, cell[0], cell[1]))
    sent = [{"path": request.path, "body": bare(request.json)} for request in house.sent[since:]]
    found = {"sent": sent, "dropped": [entry.dropped for entry in seen]}
    if WRITING:
        golden["/".join(cell)] = found
    assert found == golden["/".join(cell)]


async def text(seat: Seat) -> list[Any]:
    """Plain text with instructions and a cap."""
    seen = await seat.ask("Weather?")
    assert (seen.text, seen.thinking, seen.calls, seen.finish) == (ANSWER, "", [], "stop")
    assert seen.extension["model"] == seat.model
    return [seen]


async def reasoning(seat: Seat) -> list[Any]:
    """Thinking is asked for in the client's words and comes back in the client's field, apart from the answer."""
    seen = await seat.ask("THINK. Weather?", thinks=True)
    assert (seen.text, seen.thinking) == (ANSWER, THOUGHT)
    assert seen.extension["effort"] > 0.6
    return [seen]


async def signature(seat: Seat) -> list[Any]:
    """The provider's signature reaches the client, sealed where the dialect seals; the loop shows it going back."""
    first = await seat.ask("THINK. Weather?", thinks=True)
    assert len(first.signatures) == 1
    assert first.signatures[0] == "mock-signature" or first.signatures[0].startswith("pf1.")
    return [first]


async def tools(seat: Seat) -> list[Any]:
    """A tool is offered and called."""
    seen = await seat.ask("Weather?", tools=True)
    assert (seen.text, seen.calls, seen.finish) == (ASIDE, [("weather", {"city": "Oslo"})], "tools")
    assert len(set(seen.call_ids)) == 1
    return [seen]


async def loop(seat: Seat) -> list[Any]:
    """The tool's result goes back with the turn that asked for it, its thinking as the engine wants it (in the table)."""
    first = await seat.ask("THINK. Weather?", thinks=True, tools=True)
    assert (first.text, first.thinking, first.calls) == (ASIDE, THOUGHT, [("weather", {"city": "Oslo"})])
    again = await seat.ask("THINK. Weather?", thinks=True, tools=True, history=(first, "RAIN-RESULT"))
    assert (again.text, again.calls, again.finish) == (ANSWER, [], "stop")
    return [first, again]


async def image(seat: Seat) -> list[Any]:
    """A picture beside the text."""
    seen = await seat.ask("What is this?", image=True)
    assert seen.text == ANSWER
    return [seen]


async def structured(seat: Seat) -> list[Any]:
    """A schema reaches the engine in the field it honours."""
    seen = await seat.ask("STRUCTURED. Weather?", schema=True)
    assert seen.text == '{"rains":true}'
    return [seen]


async def usage(seat: Seat) -> list[Any]:
    """The counts are the upstream's, whole and streamed."""
    whole = await seat.ask("Weather?")
    streamed = await seat.ask("Weather?", stream=True)
    assert whole.usage == streamed.usage == (12, 0 if seat.model in UNCACHED else 4, 7)
    assert whole.extension["usage_source"] == streamed.extension["usage_source"] == "reported"
    return [whole, streamed]


async def error(seat: Seat) -> list[Any]:
    """What the upstream refuses, and a stream that breaks, raise the library's own errors with the upstream's words."""
    seat.house.up.fail(Fault(kind="status", status=400, message="No such thing."))
    with pytest.raises(seat.errors[0]) as refused:
        await seat.ask("Weather?")
    assert "No such thing." in str(refused.value)
    seat.house.up.fail(Fault(kind="error_midstream", after_chunks=2, message="It broke."))
    with pytest.raises(seat.errors[1]) as broken:
        await seat.ask("SLOWLY. Weather?", stream=True)
    assert "It broke." in str(broken.value)
    return []


async def stream(seat: Seat) -> list[Any]:
    """Thinking, text and a call, streamed: the same as whole, but for what is only known at the end."""
    whole = await seat.ask("THINK. Weather?", thinks=True, tools=True)
    streamed = await seat.ask("THINK. Weather?", thinks=True, tools=True, stream=True)
    for name in ("text", "thinking", "calls", "finish", "usage"):
        assert getattr(streamed, name) == getattr(whole, name), name
    assert streamed.extension.get("dropped") == whole.extension.get("dropped")
    return [whole, streamed]


FEATURE_TESTS = {
    "text": text,
    "reasoning": reasoning,
    "signature": signature,
    "tools": tools,
    "loop": loop,
    "image": image,
    "structured": structured,
    "usage": usage,
    "error": error,
    "stream": stream,
}


async def test_the_table_has_the_cells_that_exist_and_no_others(golden: dict[str, Any]) -> None:
    """A cell that cannot exist has a reason and no row; every other has one."""
    assert set(golden) == {"/".join(cell) for cell in CELLS}
    assert all(reason for reason in CANNOT.values())
    assert set(FEATURE_TESTS) == set(FEATURES)
