"""Simulations through the whole house: repeatable to the byte, resumable after a kill, within budgets, and replayable."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.simulate.conftest import OFFICE

import prefrontal
from prefrontal.app.replaying import replay
from prefrontal.app.simulation import Wanted, simulate
from prefrontal.clock import SystemClock
from prefrontal.config.yaml_source import write_yaml
from prefrontal.errors import ConfigError, Conflict, InvalidRequest, NotFound
from prefrontal.simulate.desk import Recording, Row
from prefrontal.simulate.load import load_scenario, merged, read_scenario
from prefrontal.simulate.outcome import Outcome
from prefrontal.simulate.schema import Scenario
from prefrontal.testing.http_server import HttpServer, Recorded, Reply


def office(**settings: Any) -> Scenario:
    return msgspec.convert(merged(OFFICE, settings), Scenario)


def run(wanted: Wanted) -> Outcome:
    return asyncio.run(simulate(wanted, SystemClock()))


def rows_of(folder: Path) -> list[Row]:
    return [row for tick in Recording(folder / "recording.jsonl").ticks() for row in tick]


@pytest.mark.parametrize("engine", ["profile", "scripted"])
def test_the_same_seed_gives_the_same_bytes(engine: Any, tmp_path: Path) -> None:
    """Report and recording are the same, byte for byte; another seed's are not; wall time is kept apart."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(Wanted(scenario=office(), engine=engine, seed=seed, folder=tmp_path / name))
    for file in ("report.json", "recording.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert (tmp_path / "a" / file).read_bytes() != (tmp_path / "c" / file).read_bytes()
    assert b"wall_s" not in (tmp_path / "a" / "report.json").read_bytes()
    assert msgspec.json.decode((tmp_path / "a" / "run.json").read_bytes())["wall_s"] > 0


def test_a_recording_plays_to_the_same_report(tmp_path: Path) -> None:
    """The engine recorded gives the report of the run it plays; of another scenario it is refused."""
    whole = run(Wanted(scenario=office(), folder=tmp_path / "a"))
    played = run(
        Wanted(scenario=office(), engine="recorded", recording=tmp_path / "a" / "recording.jsonl", folder=tmp_path / "b")
    )
    assert played.report == whole.report
    assert (tmp_path / "a" / "report.json").read_bytes() == (tmp_path / "b" / "report.json").read_bytes()
    with pytest.raises(InvalidRequest, match="another scenario"):
        run(Wanted(scenario=office(days=9), engine="recorded", recording=tmp_path / "a" / "recording.jsonl"))
    with pytest.raises(NotFound):
        run(Wanted(scenario=office(), engine="recorded", recording=tmp_path / "none.jsonl"))


def test_one_scripted_answer_changes_the_report(tmp_path: Path) -> None:
    """The script's answers drive the world: writers who never accept reviews leave work undone."""
    usual = run(Wanted(scenario=office(days=6), engine="scripted"))
    refusing = run(Wanted(scenario=office(days=6, script=[{"answer": False, "type": "accept_reject"}]), engine="scripted"))
    assert usual.report["work"]["reviews"] > 0
    assert refusing.report["work"]["reviews"] == 0
    assert refusing.report["work"]["tasks_done"] < usual.report["work"]["tasks_done"]


def test_tiers_cache_and_prices_are_the_houses(tmp_path: Path) -> None:
    """Decisions go to the tiers of their types, repeated ones come from the cache, and hosted calls cost what the list says."""
    hybrid = run(Wanted(scenario=office())).report
    cloud = run(Wanted(scenario=office(), policy="all-cloud")).report
    assert cloud["cost"]["total_usd"] == pytest.approx(288 * 0.0135)
    assert cloud["decisions"]["by_model"] == {"cloud": 288}
    assert hybrid["cache"]["hits"] > 50
    assert set(hybrid["decisions"]["by_model"]) >= {"cloud", "small"}
    assert hybrid["cost"]["total_usd"] == pytest.approx(hybrid["decisions"]["paid"] * 0.0135)
    assert hybrid["cost"]["total_usd"] < cloud["cost"]["total_usd"] / 3
    assert cloud["latency"]["asked_ms"]["p50"] > hybrid["latency"]["asked_ms"]["p50"] > 0


def test_a_hard_cap_is_never_exceeded_and_what_it_degraded_is_listed(tmp_path: Path) -> None:
    """A run under a cap goes to its end: the money is used, not a cent more, and the report says what went down a tier for it."""
    capped = {
        "decisions": {"tiers": {"complex": ["cloud"], "routine": ["small"], "run_usd": 0.5, "cloud_calls_per_agent_day": None}}
    }
    report = run(Wanted(scenario=office(days=5, policies={"capped": capped}), policy="capped")).report
    assert report["decisions"]["total"] == 480
    assert 0.4 < report["cost"]["total_usd"] <= 0.5
    assert report["degraded"]["by_reason"]["insufficient_quota"] > 10
    assert sum(report["degraded"]["by_type"].values()) == report["degraded"]["total"]


def test_an_agents_allowance_is_never_exceeded(tmp_path: Path) -> None:
    """No agent puts more than its two questions a day to the hosted model; the rest is degraded."""
    scenario = office(roles={"writer": {"incidents_per_day": 12}})
    report = run(Wanted(scenario=scenario, folder=tmp_path / "a")).report
    paid = Counter((row.agent, row.at // 1440) for row in rows_of(tmp_path / "a") if row.cost_usd)
    assert max(paid.values()) == 2
    assert report["degraded"]["by_reason"]["agent_allowance"] > 0


def test_outages_fall_back_to_the_rule(tmp_path: Path) -> None:
    """Models that always fail leave the rules: every decision is answered, and says why by rule."""
    scenario = office(days=1, engines={"small": {"failures": 1.0}, "cloud": {"failures": 1.0}})
    report = run(Wanted(scenario=scenario)).report
    assert report["fallbacks"]["total"] == report["decisions"]["total"] == 96
    assert report["cost"]["total_usd"] == 0


def test_a_killed_run_goes_on_to_the_same_report(tmp_path: Path) -> None:
    """After kill -9 in the middle: without --resume it is refused, with it the report is that of a run nobody killed."""
    settings = {**OFFICE, "days": 25}
    (tmp_path / "office.yaml").write_text(write_yaml(settings))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "prefrontal", "simulate", str(tmp_path / "office.yaml"), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(out / "recording.jsonl", 20_000)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert not (out / "report.json").exists()
    with (out / "recording.jsonl").open("ab") as file:
        file.write(b'[1234,0,"next_act')  # a line that was being written
    scenario = read_scenario(write_yaml(settings))
    with pytest.raises(Conflict, match="cut short"):
        run(Wanted(scenario=scenario, folder=out))
    with pytest.raises(InvalidRequest, match="another seed"):
        run(Wanted(scenario=scenario, folder=out, seed=99, resume=True))
    resumed = run(Wanted(scenario=scenario, folder=out, resume=True))
    assert 0 < resumed.run["resumed_decisions"] < resumed.report["decisions"]["total"]
    run(Wanted(scenario=scenario, folder=tmp_path / "whole"))
    for file in ("report.json", "recording.jsonl"):
        assert (out / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def _wait_for(path: Path, size: int) -> None:
    """Return when a file has grown so far; pytest's own timeout bounds the wait."""
    while not path.exists() or path.stat().st_size < size:
        threading.Event().wait(0.01)


def test_a_recording_is_replayed_under_another_policy(tmp_path: Path) -> None:
    """The same situations are put to the other policy: the same count, another bill, and how often both agree."""
    run(Wanted(scenario=office(), folder=tmp_path / "a"))
    (tmp_path / "p.yaml").write_text(
        "engines: {cloud: {latency_ms: 900, accuracy: 1}}\ndecisions:\n  cache: {mode: 'off'}\n"
        "  tiers: {routine: [], complex: [cloud], cloud_calls_per_agent_day: null}\n"
    )
    recording = tmp_path / "a" / "recording.jsonl"
    old, new = asyncio.run(replay(recording, SystemClock(), policy=str(tmp_path / "p.yaml"), out=tmp_path / "again"))
    assert old.report["decisions"]["total"] == new.report["decisions"]["total"] == 288
    assert new.report["cost"]["total_usd"] == pytest.approx(288 * 0.0135)
    assert old.report["cost"]["total_usd"] < new.report["cost"]["total_usd"]
    assert 0.5 < new.report["agreement"] < 1
    same = asyncio.run(replay(recording, SystemClock()))[1]
    assert same.report["agreement"] == 1
    assert "as recorded" in (tmp_path / "again" / "report.html").read_text()


def test_other_traffic_is_replayed_too(tmp_path: Path) -> None:
    """Lines of JSON with a type and a state, and records with their content, are traffic; a wrong line is named."""
    lines = [
        {"type": "accept_reject", "state": {"priority": "urgent", "waiting": 1}, "at": "2026-03-02T10:00:00Z", "answer": True},
        {"type": "novel_problem", "state": '{"deadline_days": 1}', "at": "2026-03-03T10:00:00Z", "agent": "a", "novel": True},
        {
            "started_s": datetime.fromisoformat("2026-03-03T11:00:00+00:00").timestamp(),
            "decisions": [{"type": "accept_reject", "chosen": True}],
            "content": {"messages": [{"blocks": [{"text": '{"priority": "urgent", "waiting": 1}'}]}]},
        },
        {"started_s": 1.0, "decisions": [{"type": "accept_reject", "chosen": True}], "content": None},
    ]
    file = tmp_path / "traffic.jsonl"
    file.write_bytes(b"".join([msgspec.json.encode(line) + b"\n" for line in lines]))
    old, new = asyncio.run(replay(file, SystemClock(), policy="hybrid"))
    assert old.report["decisions"]["total"] == 3
    assert new.report["decisions"]["by_model"] == {"cloud": 1, "small": 2}
    assert len(new.report["days"]) == 2
    file.write_text('{"type": "accept_reject", "state": {}}\n{"state": 1}\n')
    with pytest.raises(InvalidRequest, match="line 2"):
        asyncio.run(replay(file, SystemClock(), policy="hybrid"))
    file.write_text("no\n")
    with pytest.raises(InvalidRequest, match="neither"):
        asyncio.run(replay(file, SystemClock()))


def test_wrong_policies_are_refused_before_anything_runs(tmp_path: Path) -> None:
    """A negative budget, an unknown policy, a setting that is none and a rule that raises are errors with their path."""
    for policy, said in (
        ({"decisions": {"tiers": {"routine": ["small"], "run_usd": -1}}}, "run_usd"),
        ({"decisions": {"tires": {}}}, "tires"),
    ):
        with pytest.raises(ConfigError, match=said):
            run(Wanted(scenario=office(policies={"bad": policy}), policy="bad", folder=tmp_path / "out"))
    with pytest.raises(ConfigError, match="no policy `best`"):
        run(Wanted(scenario=office(), policy="best"))
    raising = office(decisions={"task_transition": {"instructions": "?", "rule": "state.none.more", "samples": [{"a": 1}]}})
    with pytest.raises(ConfigError, match="rule fails"):
        run(Wanted(scenario=raising))
    assert not (tmp_path / "out").exists()


def test_a_rule_that_raises_later_is_a_finding(tmp_path: Path) -> None:
    """A rule that fails on some states only does not stop a run: equal probabilities answer, and the report says so."""
    rule = {
        "task_transition": {"instructions": "?", "rule": "state.nothing == 1 ? 'start' : 'defer'", "samples": [{"nothing": 1}]}
    }
    scenario = office(decisions=rule, engines={"small": {"failures": 1.0}, "cloud": {"failures": 1.0}})
    report = run(Wanted(scenario=scenario)).report
    assert any(name.startswith("rule_raised") for name in report["findings"])


async def test_a_live_run_is_recorded_and_plays_identically(tmp_path: Path) -> None:
    """Real requests to a model that answers over the wire: the recording gives the same report, latencies are kept apart."""

    async def answer(recorded: Recorded, reply: Reply) -> None:
        body = recorded.json
        answers = {}
        for name, question in body["questions"].items():
            labels = list(question.get("criteria") or ("yes", "no"))
            shares = {label: 0.9 if at == 0 else 0.1 / max(1, len(labels) - 1) for at, label in enumerate(labels)}
            if question["type"] == "noul":
                answers[name] = {"type": "noul", "noul": 0.9}
            else:
                keyed = {str(n): s for n, s in enumerate(shares.values())} if question["type"] == "score" else shares
                answers[name] = {"type": question["type"], "probabilities": keyed, "choice": labels[0], "score": 0}
        told = {"model": "m", "answers": answers, "usage": {"input_tokens": 9, "output_tokens": 0}}
        reply.whole(200, {"content-type": "application/json"}, msgspec.json.encode(told))

    server = HttpServer(answer, clock=SystemClock())
    await server.start()
    try:
        config = {
            "models": {
                "m": {
                    "profile": "llamacpp",
                    "endpoint": f"http://127.0.0.1:{server.port}/v1",
                    "decisions": {"dialect": "systemone"},
                }
            },
            "discovery": {"enabled": False},
            "records": {"enabled": False},
            "decisions": {"tiers": {"routine": ["m"]}, "cache": {"persist": False}},
        }
        wanted = Wanted(scenario=office(days=1), engine="live", config=config, folder=tmp_path / "live")
        live = await simulate(wanted, SystemClock())
    finally:
        await server.stop()
    assert live.report["decisions"]["by_model"] == {"m": 96}
    assert "latency" not in live.report
    assert live.run["latency"]["asked_ms"]["p50"] > 0
    played = Wanted(
        scenario=office(days=1), engine="recorded", recording=tmp_path / "live" / "recording.jsonl", folder=tmp_path / "again"
    )
    await simulate(played, SystemClock())
    assert (tmp_path / "live" / "report.json").read_bytes() == (tmp_path / "again" / "report.json").read_bytes()


def test_the_shipped_scenario_runs_under_each_policy() -> None:
    """One day of it: nothing is answered by rule, and each policy asks the tiers it says."""
    scenario = msgspec.structs.replace(load_scenario("engineering"), days=1, ticks_per_day=8)
    tiers = {}
    for name in ("all-cloud", "all-tier-2", "hybrid-cache"):
        report = run(Wanted(scenario=scenario, policy=name)).report
        assert report["fallbacks"]["total"] == 0
        tiers[name] = {tier for tier, one in report["decisions"]["by_tier"].items() if one["count"]}
    assert tiers["all-cloud"] == {"tier_3"}
    assert tiers["all-tier-2"] == {"tier_2"}
    assert {"tier_1", "tier_2"} <= tiers["hybrid-cache"]
    assert prefrontal.__version__
