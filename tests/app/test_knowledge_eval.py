"""The harness that measures what passages gain, with models whose scores can be worked out by hand."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import prefrontal
from prefrontal.app.knowledge_eval import Quiz, evaluate, read_quiz
from prefrontal.app.library import Prefrontal
from prefrontal.clock import SystemClock
from prefrontal.errors import InvalidRequest, NotFound
from prefrontal.knowledge.ingest.run import ingest_documents
from prefrontal.knowledge.store.engram import create
from prefrontal.testing.answers import Answer
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.faults import Fault
from prefrontal.testing.scripted import ScriptedTransport, scripted_config

FACTS = {
    "p1": b"The harbour of Velm was opened by Ada Lorn in 1871.",
    "p2": b"The lighthouse at Cape Orso burns seal oil and is tended by Per Skau.",
    "p3": b"The bakery in Tolm street sells rye bread made by Inga Holt.",
    "p4": b"The observatory on Mount Brand was built by the brothers Keene.",
    "d1": b"A harbour is where ships lie, and a lighthouse shows them the way to it.",
    "d2": b"A bakery needs flour, and an observatory a dark night.",
    **{f"x{n}": f"Page {n} of the ledger lists {n} barrels, ropes and sails.".encode() for n in range(6)},
}
QUIZZES = [
    Quiz(id="1", question="Who opened the harbour of Velm?", answers=("Ada Lorn",), passage_id="p1"),
    Quiz(id="2", question="Who tends the lighthouse at Cape Orso?", answers=("Per Skau",), passage_id="p2"),
    Quiz(id="3", question="Who makes the rye bread of the bakery in Tolm street?", answers=("Inga Holt",), passage_id="p3"),
    Quiz(id="4", question="Who built the observatory on Mount Brand?", answers=("the brothers Keene", "Keene"), passage_id="p4"),
    Quiz(id="5", question="Who wrote the opera about the comet?"),
]
NAMES = re.compile(r"Ada Lorn|Per Skau|Inga Holt|brothers Keene")


def reader(request: Any) -> Answer:
    """Reads a name out of the passages; closed book it knows the first and half of the second; else it says so, or guesses."""
    text = request.json["messages"][-1]["content"]
    found = NAMES.search(text) if "<passage number=" in text else None
    if found:
        return Answer(text=f"{found.group()} [1]")
    question = text.rsplit("\n", 1)[-1]
    if "harbour" in question:
        return Answer(text="Ada Lorn.")
    if "lighthouse" in question:
        return Answer(text="Per Olsen")
    return Answer(text="Barrels" if "<passage number=" in text else "unknown")


@pytest.fixture
async def pf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Prefrontal]:
    """A scripted reader and an engram of four facts among others."""
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    create(tmp_path / "engrams/facts.engram", clock=FakeClock())
    ingest_documents(tmp_path / "engrams/facts.engram", FACTS, clock=FakeClock())
    clock = SystemClock()
    transport = ScriptedTransport(reader, clock=clock)
    env = {"PREFRONTAL_HOME": str(tmp_path)}
    config = scripted_config(["reader"], knowledge={"threshold": 0.5})
    async with prefrontal.open(config, env=env, transport=transport, clock=clock) as opened:
        opened.script = transport  # type: ignore[attr-defined]  # for tests that change what it says
        yield opened


async def test_the_arithmetic_of_the_arms(pf: Prefrontal) -> None:
    """Each figure below is counted by hand from what the reader says."""
    found = await evaluate(pf, "facts", QUIZZES, model="reader")
    closed, context, distractor, unanswerable = found.arms
    # closed: right, half right ("Per Olsen": 1 of 2 words each way), unknown, unknown
    assert (closed.questions, closed.exact, closed.f1, closed.abstained) == (4, 0.25, 0.375, 0.5)
    assert (closed.withheld, closed.errors) == (1.0, 0)
    # context: all right; "brothers Keene" is "the brothers Keene" without its article
    assert (context.questions, context.exact, context.f1, context.abstained, context.withheld) == (4, 1.0, 1.0, 0.0, 0.0)
    # distractor: wrong passages do not shake what it knows of the harbour and the lighthouse; otherwise it guesses
    assert (distractor.questions, distractor.exact, distractor.f1, distractor.abstained) == (4, 0.25, 0.375, 0.0)
    assert (distractor.withheld, distractor.leaked) == (0.0, 0)
    # unanswerable: all five, the four without their passages: nothing is put in, so it knows two and says so of three
    assert (unanswerable.questions, unanswerable.withheld, unanswerable.abstained) == (5, 1.0, 0.6)
    gain = found.gains["context"]
    assert (gain["exact"].mean, gain["f1"].mean) == (0.75, 0.625)
    assert 0.0 <= gain["exact"].low <= 0.75 <= gain["exact"].high <= 1.0
    assert found.gains["distractor"]["exact"].mean == 0.0


async def test_the_question_is_the_same_in_every_arm(pf: Prefrontal) -> None:
    """Arms differ by the passages alone: same system words, same question, same cap; the answer's passage is left out."""
    await evaluate(pf, "facts", QUIZZES[:1], model="reader")
    bodies = [request.json for request in pf.script.requests]  # type: ignore[attr-defined]
    assert len(bodies) == 4
    assert len({body["messages"][0]["content"] for body in bodies}) == 1
    assert all(body["messages"][-1]["content"].endswith(QUIZZES[0].question) for body in bodies)
    held = ["Ada Lorn" in body["messages"][-1]["content"] for body in bodies]
    assert sum(held) == 1
    framed = ["<passage number=" in body["messages"][-1]["content"] for body in bodies]
    assert sum(framed) == 2


