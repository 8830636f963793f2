"""Outcomes through the whole house: told, kept with their records, fitted, applied, handed out and deleted."""

from __future__ import annotations

import enum
import random
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.outcomes import OutcomeDraft
from prefrontal.app.privacy import Whose, privacy_of
from prefrontal.clock import Chance
from prefrontal.contracts.decision import DecisionRequest, Option, Question
from prefrontal.errors import Conflict, InvalidRequest, NotFound
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.machine.context import LIBRARY
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.decisions import Put, ScriptedDecisions
from prefrontal.testing.scripted import SCRIPTED_URL


class Team(enum.Enum):
    """Which team should take this ticket?"""  # noqa: D400 - a question

    BILLING = "billing"
    TECH = "tech"


def script(_put: Put) -> dict[str, float]:
    return {"billing": 0.97, "tech": 0.03, "yes": 0.9, "no": 0.1}


@asynccontextmanager
async def house(home: Path | None = None, **tree: Any) -> Any:
    clock = FakeClock(auto=True)
    config = {
        "models": {"m": {"profile": "llamacpp", "endpoint": SCRIPTED_URL}},
        "discovery": {"enabled": False},
        "decisions": {"types": {"team": {"instructions": "Which team?", "options": ["billing", "tech"]}}},
        **tree,
    }
    ledger = MemoryLedger() if home is None else None
    env = {} if home is None else {"PREFRONTAL_HOME": str(home)}
    engine = ScriptedDecisions(script, clock=clock)
    chance = Chance(11)  # ids decide which half a label is in
    async with prefrontal.open(config, transport=engine, clock=clock, chance=chance, ledger=ledger, env=env) as pf:
        yield pf


def question(index: int, name: str | None = None) -> Question:
    options = (Option(value="billing"), Option(value="tech"))
    return Question(index=index, id=str(index), name=name, kind="choice", instructions="Which?", options=options)


async def test_an_outcome_is_told_in_the_type_of_the_decision(tmp_path: Path) -> None:
    """A member of the Enum, the wire's value, an index, a yes: each becomes the index of the right option."""
    async with house(tmp_path) as pf:
        decision = await pf.weigh(Team, "charged twice", model="m")
        told = await pf.decisions.outcome(decision, Team.TECH)
        assert (told.option, told.origin, told.question) == (1, "human", 0)
        again = await pf.decisions.outcome(decision.record.id, option=0, origin="observed", reward=0.5)
        (kept,) = [one async for one in pf.outcomes.told()]
        assert kept[0] == again
        assert (kept[0].option, kept[0].reward, kept[1].id) == (0, 0.5, decision.record.id)
        yes = await pf.weigh(prefrontal.Ask[bool]("Is it?"), "s", model="m")
        assert (await pf.decisions.outcome(yes, False)).option == 1
        named = await pf.weigh("team", "s", model="m")
        assert (await pf.decisions.outcome(named.record.id, "tech")).option == 1


async def test_wrong_outcomes_are_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    """No such request, option, question; a reward out of range; several of one question; one bad of two."""
    async with house(tmp_path, records={"content": True}) as pf:
        request = DecisionRequest(model="m", state="s", questions=(question(0, "a"), question(1, "b")))
        record_id = (await pf.decide_all(request, LIBRARY)).record.id
        with pytest.raises(NotFound):
            await pf.outcomes.tell("req_none", [OutcomeDraft(option=0)])
        with pytest.raises(NotFound):
            await pf.outcomes.tell(record_id, [OutcomeDraft(option=0, question=0)], key_id="another")
        wrong = [
            OutcomeDraft(option=0),
            OutcomeDraft(option=2, question=0),
            OutcomeDraft(option=-1, question=0),
            OutcomeDraft(label="nobody", question=0),
            OutcomeDraft(label="billing", option=1, question=0),
            OutcomeDraft(question=7, option=0),
            OutcomeDraft(question="c", option=0),
            OutcomeDraft(question=0, reward=1.5),
            OutcomeDraft(question=0, reward=float("nan")),
            OutcomeDraft(question=0),
            OutcomeDraft(question=0, model="m", option=0),
        ]
        for draft in wrong:
            with pytest.raises(InvalidRequest):
                await pf.outcomes.tell(record_id, [OutcomeDraft(question="a", label="tech"), draft])
        with pytest.raises(InvalidRequest, match="same question"):
            await pf.outcomes.tell(record_id, [OutcomeDraft(question="a", option=0), OutcomeDraft(question=0, option=1)])
        assert [one async for one in pf.outcomes.told()] == []
        told = await pf.outcomes.tell(record_id, [OutcomeDraft(question="b", label="tech"), OutcomeDraft(question=0, option=0)])
        assert [(one.question, one.option) for one in told] == [(1, 1), (0, 0)]


async def test_words_that_were_not_kept_cannot_be_told() -> None:
    """Without content a question made for one request has no words in its record: the error says to give the index."""
    async with house() as pf:
        done = await pf.decide_all(DecisionRequest(model="m", state="s", questions=(question(0),)), LIBRARY)
        with pytest.raises(InvalidRequest) as refused:
            await pf.decisions.outcome(done.record.id, "tech")
        assert "`option`" in (refused.value.hint or "")
        assert (await pf.decisions.outcome(done.record.id, option=1)).option == 1


