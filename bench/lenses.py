"""What a lens adds to a request: on a tiny real engine with 1 to 8 at once, and with 100 at once on a scripted lens of 100 ms.

    python -m bench.lenses [--rounds 10] [--only tiny|scripted] [--json]

The large model is scripted and takes one second, the middle of what seed 004 names (0.5 to 2 s). Every prompt is another one, so
nothing comes from memory. "added" at a percentile is that percentile with the lens less the same without it, in the same run, so
that what a busy machine does to both is not counted as the lens's; "over the median" takes the median without it from both.
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
    walls = [wall for wall, _ in with_it]
    added = p95(walls) - p95(without)
    return {
        "at_once": at_once,
        "requests": len(walls),
        "large_ms": round(plain, 1),
        "added_p50_ms": round(statistics.median(walls) - plain, 1),
        "added_p95_ms": round(added, 1),
        "over_median_ms": round(p95(walls) - plain, 1),
        "reading_p95_ms": round(p95([reading.latency_ms for reading in readings]), 1),
        "share": round(added / plain, 3),
        "failures": sum([record.status != "ok" for _, record in with_it]),
        "fallbacks": sum([reading.source == "fallback" for reading in readings]),
    }


async def run(rounds: int, names: tuple[str, ...], crowd_of: int = 100, crowds: int = 5) -> list[dict[str, Any]]:
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
            for name in names:
                config = {
                    "models": models,
                    "discovery": {"enabled": False},
                    "lenses": {"domains": {"model": name, "preset": "fast"}},
                }
                async with prefrontal.open(config, env={"PREFRONTAL_HOME": folder}) as pf:
                    if name == "tiny":
                        rows += [{"lens": "tiny llama.cpp", **await measured(pf, at_once, rounds)} for at_once in LEVELS]
                    else:
                        rows.append({"lens": "scripted, 100 ms", **await measured(pf, crowd_of, crowds)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lenses", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=("tiny", "scripted"))
    options = parser.parse_args()
    names = {"tiny": ("tiny",), "scripted": ("lens",), None: ("tiny", "lens")}[options.only]
    rows = asyncio.run(run(options.rounds, names))
    if options.json:
        print(json.dumps(rows))
        return
    heads = ["lens", "at once", "requests", "large model", "added p50", "added p95"]
    heads += ["of the large call", "p95 over the median", "fell back"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        milliseconds = [f"{row[name]:.1f} ms" for name in ("large_ms", "added_p50_ms", "added_p95_ms")]
        cells = [row["lens"], row["at_once"], row["requests"], *milliseconds, f"{row['share']:.1%}"]
        print("| " + " | ".join([str(cell) for cell in (*cells, f"{row['over_median_ms']:.1f} ms", row["fallbacks"])]) + " |")


if __name__ == "__main__":
    main()
