"""What a lens adds to a request: on a tiny real engine with 1 to 8 at once, and with 100 at once on a scripted lens of 100 ms.

    python -m bench.lenses [--rounds 30] [--json]

The large model is scripted and takes one second, the middle of what seed 004 names (0.5 to 2 s). Every prompt is another one, so
nothing comes from memory. "added" is the wall time of a request with the lens less the median without it, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import statistics
import tempfile
import time
from typing import Any

import prefrontal
from prefrontal.app.compose import compose
from prefrontal.app.library import Prefrontal
from prefrontal.machine.context import LIBRARY
from prefrontal.testing.answers import Answer
from prefrontal.testing.engines import running_engine
from prefrontal.testing.gguf import build_decision
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.upstream import MockUpstream

LARGE_S = 1.0
LENS_S = 0.1
LEVELS = (1, 2, 4, 8)
NAMES = ("computational", "scientific", "cultural", "experiential")
REPLY = json.dumps({name: {"activation": 0.5, "note": "n"} for name in NAMES})
COUNT = iter(range(10**9))


def said(request: Recorded) -> Answer:
    """The lens answers after 100 ms, the large model after a second."""
    return Answer(text=REPLY, delay_s=LENS_S) if request.json["model"] == "lens" else Answer(text="done", delay_s=LARGE_S)


async def one(pf: Prefrontal, *, lens: bool) -> tuple[float, Any]:
    """Return wall milliseconds and record of one request."""
    text = f"Case {next(COUNT)}: how should a clinic explain a new algorithm to its patients?"
    request = compose(text, {"model": "large", "x_prefrontal": {"lens": "domains"} if lens else {}}, stream=False)
    begun = time.perf_counter()
    answer = await pf.answer(request, LIBRARY)
    return (time.perf_counter() - begun) * 1000.0, answer.record


def p95(values: list[float]) -> float:
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


async def measured(pf: Prefrontal, at_once: int, rounds: int) -> dict[str, float]:
    """Return percentiles of what the lens adds. `at_once` callers ask one request after another, with and without the lens in
    turn, so that a busy machine hits both alike; they begin spread over the time of one request."""
    with_it: list[tuple[float, Any]] = []
    without: list[float] = []

    async def caller(number: int) -> None:
        await asyncio.sleep(LARGE_S * number / at_once)
        for turn in range(2 * rounds):
            found = await one(pf, lens=turn % 2 == 0)
            if turn % 2 == 0:
                with_it.append(found)
            else:
                without.append(found[0])

    await asyncio.gather(*[one(pf, lens=True) for _ in range(at_once)])
    await asyncio.gather(*[caller(number) for number in range(at_once)])
    readings = [record.assessment.lens[0] for _, record in with_it]
    plain = statistics.median(without)
    added = [wall - plain for wall, _ in with_it]
    return {
        "at_once": at_once,
        "requests": len(added),
        "large_ms": round(plain, 1),
        "added_p50_ms": round(statistics.median(added), 1),
        "added_p95_ms": round(p95(added), 1),
        "reading_p95_ms": round(p95([reading.latency_ms for reading in readings]), 1),
        "share": round(p95(added) / plain, 3),
        "failures": sum([record.status != "ok" for _, record in with_it]),
        "fallbacks": sum([reading.source == "fallback" for reading in readings]),
    }


async def run(rounds: int, levels: tuple[int, ...] = LEVELS, crowd_of: int = 100, crowds: int = 5) -> list[dict[str, Any]]:
    """Return the rows of both tables."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = build_decision(pathlib.Path(folder) / "lens.gguf")
        async with running_engine(path) as engine, MockUpstream(said) as up:
            large = {"profile": "openai-compatible", "endpoint": up.base_url, "key": "k", "concurrency": 2 * crowd_of}
            models = {
                "large": large,
                "lens": {**large, "auto": False},
                "tiny": {"profile": "llamacpp", "endpoint": f"{engine}/v1", "decisions": {"dialect": "systemone"}, "auto": False},
            }
            for name in ("tiny", "lens"):
                config = {
                    "models": models,
                    "discovery": {"enabled": False},
                    "lenses": {"domains": {"model": name, "preset": "fast"}},
                }
                async with prefrontal.open(config, env={"PREFRONTAL_HOME": folder}) as pf:
                    if name == "tiny":
                        rows += [{"lens": "tiny llama.cpp", **await measured(pf, at_once, rounds)} for at_once in levels]
                    else:
                        rows.append({"lens": "scripted, 100 ms", **await measured(pf, crowd_of, crowds)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lenses", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = asyncio.run(run(options.rounds))
    if options.json:
        print(json.dumps(rows))
        return
    print("| lens | at once | requests | large model | added p50 | added p95 | of the large call | fallbacks |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['lens']} | {row['at_once']} | {row['requests']} | {row['large_ms']:.0f} ms | {row['added_p50_ms']:.1f} ms "
            f"| {row['added_p95_ms']:.1f} ms | {row['share']:.1%} | {row['fallbacks']} |"
        )


if __name__ == "__main__":
    main()
