"""`prefrontal simulate`: figures on the terminal, files in a folder, and errors that name what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.simulate.conftest import OFFICE

from prefrontal.config.yaml_source import write_yaml

Run = Callable[..., Any]


@pytest.fixture
def office(folder: Path) -> Path:
    """A scenario file of one day."""
    path = folder / "office.yaml"
    path.write_text(write_yaml({**OFFICE, "days": 1}))
    return path


def test_one_run_is_told_and_written(run: Run, office: Path, folder: Path) -> None:
    """The terminal has the figures; the folder has the recording, both JSON files and a page that needs nothing else."""
    done = run("simulate", "office.yaml", "--out", "out")
    assert done.exit_code == 0, done.stderr
    assert "6 agents, 1 days, 96 decisions, seed 7" in done.stdout
    assert "hybrid" in done.stdout
    assert {path.name for path in (folder / "out").iterdir()} == {"recording.jsonl", "report.json", "run.json", "report.html"}
    page = (folder / "out" / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_json_is_the_report(run: Run, office: Path) -> None:
    """With --json the report and the run are one document, and another seed gives another report."""
    first, other = (json.loads(run("simulate", "office.yaml", "--json", "--seed", seed).stdout) for seed in ("7", "8"))
    assert first["report"]["decisions"]["total"] == 96
    assert first["run"]["engine"] == "profile"
    assert first["report"] != other["report"]


def test_policies_stand_side_by_side(run: Run, office: Path, folder: Path) -> None:
    """Several policies, or two files, are run one after another and compared; each has a folder of its own."""
    done = run("simulate", "office.yaml", "--policy", "hybrid", "--policy", "all-cloud", "--out", "both")
    assert done.exit_code == 0, done.stderr
    head = next(line for line in done.stdout.splitlines() if "all-cloud" in line)
    assert head.split() == ["hybrid", "all-cloud"]
    compared = json.loads((folder / "both" / "compare.json").read_text())["reports"]
    assert [one["scenario"]["policy"] for one in compared] == ["hybrid", "all-cloud"]
    assert compared[0]["cost"]["total_usd"] < compared[1]["cost"]["total_usd"]
    (folder / "more.yaml").write_text("extends: office.yaml\npolicy: all-cloud\n")
    done = run("simulate", "--compare", "office.yaml", "more.yaml", "--json")
    assert [one["report"]["scenario"]["policy"] for one in json.loads(done.stdout)] == ["hybrid", "all-cloud"]


def test_a_recording_is_replayed(run: Run, office: Path) -> None:
    """`simulate replay` tells what was, what would be, and how often both decide alike."""
    run("simulate", "office.yaml", "--out", "out")
    done = run("simulate", "replay", "out/recording.jsonl", "--policy", "all-cloud")
    assert done.exit_code == 0, done.stderr
    assert "as recorded" in done.stdout
    assert "decided alike:" in done.stdout
    played = run("simulate", "office.yaml", "--engine", "recorded", "--recording", "out/recording.jsonl", "--json")
    assert json.loads(played.stdout)["report"]["decisions"]["total"] == 96


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "engineering"),
        (["nowhere"], "engineering"),
        (["office.yaml", "--policy", "best"], "all-cloud"),
        (["office.yaml", "--resume"], "--out"),
        (["office.yaml", "out/recording.jsonl"], "replay"),
        (["office.yaml", "--engine", "recorded"], "--recording"),
        (["office.yaml", "--engine", "live", "--policy", "hybrid"], "--config"),
        (["replay", "office.yaml"], "neither"),
    ],
)
def test_wrong_calls_say_what_helps(run: Run, office: Path, arguments: list[str], said: str) -> None:
    """What is missing or does not go together is an error with a hint, and nothing is run."""
    done = run("simulate", *arguments)
    assert done.exit_code in (1, 2)
    assert said in done.stderr


def test_a_cycle_is_an_error_of_the_file(run: Run, office: Path) -> None:
    """A wrong scenario is told with file, line and path."""
    steps = {"a": {"task": "text", "after": ["b"]}, "b": {"task": "text", "after": ["a"]}}
    office.write_text(write_yaml({**OFFICE, "projects": {"book": {"every_days": 1, "steps": steps}}}))
    done = run("simulate", "office.yaml")
    assert done.exit_code == 2
    assert "a → b → a" in done.stderr
    assert "office.yaml:" in done.stderr
