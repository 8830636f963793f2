"""Asking engrams on the command line: sources under the answer, nothing found, measurements, and following folders."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from prefrontal.cli.app import app
from prefrontal.knowledge.ingest.run import ingest, ingest_documents
from prefrontal.knowledge.ingest.walk import Source
from prefrontal.knowledge.store.engram import create
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.gguf import build_rules

TEXTS = {
    "manual/pumps.md": b"# Pumps\n\nGrease the seal of the pump each spring, with two grams of lithium grease.\n",
    **{f"other/{n}.txt": f"Ferry {n} leaves the harbour at {n} o'clock for island {n}.".encode() for n in range(8)},
}
QUESTION = "How many grams of grease does the seal of the pump need?"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a tiny local model that answers by rule, and an engram."""
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    build_rules(home / "models/tiny.gguf", {"grease": "Two.", "regatta": "Nobody."})
    create(home / "engrams/work.engram", clock=FakeClock())
    ingest_documents(home / "engrams/work.engram", TEXTS, clock=FakeClock())
    config = {"models": {"tiny": {"path": "tiny.gguf", "context_tokens": 4096}}, "discovery": {"enabled": False}}
    (home / "prefrontal.yaml").write_text(yaml.safe_dump(config))
    return home


@pytest.fixture
def cli(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command in that home."""
    monkeypatch.setenv("PREFRONTAL_HOME", str(tiny))
    monkeypatch.chdir(tiny)
    return lambda *words: CliRunner().invoke(app, ["knowledge", *words])


def test_an_answer_comes_with_its_sources(cli: Any) -> None:
    """The tiny model's words, then what it was given, which it does not cite."""
    done = cli("ask", "work", QUESTION)
    assert done.exit_code == 0, done.output
    assert "[1] work: manual/pumps.md:1-3  (version 1, bytes 0-84)" in done.stdout
    assert "cites none of these passages" in done.stderr
    shown = json.loads(cli("ask", "work", QUESTION, "--json").stdout)
    assert shown["citations"][0]["path"] == "manual/pumps.md"
    assert shown["knowledge"]["found"] is True
    assert shown["text"]


def test_nothing_found_asks_no_model(cli: Any) -> None:
    """Exit status 1 and the reason; with --anyway the model's own words, and that they have no source."""
    done = cli("ask", "work", "Who won the regatta in Lisbon?")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Nothing was found" in done.stderr
    shown = cli("ask", "work", "Who won the regatta in Lisbon?", "--json")
    assert (shown.exit_code, json.loads(shown.stdout)["knowledge"]["found"]) == (1, False)
    outside = cli("ask", "work", QUESTION, "--scope", "other")
    assert outside.exit_code == 1
    done = cli("ask", "work", "Who won the regatta in Lisbon?", "--anyway")
    assert done.exit_code == 0
    assert "Without sources" in done.stderr
    assert cli("ask", "nothing", QUESTION).exit_code != 0


def test_the_harness_runs_on_the_tiny_engine_and_says_what_that_is_worth(cli: Any, tmp_path: Path) -> None:
    """All four arms, every answer in a file, and words that these scores mean nothing."""
    quizzes = [
        {"_id": "1", "question": QUESTION, "answers": ["two"], "passage_id": "manual/pumps.md"},
        {"_id": "2", "question": "Who won the regatta?", "answers": []},
    ]
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(quiz) + "\n" for quiz in quizzes))
    done = cli("eval", "work", str(tmp_path / "qa.jsonl"), "-m", "tiny", "--check", "--out", str(tmp_path / "out.jsonl"))
    assert done.exit_code == 0, done.output
    assert "its scores mean nothing" in done.stderr
    lines = done.stdout.splitlines()
    arms = {"closed": "1", "context": "1", "distractor": "1", "unanswerable": "2"}
    assert [line.split()[:2] for line in lines[1:5]] == [[arm, count] for arm, count in arms.items()]
    assert lines[5].startswith("context against closed, exact: ")
    outcomes = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    asked = [("1", arm, None) for arm in arms] + [("2", "unanswerable", None)]
    assert [(one["id"], one["arm"], one["error"]) for one in outcomes] == asked
    again = cli("eval", "work", str(tmp_path / "qa.jsonl"), "-m", "tiny", "--arm", "closed", "--check", "--json")
    shown = json.loads(again.stdout)
    assert shown["scores_mean_nothing"] is True
    assert cli("eval", "work", str(tmp_path / "qa.jsonl"), "--arm", "open").exit_code != 0


def test_engrams_apart_and_places(cli: Any, tiny: Path) -> None:
    """The same text is 0 apart; places names the folder and the file."""
    create(tiny / "engrams/far.engram", clock=FakeClock())
    ingest_documents(tiny / "engrams/far.engram", {"a.txt": b"Lemons are salted in jars."}, clock=FakeClock())
    assert cli("apart", "work", "work").stdout == "0.0000\n"
    assert json.loads(cli("apart", "work", "far", "--json").stdout)["distance"] > 0.8
    found = json.loads(cli("places", "work", "grease the seal", "--json").stdout)
    assert {"manual/pumps.md", "manual"} <= {one["path"] for one in found}
    assert "manual/pumps.md  (1 passages)" in cli("places", "work", "grease the seal").stdout


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`prefrontal knowledge watch` in a process of its own, following a folder."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("first words")
    engram = tmp_path / "it.engram"
    create(engram, clock=FakeClock())
    ingest(engram, [Source(root=str(folder))], clock=FakeClock())
    (folder / "b.txt").write_text("came before it was watched")
    command = [sys.executable, "-m", "prefrontal", "knowledge", "watch", str(engram), "--json"]
    env = os.environ | {"PREFRONTAL_HOME": str(tmp_path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        yield process, folder
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next line of output, within some seconds."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 15.0)[0], "nothing was said"
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def test_a_watched_folder_is_followed(watched: tuple[subprocess.Popen[str], Path]) -> None:
    """What changed before is taken in first; then a change, a new file and a removal, each as its version; Ctrl-C ends it."""
    process, folder = watched
    assert {k: v for k, v in line(process).items() if k != "elapsed_s"} == {"version": 2, "added": 1, "changed": 0, "removed": 0}
    assert process.stderr is not None
    assert "following" in process.stderr.readline()
    (folder / "a.txt").write_text("other words")
    assert line(process)["changed"] == 1
    (folder / "b.txt").unlink()
    assert line(process)["removed"] == 1
    process.send_signal(2)
    assert process.wait(10) == 130
