"""`prefrontal decisions`: outcomes told, calibrators fitted, cases exported, reviewed and judged, from the command line."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.decisions import ScriptedDecisions
from prefrontal.testing.scripted import SCRIPTED_URL

Run = Callable[..., Any]

CONFIG: dict[str, Any] = {
    "version": 1,
    "models": {"m": {"profile": "llamacpp", "endpoint": SCRIPTED_URL}},
    "discovery": {"enabled": False},
    "records": {"content": True},
    "decisions": {"types": {"team": {"instructions": "Which team?", "options": ["billing", "tech"]}}},
}


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a configuration."""
    monkeypatch.setenv("PREFRONTAL_HOME", str(folder / "home"))
    monkeypatch.setenv("USER", "ann")
    (folder / "prefrontal.yaml").write_text(json.dumps(CONFIG))
    return folder


def decided(home: Path, count: int, *, label: bool = True) -> list[str]:
    """Decide so often on a scripted model that is 97 % sure and right in 60 %; return the traces."""

    async def work() -> list[str]:
        clock, chance, found = FakeClock(auto=True), random.Random(3), []
        engine = ScriptedDecisions(lambda _put: {"billing": 0.97, "tech": 0.03}, clock=clock)
        env = {"PREFRONTAL_HOME": str(home / "home")}
        async with prefrontal.open(CONFIG, transport=engine, clock=clock, env=env) as pf:
            for number in range(count):
                decision = await pf.weigh("team", f"ticket {number}", model="m")
                if label:
                    await pf.decisions.outcome(decision, "billing" if chance.random() < 0.6 else "tech")
                found.append(decision.record.id)
                await clock.advance(10)
        return found

    return asyncio.run(work())


def said(result: Any, status: int = 0) -> str:
    """Return what a command said on both streams; it ended with this status."""
    assert result.exit_code == status, result.stderr
    return f"{result.stdout}{result.stderr}"


def test_an_outcome_is_told_and_what_is_wrong_is_said(home: Path, run: Run) -> None:
    """By label or index; an unknown trace or label is an error with a hint."""
    (trace,) = decided(home, 1, label=False)
    assert "Kept" in said(run("decisions", "outcome", trace, "--label", "tech"))
    told = json.loads(run("decisions", "outcome", trace, "--option", "0", "--question", "0", "--reward", "0.5", "--json").stdout)
    assert (told["option"], told["reward"], told["origin"]) == (0, 0.5, "human")
    assert "none of the options" in said(run("decisions", "outcome", trace, "--label", "sales"), 1)
    assert "There is no request" in said(run("decisions", "outcome", "req_none", "--label", "tech"), 1)


def test_calibrators_are_fitted_and_the_report_is_drawn(home: Path, run: Run) -> None:
    """Nothing without labels; a dry run keeps nothing; then one is made, and the page has its diagrams."""
    assert "No decision" in said(run("decisions", "calibrate"))
    decided(home, 240)
    assert json.loads(run("decisions", "calibrate", "--dry-run", "--json").stdout)["made"]
    page = home / "report.html"
    told = said(run("decisions", "calibrate", "--report", str(page)))
    assert "1 calibrators made" in told
    assert "own route" in told
    assert page.read_text().count("<svg") == 2
    assert "0 calibrators made, 1 stay" in said(run("decisions", "calibrate"))
    assert json.loads(run("decisions", "calibrate", "--least", "500", "--json").stdout)["fits"][0]["temperature"] is None
    assert "cannot be written" in said(run("decisions", "calibrate", "--report", str(home / "no" / "report.html")), 1)


def test_cases_are_exported_with_reviewed_synthetic_ones(home: Path, run: Run) -> None:
    """Unreviewed ones are refused; after `review` the accepted are in `train`, marked; a full folder is left alone."""
    decided(home, 20)
    made = home / "made.jsonl"
    cases = [{"type": "team", "state": f"made up {n}", "answer": "tech", "teacher": "large"} for n in range(3)]
    made.write_text("\n".join([json.dumps(case) for case in cases]))
    asked = ("decisions", "export", str(home / "out"), "--format", "decision", "--include-synthetic", str(made))
    assert "reviewed by nobody" in said(run(*asked), 1)
    assert "1 of 3 accepted, 1 open" in said(run("decisions", "review", str(made), input="a\nr\nq\n"))
    assert "2 of 3 accepted, 0 open" in said(run("decisions", "review", str(made), "--accept", "all"))
    assert json.loads(made.read_text().splitlines()[1])["review"]["verdict"] == "rejected"
    assert "train.jsonl" in said(run(*asked))
    rows = [json.loads(line) for line in (home / "out" / "train.jsonl").read_text().splitlines()]
    assert sorted(row["state"] for row in rows if row["origin"] == "synthetic") == ["made up 0", "made up 2"]
    assert "made up by a model, accepted by a person (large)" in (home / "out" / "README.md").read_text()
    assert "not empty" in said(run(*asked), 1)
    assert json.loads(run(*asked, "--force", "--json").stdout)["rows"]["test"] == 4
    assert "no line number" in said(run("decisions", "review", str(made), "--accept", "x"), 1)
    assert "nothing to export" in said(run("decisions", "export", str(home / "r"), "--kind", "router"), 1)


def test_what_cannot_be_judged_is_said(home: Path, run: Run) -> None:
    """A file that is no export, and a model that is none."""
    file = home / "cases.jsonl"
    file.write_text("nonsense\n")
    assert "Line 1 is no JSON" in said(run("decisions", "evaluate", str(file), "--model", "m"), 1)
    file.write_text(json.dumps({"kind": "yes_no", "instructions": "?", "state": "s", "answer": True}))
    assert "no model" in said(run("decisions", "evaluate", str(file), "--model", "nobody"), 1)
