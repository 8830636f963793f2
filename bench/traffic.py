"""Real arrivals: the busiest stretch of a recorded service, at its own pace, at ten times that, and beyond what can be borne.

    python -m bench.traffic TRACE.csv.gz [--seconds 20] [--write]

A trace has the columns TIMESTAMP, ContextTokens, GeneratedTokens. Clients do not wait for one another (open loop): an answer that
is late makes no request later. Four keys share the traffic; one of them sends more than half of it. A tenth of the requests
is marked as unimportant, a tenth as important. Reported: what was answered, what was refused and how, how long requests
waited beyond what the upstream itself took, and how evenly the keys were served.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import datetime
import gzip
import json
import os
import pathlib
import random
import shlex
import sys
import tempfile
import time
from collections import Counter, defaultdict

import aiohttp
import msgspec

from bench import gateways as known
from bench import service
from bench.host import Proc, cores, describe, free_port, wait_for
from bench.measure import say
from bench.report import write_between

BEGIN, END = "<!-- traffic:begin -->", "<!-- traffic:end -->"
KEYS = {name: f"bench-{name}-0123456789abcdef0123456789abcdef" for name in ("flood", "calm", "quiet", "rare")}
SHARES = {"flood": 0.55, "calm": 0.25, "quiet": 0.15, "rare": 0.05}
PRIORITIES = {"low": 0.1, "normal": 0.8, "high": 0.1}
BEYOND = 1.6
"""Offered work at saturation, as a multiple of what the upstream can do."""
TIMEOUT_S = 20.0
SEED = 7


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One request of the trace; `at_s` since the first."""

    at_s: float
    prompt_tokens: int
    tokens: int
    key: str
    priority: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it. waited_s: beyond what the upstream takes for it; None: no answer."""

    arrival: Arrival
    status: int
    waited_s: float | None
    code: str = ""


def busiest(path: pathlib.Path, seconds: float) -> list[Arrival]:
    """Return the stretch of so many seconds with the most arrivals, keys and priorities drawn with a fixed seed."""
    with gzip.open(path, "rt") as file:
        lines = list(csv.DictReader(file))
    rows = [(_time_s(one["TIMESTAMP"]), int(one["ContextTokens"]), int(one["GeneratedTokens"])) for one in lines]
    counts = Counter(int((at - rows[0][0]) / seconds) for at, _, _ in rows)
    piece = counts.most_common(1)[0][0]
    begin = rows[0][0] + piece * seconds
    chance = random.Random(SEED)
    return [
        Arrival(
            at_s=at - begin,
            prompt_tokens=prompt,
            tokens=tokens,
            key=chance.choices(list(SHARES), list(SHARES.values()))[0],
            priority=chance.choices(list(PRIORITIES), list(PRIORITIES.values()))[0],
        )
        for at, prompt, tokens in rows
        if begin <= at < begin + seconds
    ]


def _time_s(text: str) -> float:
    return datetime.datetime.fromisoformat(text[:26]).timestamp()


def faster(arrivals: list[Arrival], times: float) -> list[Arrival]:
    """Return the same stretch at so many times the rate and as long: its requests, repeated with a shift."""
    chance = random.Random(SEED)
    length = arrivals[-1].at_s
    copies = max(1, round(times))
    found = []
    for copy in range(copies):
        shift = chance.random() * length if copy else 0.0
        found += [msgspec.structs.replace(one, at_s=(one.at_s + shift) % length) for one in arrivals]
    return sorted(found, key=lambda one: one.at_s)


def load_of(arrivals: list[Arrival]) -> float:
    """Return the work offered as a fraction of what the upstream can do."""
    work = sum(service.service_s(one.prompt_tokens, one.tokens) for one in arrivals)
    return work / service.SLOTS / max(1.0, arrivals[-1].at_s)


async def replay(arrivals: list[Arrival], port: int) -> list[Outcome]:
    """Send each request at its time; return what became of all."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        begun = time.perf_counter()
        return await asyncio.gather(*[_one(session, port, arrival, begun) for arrival in arrivals])


async def _one(session: aiohttp.ClientSession, port: int, arrival: Arrival, begun: float) -> Outcome:
    text = "w" * (arrival.prompt_tokens * service.CHARACTERS_A_TOKEN)
    body = {"model": "mock", "messages": [{"role": "user", "content": text}], "max_tokens": arrival.tokens}
    headers = {"authorization": f"Bearer {KEYS[arrival.key]}", "x-prefrontal-priority": arrival.priority}
    due = begun + arrival.at_s
    await asyncio.sleep(max(0.0, due - time.perf_counter()))
    try:
        async with session.post(f"http://127.0.0.1:{port}{known.PATH}", json=body, headers=headers) as answer:
            said = await answer.json()
    except (TimeoutError, aiohttp.ClientError) as error:
        return Outcome(arrival=arrival, status=0, waited_s=None, code=type(error).__name__)
    if answer.status != 200:
        return Outcome(arrival=arrival, status=answer.status, waited_s=None, code=str(said.get("error", {}).get("code")))
    took = time.perf_counter() - due
    return Outcome(arrival=arrival, status=200, waited_s=took - service.service_s(arrival.prompt_tokens, arrival.tokens))


