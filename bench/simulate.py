"""The 208,000 decisions: each policy of the shipped scenario in a process of its own, and the table of `docs/simulation.md`.

python -m bench.simulate --out FOLDER [--write]      what FOLDER holds is not run again; --write puts the table into the page
python -m bench.simulate --live [--native] [--days 130]
    the same decisions by a real llama.cpp (extra `local`): rules in weights, asked by grammar and log-probabilities; --native:
    random weights with a decision route, whose answers differ with every state, so that far more of them reach the engine
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

PAGE = Path("docs/simulation.md")
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
POLICIES = ("all-cloud", "all-tier-2", "hybrid", "hybrid-cache", "hybrid-capped", "list-2-hybrid-cache")
SEED = {
    "all-cloud": ("~$2,800", "not run: too expensive"),
    "all-tier-2": ("$0", "~45 min"),
    "hybrid": ("~$15", "~30 min"),
    "hybrid-cache": ("~$8", "~15 min"),
    "list-2-hybrid-cache": ("~$8", "~15 min"),
}
"""What the estimate says: cost and time."""

LETTERS = {"working": "A", "reviewing": "A", "idle": "F", "urgent": "B"}
"""Word of a state → the option the rules model names, by its place; A where no word is found."""


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "prefrontal-208000")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--native", action="store_true")
    parser.add_argument("--ttl", type=float, default=86_400.0, help="seconds that a cached answer of the live run holds")
    parser.add_argument("--days", type=int, default=130)
    asked = parser.parse_args()
    if asked.live:
        asyncio.run(live(asked.days, asked.out / ("native" if asked.native else "live"), native=asked.native, ttl_s=asked.ttl))
        return
    for policy in POLICIES:
        if not (asked.out / policy / "report.json").exists():
            command = [sys.executable, "-m", "prefrontal", "simulate", "engineering", "--policy", policy]
            subprocess.run([*command, "--out", str(asked.out / policy)], check=False)
    text = table(asked.out)
    print(text)
    if asked.write:
        page = PAGE.read_text("utf-8")
        head, rest = page.split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", "utf-8")


def table(folder: Path) -> str:
    """Return the finished runs of a folder side by side, and the estimate's figures beside ours."""
    found = [(name, folder / name) for name in POLICIES if (folder / name / "report.json").exists()]
    reports = [msgspec.json.decode((at / "report.json").read_bytes()) for _, at in found]
    runs = [msgspec.json.decode((at / "run.json").read_bytes()) for _, at in found]
    rows: list[list[str]] = [["", *[name for name, _ in found]]]
    rows.append(["cost", *[f"${one['cost']['total_usd']:,.2f}" for one in reports]])
    rows.append(["the estimate's cost", *[SEED.get(name, ("", ""))[0] for name, _ in found]])
    for title, tier in (("tier 1", "tier_1"), ("tier 2", "tier_2"), ("tier 3", "tier_3")):
        rows.append([f"decisions of {title}", *[_percent(one["decisions"]["by_tier"][tier]["share"]) for one in reports]])
    rows.append(["answered by rule", *[f"{one['fallbacks']['total']:,}" for one in reports]])
    rows.append(["without a hosted call", *[_percent(one["decisions"]["local_share"]) for one in reports]])
    rows.append(["from the cache", *[_percent(one["cache"]["share"]) for one in reports]])
    rows.append(["escalated", *[f"{one['escalations']['total']:,}" for one in reports]])
    rows.append(["degraded", *[f"{one['degraded']['total']:,}" for one in reports]])
    rows.append(["time of the engines", *[f"{one['latency']['engine_s'] / 60:,.0f} min" for one in reports]])
    rows.append(["the estimate's time", *[SEED.get(name, ("", ""))[1] for name, _ in found]])
    rows.append(["projects done of those that came", *[_done(one) for one in reports]])
    rows.append(["tasks done", *[f"{one['work']['tasks_done']:,}" for one in reports]])
    rows.append(["processor time of the run", *[f"{one['cpu_s']:,.0f} s" for one in runs]])
    rows.append(["wall time of the run", *[f"{one['wall_s']:,.0f} s" for one in runs]])
    rows.append(["most memory", *[f"{one['max_memory_mb']} MB" for one in runs]])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _done(report: dict[str, Any]) -> str:
    projects = report["work"]["projects"]
    return f"{projects['done']} of {projects['arrived']}"


async def live(days: int, folder: Path, *, native: bool, ttl_s: float) -> None:
    """Let a real engine answer."""
    from prefrontal.app.simulation import Wanted, simulate
    from prefrontal.clock import SystemClock
    from prefrontal.simulate.load import load_scenario
    from prefrontal.testing.engines import running_engine
    from prefrontal.testing.gguf import build_decision, build_rules

    scenario = msgspec.structs.replace(load_scenario("engineering"), days=days, decisions=_for_each_agent())
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "tiny.gguf"
        if native:
            build_decision(path)
        else:
            build_rules(path, LETTERS, default="A")
        async with running_engine(path) as url:
            model = {"profile": "llamacpp", "endpoint": f"{url}/v1", "decisions": {"dialect": "systemone" if native else None}}
            config = {
                "models": {"tiny": model},
                "discovery": {"enabled": False},
                "records": {"enabled": False},
                "limits": {"concurrency_per_model": 8, "queue_per_model": 200},
                "decisions": {"tiers": {"contextual": ["tiny"]}, "cache": {"mode": "declared", "persist": False, "ttl_s": ttl_s}},
            }
            outcome = await simulate(Wanted(scenario=scenario, engine="live", config=config, folder=folder), SystemClock())
    report = outcome.report
    print(msgspec.json.format(msgspec.json.encode(outcome.run)).decode())
    for name in ("decisions", "cache", "fallbacks"):
        print(name, report[name])


def _for_each_agent() -> dict[str, Any]:
    """Return the most frequent type with answers that hold for one agent only, so that a fifth of all goes to the engine."""
    from prefrontal.config.schema_decisions import DecisionTypeEntry
    from prefrontal.simulate.types import shipped_types

    said = shipped_types()["next_action"]
    cache = {"ignore": ["time", "task.id"], "buckets": said["cache"]["buckets"], "per_agent": True}
    return {"next_action": msgspec.convert({"instructions": said["instructions"], "cache": cache}, DecisionTypeEntry)}


if __name__ == "__main__":
    main()
