"""A hundred requests at once on a lens of 100 ms, in virtual time: what the lens adds is its own call and nothing else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

import prefrontal
from prefrontal.app.compose import compose
from prefrontal.config.schema_lenses import PRESETS
from prefrontal.machine.context import LIBRARY
from prefrontal.testing.answers import Answer
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.scripted import ScriptedTransport, scripted_config

NAMES = ("computational", "scientific", "cultural", "experiential")
REPLY = json.dumps({name: {"activation": 0.5, "note": "n"} for name in NAMES})
CROWD = 100


async def crowd(lens_s: float, *, preset: str = "balanced", text: str = REPLY, **entry: Any) -> list[tuple[float, Any]]:
    """Return seconds and record of each of a hundred requests that start together; the large model takes one second."""
    clock = FakeClock(auto=True)

    def said(request: Any) -> Answer:
        return Answer(text=text, delay_s=lens_s) if request.json["model"] == "small" else Answer(text="done", delay_s=1.0)

    config = scripted_config(
        {"large": {"concurrency": CROWD}, "small": {"concurrency": CROWD, "auto": False}},
        lenses={"domains": {"model": "small", "preset": preset, **entry}},
        limits={"retries": {"base_s": 0.0}},
    )
    transport = ScriptedTransport(said, clock=clock)
    async with prefrontal.open(config, env={}, clock=clock, transport=transport) as pf:

        async def one(number: int) -> tuple[float, Any]:
            begun = clock.monotonic()
            hints = {"model": "large", "x_prefrontal": {"lens": "domains"}}
            answer = await pf.answer(compose(f"Case {number}", hints, stream=False), LIBRARY)
            return clock.monotonic() - begun, answer.record

        return list(await asyncio.gather(*[one(number) for number in range(CROWD)]))


def p95(values: list[float]) -> float:
    return sorted(values)[94]


async def test_a_hundred_at_once_wait_for_their_own_lens_only() -> None:
    """p95 added is at most 120 ms, nothing fails, and nothing is answered by the formula."""
    found = await crowd(0.1)
    assert p95([took - 1.0 for took, _ in found]) <= 0.120
    assert {record.status for _, record in found} == {"ok"}
    assert {record.assessment.lens[0].source for _, record in found} == {"model"}


@pytest.mark.parametrize("preset", list(PRESETS))
async def test_no_preset_waits_longer_than_its_deadline(preset: Any) -> None:
    """A lens that hangs costs at most the deadline; the answer comes all the same, and the finding says why."""
    found = await crowd(60.0, preset=preset)
    limit = PRESETS[preset].deadline_s
    assert max([took - 1.0 for took, _ in found]) <= limit + 1e-6
    assert all(record.assessment.lens[0].latency_ms <= limit * 1000.0 + 1e-3 for _, record in found)
    assert {record.status for _, record in found} == {"ok"}
    assert {record.assessment.lens[0].finding for _, record in found} <= {"timeout", "breaker_open", "upstream_cooling_down"}


async def test_replies_that_are_no_readings_stay_within_the_deadline_too() -> None:
    """Each retry takes its 100 ms, and then the formula answers."""
    found = await crowd(0.1, preset="fast", text="no")
    assert max([took - 1.0 for took, _ in found]) <= 0.25
    assert {record.assessment.lens[0].source for _, record in found} == {"fallback"}
