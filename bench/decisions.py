"""The gateway's own cost of typed decisions, on one core, with a scripted engine: no sockets, everything else as it serves.

Time is that of the processor, of all threads together, so that what else runs on the machine does not count.

python -m bench.decisions [--count 20000]      decisions a second, cached and not, and what one adds to its engine's own call
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import statistics
import tempfile
import time
from typing import Any

import prefrontal
from prefrontal.app.decisions import DecisionItem
from prefrontal.app.library import Prefrontal
from prefrontal.clock import SystemClock
from prefrontal.contracts.decision import DecisionContext
from prefrontal.testing.decisions import Put, ScriptedDecisions
from prefrontal.testing.scripted import SCRIPTED_URL

LOCAL = {"profile": "llamacpp", "endpoint": SCRIPTED_URL}
HOSTED = {
    "profile": "openai-compatible",
    "endpoint": SCRIPTED_URL,
    "decisions": {"dialect": "systemone"},
    "price": {"input_usd": 3.0, "output_usd": 15.0},
}
AGENTS = [DecisionContext(agent=f"agent-{n}", role="engineer", signals={"queue_length": float(n % 9)}) for n in range(50)]


def config() -> dict[str, Any]:
    """Three tiers, a cache in a file, a ledger in a file, signals that count."""
    options = ["continue", "complete", "switch", "escalate"]
    return {
        "models": {"small": LOCAL, "medium": LOCAL, "large": HOSTED},
        "discovery": {"enabled": False},
        "decisions": {
            "tiers": {
                "routine": ["small"],
                "contextual": ["medium"],
                "complex": ["large"],
                "signals": {"queue_length": {"above": 5}},
            },
            "types": {
                "next_action": {"instructions": "What next?", "options": options, "tier": 1, "cache": {"ignore": ["tick"]}},
                "conflict": {"instructions": "How to settle it?", "options": options, "tier": 3, "cache": {}},
            },
        },
    }


def script(put: Put) -> dict[str, float]:
    return {"continue": 0.7, "complete": 0.1, "switch": 0.1, "escalate": 0.1}


def state(n: int, tick: int = 0) -> dict[str, Any]:
    return {"agent": n % 50, "task": f"design {n}", "progress": n % 100, "blocked": n % 7 == 0, "queue": n % 9, "tick": tick}


def items(count: int, states: int, salt: int) -> list[DecisionItem]:
    found = []
    for n in range(count):
        kind = "conflict" if n % 50 == 0 else "next_action"
        found.append(DecisionItem(question=kind, state=state(salt + n % states, n), context=AGENTS[n % 50]))
    return found


class Timed(ScriptedDecisions):
    """Adds up the time of the engine itself, which is not the gateway's."""

    spent_s = 0.0
    last_s = 0.0

    async def send(self, request: Any, timeouts: Any, **more: Any) -> Any:
        began = time.process_time()
        try:
            return await super().send(request, timeouts, **more)
        finally:
            self.last_s = time.process_time() - began
            self.spent_s += self.last_s
            self.bodies.clear()


async def rate(pf: Prefrontal, engine: Timed, listed: list[DecisionItem]) -> tuple[float, float]:
    """Return decisions a second of one core's time in all, and without the engine's own."""
    engine.spent_s = 0.0
    began = time.process_time()
    await pf.decide_many(listed, run="bench")
    took = time.process_time() - began
    return len(listed) / took, len(listed) / (took - engine.spent_s)


async def added_ms(pf: Prefrontal, engine: Timed, count: int) -> list[float]:
    """Return what single decisions took beyond their engine's own call, sorted, ms."""
    found = []
    for n in range(count):
        began = time.process_time()
        await pf.decide("next_action", state(10_000_000 + n), context=AGENTS[n % 50])
        found.append((time.process_time() - began - engine.last_s) * 1000.0)
    return sorted(found)


async def measure(count: int, profile: bool) -> None:
    clock = SystemClock()
    engine = Timed(script, clock=clock)
    with tempfile.TemporaryDirectory() as home:
        async with prefrontal.open(config(), transport=engine, clock=clock, env={"PREFRONTAL_HOME": home}) as pf:
            await pf.decide_many(items(500, 500, 1))
            await rate(pf, engine, items(500, 500, 1))
            cached, uncached = [], []
            for round_ in range(3):
                cached.append(await rate(pf, engine, items(count, 500, 1)))
                uncached.append(await rate(pf, engine, items(count // 4, count, 1_000_000 * (round_ + 1))))
            late = await added_ms(pf, engine, 2000)
            print(f"cached      {statistics.median([one for one, _ in cached]):9,.0f} decisions/s")
            print(
                f"uncached    {statistics.median([one for one, _ in uncached]):9,.0f} decisions/s, "
                f"{statistics.median([own for _, own in uncached]):,.0f} without the scripted engine's own time"
            )
            print(f"one decision adds p50 {late[len(late) // 2]:.3f} ms, p99 {late[len(late) * 99 // 100]:.3f} ms")
            if profile:
                for name, listed in (("cached", items(count, 500, 1)), ("uncached", items(count // 4, count, 50_000_000))):
                    profiler = cProfile.Profile()
                    profiler.enable()
                    await pf.decide_many(listed, run="bench")
                    profiler.disable()
                    print(name)
                    pstats.Stats(profiler).sort_stats("tottime").print_stats(28)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    asyncio.run(measure(chosen.count, chosen.profile))


if __name__ == "__main__":
    main()
