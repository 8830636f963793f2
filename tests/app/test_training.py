"""Exports from a real ledger: only what was kept, without secrets and names, split, with a card; and models judged on them."""

from __future__ import annotations

import json
import stat
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.evaluating import evaluate
from prefrontal.app.training import Trainer, Wanted
from prefrontal.config.redact import Redactor, secrets_of
from prefrontal.contracts.decision import DecisionContext
from prefrontal.decisions.training.judged import read_cases
from prefrontal.errors import Conflict, InvalidRequest, UnknownModel
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.decisions import Put, ScriptedDecisions
from prefrontal.testing.scripted import SCRIPTED_URL, ScriptedTransport, scripted_config

TYPES = {
    "team": {"instructions": "Which team?", "options": ["billing", "tech"], "descriptions": {"tech": "anything broken"}},
    "urgent": {"kind": "score", "instructions": "How urgent?", "options": ["low", "mid", "high"]},
}
MODEL = {"profile": "llamacpp", "endpoint": SCRIPTED_URL}


def script(put: Put) -> dict[str, float]:
    """The large model knows broken things; the small one says billing to everything."""
    tech = put.model == "large" and "broken" in put.state
    urgent = 0.8 if "now" in put.state else 0.1
    weights = {"tech": 0.95, "billing": 0.05} if tech else {"tech": 0.05, "billing": 0.95}
    return {**weights, "high": urgent, "mid": 0.1, "low": 0.9 - urgent}


@asynccontextmanager
async def house(home: Path, *, content: bool = True, **tree: Any) -> Any:
    clock = FakeClock(auto=True)
    config = {
        "models": {"small": MODEL, "large": MODEL},
        "discovery": {"enabled": False},
        "decisions": {"types": TYPES},
        "records": {"content": content},
        **tree,
    }
    engine = ScriptedDecisions(script, clock=clock)
    async with prefrontal.open(config, transport=engine, clock=clock, env={"PREFRONTAL_HOME": str(home)}) as pf:
        yield pf


def trainer(pf: Any, *secrets: str) -> Trainer:
    types = pf.decisions.types(pf.config.decisions)
    redactor = Redactor([*secrets_of(pf.config), *secrets])
    return Trainer(pf.outcomes, types, redactor, vault=pf.money.vault, clock=pf.clock)


async def work(pf: Any, count: int = 40, *, model: str = "small") -> None:
    """Tickets of four agents, every other one broken, each with its outcome."""
    for number in range(count):
        broken = number % 2 == 1
        context = DecisionContext(agent=f"ann-{number % 4}@example.org", role="triage")
        state = f"ticket {number}: it is {'broken' if broken else 'charged twice'}"
        decision = await pf.weigh("team", state, model=model, context=context)
        await pf.decisions.outcome(decision, "tech" if broken else "billing", origin="observed")
        await pf.clock.advance(60)