def row(name: str, arrivals: list[Arrival], outcomes: list[Outcome]) -> str:
    waits = sorted(one.waited_s for one in outcomes if one.waited_s is not None)
    refused = Counter(one.code or str(one.status) for one in outcomes if one.status != 200)
    spread = [_quantile(waits, q) * 1000 for q in (0.5, 0.95, 0.99)]
    told = ", ".join(f"{count} {code}" for code, count in refused.most_common()) or "none"
    rate = len(arrivals) / max(1.0, arrivals[-1].at_s)
    return (
        f"| {name} | {rate:.1f} | {load_of(arrivals):.0%} | {len(waits)} of {len(arrivals)} | {told} | "
        f"{spread[0]:.0f} / {spread[1]:.0f} / {spread[2]:.0f} | {_by(outcomes, 'priority', PRIORITIES)} | "
        f"{_by(outcomes, 'key', SHARES)} |"
    )


def _by(outcomes: list[Outcome], field: str, order: dict[str, float]) -> str:
    """Return the fraction answered of each value of a field."""
    asked: dict[str, int] = defaultdict(int)
    answered: dict[str, int] = defaultdict(int)
    for one in outcomes:
        name = getattr(one.arrival, field)
        asked[name] += 1
        answered[name] += one.status == 200
    return ", ".join(f"{name} {answered[name] / asked[name]:.0%}" for name in order if asked[name])


def _quantile(values: list[float], q: float) -> float:
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def settings(upstream: int, port: int) -> dict[str, object]:
    """Return the gateway's configuration: one model with as many slots as the upstream has."""
    model = {"profile": "openai-compatible", "endpoint": f"http://127.0.0.1:{upstream}/v1", "concurrency": service.SLOTS}
    return {
        "server": {"port": port, "api_keys": list(KEYS.values())},
        "discovery": {"enabled": False},
        "models": {"mock": {**model, "context_tokens": 131072}},
    }


def run(trace: pathlib.Path, seconds: float, folder: pathlib.Path) -> list[str]:
    load_core, core, _ = cores()
    os.sched_setaffinity(0, {load_core})
    upstream, port = free_port(), free_port()
    arrivals = busiest(trace, seconds)
    mock = Proc(
        "service", [sys.executable, "-m", "bench.service", str(upstream)], core=load_core, folder=folder, cwd=known.HERE
    )
    config = folder / "traffic.yaml"
    config.write_text(json.dumps(settings(upstream, port)))
    gateway = Proc(
        "prefrontal",
        [*known.serve_command(), "--config", str(config)],
        core=core,
        folder=folder,
        env={"PREFRONTAL_HOME": str(folder / "home")},
    )
    rows = []
    try:
        wait_for(upstream, mock)
        wait_for(port, gateway)
        full = BEYOND / load_of(arrivals)
        for name, times in (("1x", 1.0), ("10x", 10.0), (f"{full:.0f}x (saturated)", full)):
            asked = faster(arrivals, times)
            outcomes = asyncio.run(replay(asked, port))
            rows.append(row(name, asked, outcomes))
            say(rows[-1])
            time.sleep(1.0)
    finally:
        gateway.stop()
        mock.stop()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.traffic", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trace", type=pathlib.Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--write", action="store_true", help="write the result into docs/benchmarks.md")
    chosen = parser.parse_args()
    parts, machine = [], describe()  # before this process keeps to one core
    for trace in chosen.trace:
        with tempfile.TemporaryDirectory(prefix="prefrontal-traffic-") as name:
            rows = run(trace, chosen.seconds, pathlib.Path(name))
        parts.append(
            f"\nThe busiest {chosen.seconds:g} s of `{trace.name}`:\n\n| pace | requests/s | work offered | answered | refused | "
            "waited beyond the upstream's own time, ms, p50 / p95 / p99 | answered by priority | answered by key |\n"
            "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows)
        )
    shown = [_short(word) for word in sys.argv[1:]]
    shares = ", ".join(f"{name} {share:.0%}" for name, share in SHARES.items())
    section = (
        f"Command: `{shlex.join(['python', '-m', 'bench.traffic', *shown])}`. Machine: {machine}. "
        f"Date: {datetime.datetime.now(datetime.UTC).date()}. The upstream takes {service.SLOTS} requests at a time, "
        f"{service.FIRST_S * 1000:g} ms and {service.TOKEN_S * 1000:g} ms a token each. Shares of the keys: {shares}.\n"
        + "\n".join(parts)
    )
    print(section)
    if chosen.write:
        write_between(section, known.HERE / "docs" / "benchmarks.md", BEGIN, END)
    return 0


def _short(word: str) -> str:
    return pathlib.Path(word).name if "/" in word else word


if __name__ == "__main__":
    sys.exit(main())