async def test_failures_score_nothing_and_are_counted(pf: Prefrontal) -> None:
    """A model that breaks does not end the run."""
    pf.script.script = lambda _request: Fault(kind="status", status=400)  # type: ignore[attr-defined]
    found = await evaluate(pf, "facts", QUIZZES[:2], model="reader", arms=("closed", "context"))
    assert [(arm.exact, arm.errors) for arm in found.arms] == [(0.0, 2), (0.0, 2)]
    assert found.gains["context"]["f1"].mean == 0.0


async def test_a_leak_is_counted(pf: Prefrontal, tmp_path: Path) -> None:
    """Where another passage holds the answer, too, the arm says that it does not measure what it should."""
    more = {"copy": FACTS["p1"] + b" Everybody in Velm knows that."}
    ingest_documents(tmp_path / "engrams/facts.engram", more, clock=FakeClock())
    found = await evaluate(pf, "facts", QUIZZES[:1], model="reader", arms=("distractor", "unanswerable"))
    assert [arm.leaked for arm in found.arms] == [1, 1]


async def test_an_unknown_engram_ends_it_before_anything_is_asked(pf: Prefrontal) -> None:
    """Nobody pays for a typing error."""
    with pytest.raises(NotFound):
        await evaluate(pf, "fact", QUIZZES, model="reader")
    assert pf.script.requests == []  # type: ignore[attr-defined]


def test_a_file_of_questions(tmp_path: Path) -> None:
    """JSON lines as QED has them; a wrong line is named."""
    file = tmp_path / "qa.jsonl"
    first = b'{"_id": "1", "question": "q", "answers": ["a"], "passage_id": "p", "other": 1}'
    file.write_bytes(first + b'\n\n{"_id": "2", "question": "r"}\n')
    assert [msgspec.structs.astuple(one) for one in read_quiz(file)] == [("1", "q", ("a",), "p"), ("2", "r", (), None)]
    assert len(read_quiz(file, 1)) == 1
    file.write_bytes(b'{"_id": "1"}\n')
    with pytest.raises(InvalidRequest, match=":1 is no question"):
        read_quiz(file)
    with pytest.raises(NotFound):
        read_quiz(tmp_path / "missing")
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    with pytest.raises(InvalidRequest):
        read_quiz(tmp_path / "empty.jsonl")