def lines(folder: Path, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{part}.jsonl").read_text().splitlines()]


async def test_chats_are_written_with_their_card(tmp_path: Path) -> None:
    """Every case once, the right answer in each, later ones of new agents in the test; private files; a note in the audit log."""
    async with house(tmp_path / "home") as pf:
        await work(pf)
        found = await trainer(pf).export(Wanted(), tmp_path / "out", "me")
        assert sum(found.rows.values()) + 8 >= 40  # early cases of the agents held out are in no part
        assert found.rows["train"] > found.rows["validation"] > found.rows["test"] > 0
        for row in lines(tmp_path / "out", "train"):
            broken = "broken" in row["messages"][-2]["content"]
            assert row["messages"][-1]["content"] == ("B" if broken else "A")
            assert "anything broken" in row["messages"][0]["content"]
        groups = [{row["meta"]["group"] for row in lines(tmp_path / "out", part)} for part in ("train", "test")]
        assert not groups[0] & groups[1]
        text = "".join([file.read_text() for file in (tmp_path / "out").iterdir()])
        assert "ann-" not in text
        assert "| team | " in (tmp_path / "out" / "README.md").read_text()
        assert stat.S_IMODE((tmp_path / "out" / "train.jsonl").stat().st_mode) == 0o600
        assert (await pf.money.vault.audits(1))[0].action == "export_cases"
        with pytest.raises(Conflict, match="not empty"):
            await trainer(pf).export(Wanted(), tmp_path / "out", "me")
        again = await trainer(pf).export(Wanted(format="preference"), tmp_path / "out", "me", force=True)
        assert 0 < sum(again.rows.values()) <= 20  # the small model's mistakes alone
        (one, *_) = lines(tmp_path / "out", "train")
        assert (one["chosen"][0]["content"], one["rejected"][0]["content"]) == ("B", "A")


async def test_what_was_not_kept_is_not_exported(tmp_path: Path) -> None:
    """With records.content off there is nothing, and the error says why."""
    async with house(tmp_path / "home", content=False) as pf:
        await work(pf, 4)
        with pytest.raises(InvalidRequest, match="4 × content was not kept"):
            await trainer(pf).export(Wanted(), tmp_path / "out", "me")
        assert not (tmp_path / "out").exists()


async def test_secrets_are_removed_once_more(tmp_path: Path) -> None:
    """What has the shape of a key is gone from the record; what became known as one since is gone from the export."""
    async with house(tmp_path / "home") as pf:
        for state in ("use password: hunter2hunter2", "the word is swordfish99"):
            await pf.decisions.outcome(await pf.weigh("team", state, model="small"), "tech")
        await trainer(pf, "swordfish99").export(Wanted(format="decision"), tmp_path / "out", "me")
        text = "".join([file.read_text() for file in (tmp_path / "out").iterdir()])
        assert "hunter2" not in text
        assert "swordfish99" not in text
        assert text.count("[redacted]") >= 2


async def test_a_larger_model_teaches_and_its_labels_say_so(tmp_path: Path) -> None:
    """Its answers without an outcome become labels, in `train` only; what somebody said of an answer is left as it is."""
    async with house(tmp_path / "home") as pf:
        await work(pf, 20)
        for number in range(6):
            await pf.weigh("team", f"case {number} is broken", model="large")
            await pf.weigh("team", f"case {number} of the small one", model="small")
        cases, _ = await trainer(pf).gather(Wanted())
        assert {one.origin for one in cases} == {"observed"}
        wanted = Wanted(format="decision", teachers=("large",))
        cases, _ = await trainer(pf).gather(wanted)
        taught = [one for one in cases if one.origin == "model"]
        assert [(one.teacher, one.option) for one in taught] == [("large", 1)] * 6
        surer, _ = await trainer(pf).gather(Wanted(teachers=("large",), least_sure=0.99))
        assert {one.origin for one in surer} == {"observed"}
        await trainer(pf).export(wanted, tmp_path / "out", "me")
        assert "model" not in {row["origin"] for part in ("validation", "test") for row in lines(tmp_path / "out", part)}


async def test_the_choice_of_a_model_is_exported_too(tmp_path: Path) -> None:
    """Query, features, chosen and counterfactual models, complexity and outcome; as a chat it is a question about the query."""
    clock = FakeClock(auto=True)
    tree = scripted_config(["little", "large"], records={"content": True})
    env = {"PREFRONTAL_HOME": str(tmp_path / "home")}
    async with prefrontal.open(tree, transport=ScriptedTransport(clock=clock), clock=clock, env=env) as pf:
        for number in range(6):
            reply = await pf.chat(f"Explain the proof number {number} in detail.", model="auto")
            better = "large" if reply.record.model == "little" else "little"
            await pf.decisions.outcome(reply.record.id, model=better, reward=-0.5)
            await clock.advance(60)
        plain = await pf.chat("only rewarded", model="auto")
        await pf.decisions.outcome(plain.record.id, reward=-1.0)
        types = pf.decisions.types(pf.config.decisions)
        tool = Trainer(pf.outcomes, types, Redactor(), vault=pf.money.vault, clock=clock)
        done = await tool.export(Wanted(kind="router", format="decision"), tmp_path / "out", "me")
        assert done.skipped == {"the right answer is not known": 1}
        (row, *_) = lines(tmp_path / "out", "train")
        assert row["query"].startswith("Explain the proof")
        assert row["features"]["task_type"]
        assert 0 <= row["complexity"] <= 1
        assert {one["model"] for one in row["counterfactual"]} | {row["chosen"]} == {"little", "large"}
        assert row["outcome"] == {"reward": -0.5, "better_model": row["answer"], "origin": "human"}
        assert row["answer"] != row["chosen"]
        await tool.export(Wanted(kind="router", format="preference"), tmp_path / "pairs", "me")
        (pair, *_) = lines(tmp_path / "pairs", "train")
        assert pair["chosen"] != pair["rejected"]


async def test_models_are_judged_on_an_export(tmp_path: Path) -> None:
    """The large model is right, the small one in half; order and calibration are told; a model that is none is an error."""
    async with house(tmp_path / "home") as pf:
        await work(pf, 24)
        for number in range(8):
            decision = await pf.weigh("urgent", f"{number} {'now' if number % 2 else 'later'}", model="small")
            await pf.decisions.outcome(decision, "high" if number % 2 else "low")
        await trainer(pf).export(Wanted(format="decision", share=0.5), tmp_path / "out", "me")
        files = [tmp_path / "out" / f"{part}.jsonl" for part in ("train", "validation", "test")]
        cases = read_cases(b"".join([file.read_bytes() for file in files]))
        large, small = await evaluate(pf, "large", cases), await evaluate(pf, "small", cases)
        assert large.action_accuracy == 1.0
        assert small.action_accuracy < 0.8
        assert large.priority_reasoning == 1.0
        assert large.calibration is not None
        assert large.calibration.accuracy == 1.0
        assert large.answered == 1.0
        with pytest.raises(UnknownModel):
            await evaluate(pf, "nobody", cases)