async def test_without_records_nothing_can_turn_out() -> None:
    """The error names the setting."""
    async with house(records={"enabled": False}) as pf:
        pf.outcomes.store = None
        with pytest.raises(Conflict, match="none are kept"):
            await pf.decisions.outcome("req_1", option=0)
        with pytest.raises(Conflict):
            await pf.outcomes.calibrate()


async def labelled(pf: Any, count: int, right: float, *, label: bool = True) -> None:
    """Decide so often, and say that the scripted answer was right in a share of the cases."""
    chance = random.Random(5)
    for number in range(count):
        decision = await pf.weigh("team", f"case {number}", model="m")
        if label:
            await pf.decisions.outcome(decision, "billing" if chance.random() < right else "tech")


async def test_calibrators_are_made_applied_and_retired(tmp_path: Path) -> None:
    """97 % sure and right in 70 %: from 200 labels on the next answers say about 70 %, and another process says so too."""
    async with house(tmp_path) as pf:
        await labelled(pf, 199, 0.7)
        found = await pf.outcomes.calibrate()
        assert found.made == ()
        assert found.fits[0].labelled == 199
        await labelled(pf, 1, 0.7)
        dry = await pf.outcomes.calibrate(dry_run=True)
        assert len(dry.made) == 1
        before = await pf.weigh("team", "another", model="m")
        assert (before.answer.calibrator, round(before.probabilities["billing"], 2)) == (None, 0.97)
        made = (await pf.outcomes.calibrate()).made[0]
        assert made.slot.model == "m"
        assert made.after.ece < made.before.ece
        after = await pf.weigh("team", "another", model="m")
        assert after.answer.calibrator == made.id
        assert after.probabilities["billing"] == pytest.approx(0.7, abs=0.12)
        assert after.answer.raw is not None
        assert round(after.answer.raw[0], 2) == 0.97
        await labelled(pf, 20, 0.7)  # labels of calibrated answers are fitted as they came, so nothing is applied twice
        assert (await pf.outcomes.calibrate()).fits[0].temperature == pytest.approx(made.temperature, rel=0.4)
    async with house(tmp_path) as pf:
        assert (await pf.weigh("team", "again", model="m")).answer.calibrator is not None
        ids = {one.id for one in await pf.outcomes.store.calibrators() if one.active}
        async for outcome, _ in pf.outcomes.told():  # it turns out that all was well
            await pf.decisions.outcome(outcome.record_id, "billing")
        ended = await pf.outcomes.calibrate()
        left = {one.id for one in await pf.outcomes.store.calibrators() if one.active}
        assert left != ids
        assert ended.made or ended.retired


async def test_a_running_gateway_takes_up_what_a_command_made(tmp_path: Path) -> None:
    """Within a minute, and the cache does not give answers from before."""
    types = {"team": {"instructions": "Which team?", "options": ["billing", "tech"]}}
    async with house(tmp_path, decisions={"types": types, "cache": {"mode": "all"}}) as pf, house(tmp_path) as command:
        await labelled(pf, 220, 0.6)
        first = (await pf.weigh("team", "case 0", model="m")).answer
        assert (first.cached, first.calibrator) == (True, None)
        await pf.ledger.flush()
        await command.outcomes.calibrate()
        await pf.clock.advance(61)
        second = (await pf.weigh("team", "case 0", model="m")).answer
        assert (second.cached, second.calibrator is None) == (False, False)
        third = (await pf.weigh("team", "case 0", model="m")).answer
        assert (third.cached, third.calibrator, third.raw) == (True, second.calibrator, second.raw)


async def test_what_a_model_says_is_no_truth() -> None:
    """Labels of origin ``model`` are kept and not fitted to."""
    async with house() as pf:
        decision = await pf.weigh("team", "x", model="m")
        await pf.decisions.outcome(decision, "tech", origin="model")
        assert (await pf.outcomes.calibrate()).fits == ()


async def test_outcomes_are_handed_out_and_deleted_with_their_person(tmp_path: Path) -> None:
    """`export` and `erase` of a user find them; those of others stay; nothing is left when the record goes."""
    async with house(tmp_path) as pf:
        ids = {}
        for user in ("ann@example.org", "ben@example.org"):
            request = DecisionRequest(model="m", state="s", questions=(question(0),), metadata={"user_id": user})
            done = await pf.decide_all(request, LIBRARY)
            ids[user] = done.record.id
            await pf.decisions.outcome(done.record.id, option=1)
        lines = [line async for line in privacy_of(pf).export(Whose(user="ann@example.org"), "me")]
        assert [(line["kind"], line.get("option")) for line in lines] == [("record", None), ("outcome", 1)]
        await privacy_of(pf).erase(Whose(user="ann@example.org"), "me")
        assert [one.record_id for one, _ in [pair async for pair in pf.outcomes.told()]] == [ids["ben@example.org"]]
        assert await pf.outcomes.store.of([ids["ann@example.org"]]) == []
