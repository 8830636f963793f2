"""Cases out of records: merged by trust, split by agent and time without leaks, written as trainers read them, judged by hand."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefrontal.contracts.decision import Option, Question
from prefrontal.contracts.outcome import Slot
from prefrontal.decisions.calibration import Labelled, fit_slot
from prefrontal.decisions.prepared import Prepared
from prefrontal.decisions.reliability import diagram, report_page
from prefrontal.decisions.training.card import Export, data_card
from prefrontal.decisions.training.cases import Case, merged
from prefrontal.decisions.training.judged import Trial, concordance, read_cases, report_of, table, terms_in
from prefrontal.decisions.training.rows import line_of, row_of
from prefrontal.decisions.training.split import split
from prefrontal.decisions.training.synthetic import accepted_cases, numbers_in, read_lines, reviewed, written
from prefrontal.decisions.wording import load_wording
from prefrontal.errors import InvalidRequest

TEAM = Question(
    kind="choice",
    instructions="Which team?",
    options=(Option(value="billing", description="money"), Option(value="tech")),
    type="team",
    name="team",
)
LEVEL = Question(kind="score", instructions="How urgent?", options=tuple([Option(value=name) for name in ("low", "mid", "high")]))


def case(number: int, **fields: Any) -> Case:
    known = {"question": TEAM, "state": f"state {number}", "option": number % 2, "origin": "human", "record_id": f"r{number}"}
    return Case(**{**known, "at_s": float(number), "group": f"agent {number % 7}", **fields})


def prepare(question: Question) -> Prepared:
    return Prepared(question, load_wording())


# -- merging -------------------------------------------------------------------------------------------------------------


def test_the_most_trusted_label_stands_then_the_newest() -> None:
    """A person over what happened over a model over what was made up; spaces do not make a state another."""
    several = [
        case(1, state="a  b", origin="synthetic", option=0, at_s=9.0),
        case(2, state="a b", origin="model", option=0, at_s=8.0),
        case(3, state=" a b\n", origin="human", option=1, at_s=1.0),
        case(4, state="a b", origin="human", option=0, at_s=2.0),
        case(5, state="a c", origin="human", option=0),
    ]
    found = merged(several)
    assert [(one.record_id, one.option) for one in found.cases] == [("r4", 0), ("r5", 0)]
    assert (found.repeated, found.disputed) == (3, 1)


def test_of_two_models_for_one_query_the_better_rewarded_is_right() -> None:
    """Whatever came later, and the worse becomes the wrong answer of a preference."""
    route = msgspec.structs.replace(TEAM, instructions="Which model?")
    good = case(1, question=route, state="q", option=1, answered=1, reward=0.9, router={"chosen": "tech"})
    bad = case(2, question=route, state="q", option=0, answered=0, reward=0.1, router={"chosen": "billing"})
    for order in ([good, bad], [bad, good]):
        (one,) = merged(order).cases
        assert (one.option, one.answered) == (1, 0)


# -- splitting -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 120), st.integers(1, 9), st.sampled_from([0.1, 0.2, 0.5]))
def test_nothing_of_the_test_was_seen(seed: int, count: int, agents: int, share: float) -> None:
    """For any cases: no agent and no time is on both sides, no key is twice, and nobody is judged by a model's label."""
    chance = random.Random(seed)
    origins = ("human", "human", "human", "observed", "model", "synthetic")
    cases = [
        case(
            n,
            state=f"state {chance.randrange(count)}",
            group=f"agent {chance.randrange(agents)}",
            at_s=float(chance.randrange(50)),
            origin=chance.choice(origins),
        )
        for n in range(count)
    ]
    several = merged(cases)
    found = split(several.cases, share)
    train, validation, test = (found.parts[part] for part in ("train", "validation", "test"))
    learned = [one for one in train if one.origin != "synthetic"]
    if found.groups > 1:
        assert not {one.group for one in learned} & {one.group for one in test}
    late = [one.at_s for one in (*validation, *test)]
    if learned and late:
        assert max(one.at_s for one in learned) < min(late)
    assert {one.origin for one in (*validation, *test)} <= {"human", "observed"}
    keys = [one.key for one in (*train, *validation, *test)]
    assert len(keys) == len(set(keys))
    assert len(keys) + sum(found.left_out.values()) == len(several.cases)


def test_one_agent_is_split_by_time_alone() -> None:
    """Later cases judge; with several agents some of them are new, and validation has the others' later cases."""
    alone = split([case(n, group="one") for n in range(10)])
    assert [one.at_s for one in alone.parts["test"]] == [8.0, 9.0]
    assert alone.parts["validation"] == ()
    many = split([case(n) for n in range(70)])
    assert many.test_groups == 1
    assert len({one.group for one in many.parts["test"]}) == 1
    assert len({one.group for one in many.parts["validation"]}) == 6
    assert split([]).cut_s is None


# -- lines ---------------------------------------------------------------------------------------------------------------


def test_a_chat_is_the_prompt_that_will_be_asked() -> None:
    """System, state and the code of the right option; in JSON where that is wanted; other options change it."""
    row = row_of(case(1, state="it is broken"), "chat", prepare)
    assert row is not None
    asked = prepare(TEAM).messages("code", "it is broken")
    assert [turn["content"] for turn in row["messages"][:-1]] == [message.blocks[0].text for message in asked]  # type: ignore[union-attr]  # texts
    assert row["messages"][-1] == {"role": "assistant", "content": "B"}
    in_json = row_of(case(1), "chat", prepare, "json")
    assert in_json is not None
    assert in_json["messages"][-1]["content"] == '{"answer":"B"}'
    assert row_of(case(0), "chat", prepare)["messages"][-1]["content"] == "A"  # type: ignore[index]  # there is one


def test_a_preference_needs_a_mistake() -> None:
    """Chosen is the right answer, rejected what the model said; without a mistake there is no line."""
    row = row_of(case(1, answered=0), "preference", prepare)
    assert row is not None
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("B", "A")
    assert row_of(case(1, answered=1), "preference", prepare) is None
    assert row_of(case(1), "preference", prepare) is None


def test_a_decision_comes_back_as_the_case_it_was() -> None:
    """What `export --format decision` writes `evaluate` reads; whose it is stays out of the file."""
    whole = case(1, terms=("invoice",), answered=0, model="m", group="ann@example.org")
    line = line_of(row_of(whole, "decision", prepare) or {})
    assert b"ann@example.org" not in line
    (back,) = read_cases(line)
    assert (back.question.options, back.state, back.option, back.terms) == (TEAM.options, "state 1", 1, ("invoice",))
    for wrong in (b"[]", b"{}", b'{"kind":"choice","options":[{"value":"a"}],"state":"s","answer":"a"}', b'{"answer":1}'):
        with pytest.raises(InvalidRequest, match="Line 1"):
            read_cases(wrong)


def test_the_card_says_what_is_in_it() -> None:
    """Counts by type, by who says so, what was left out, and what it is not; it changes with the cases."""
    cases = [*[case(n) for n in range(30)], case(40, origin="synthetic", teacher="large", group="", at_s=0.0)]
    parts = split(cases)
    export = Export(
        kind="decision",
        format="chat",
        made_s=1_700_000_000.0,
        version="9",
        rows={"train": 20},
        skipped={"content was not kept": 4},
        repeated=3,
        disputed=2,
        synthetic=True,
    )
    card = data_card(export, parts)
    for said in ("| team | ", "made up by a model, accepted by a person (large) | 1 |", "4 × content was not kept", "2023-11-14"):
        assert said in card
    assert "agent 1" not in card
    assert data_card(export, split(cases[:10])) != card


# -- synthetic -----------------------------------------------------------------------------------------------------------


def test_nothing_made_up_is_used_before_a_person_accepted_it() -> None:
    """Open lines are refused by number, rejected ones left out, accepted ones marked."""
    first = b'{"type":"team","state":{"n":1},"answer":"tech","teacher":"large"}'
    lines = read_lines(first + b'\n\n{"type":"team","state":"s","answer":"billing"}\n')
    with pytest.raises(InvalidRequest, match="2 of 2"):
        accepted_cases(lines, lambda _name: TEAM)
    half = reviewed(lines, [1], "accepted", "ann", 5.0)
    with pytest.raises(InvalidRequest, match="line 2"):
        accepted_cases(half, lambda _name: TEAM)
    whole = read_lines(written(reviewed(half, [2], "rejected", "ann", 6.0)))
    (one,) = accepted_cases(whole, lambda _name: TEAM)
    assert (one.origin, one.teacher, one.option, one.state) == ("synthetic", "large", 1, '{"n":1}')
    odd = b'{"type":"t","state":"s","answer":"x","review":{"verdict":"accepted","by":"a","at_s":1}}'
    with pytest.raises(InvalidRequest, match="none of the options"):
        accepted_cases(read_lines(odd), lambda _name: TEAM)
    with pytest.raises(InvalidRequest, match="Line 1"):
        read_lines(b'{"type":"t"}')
    with pytest.raises(InvalidRequest):
        reviewed(lines, [3], "accepted", "ann", 5.0)


def test_lines_are_named_in_ranges() -> None:
    """Single ones, ranges, all that are open; nonsense is refused."""
    assert numbers_in("1, 3-5", 5, open_ones=[]) == [1, 3, 4, 5]
    assert numbers_in("all", 5, open_ones=[2, 4]) == [2, 4]
    for wrong in ("x", "0", "6", "4-2", "1-", ""):
        with pytest.raises(InvalidRequest):
            numbers_in(wrong, 5, open_ones=[])


# -- judging -------------------------------------------------------------------------------------------------------------


def trial(level: int, expectation: float | None, **fields: Any) -> Trial:
    return Trial(case=case(0, question=LEVEL, option=level), answered=level, expectation=expectation, **fields)


def test_priority_is_the_order_of_pairs() -> None:
    """Right pairs count one, ties a half, pairs of the same level nothing; without pairs there is no figure."""
    assert concordance([trial(0, 0.1), trial(1, 0.9), trial(2, 1.5)]) == 1.0
    assert concordance([trial(0, 1.0), trial(2, 1.0)]) == 0.5
    assert concordance([trial(0, 1.0), trial(1, 0.5), trial(2, 1.5)]) == pytest.approx(2 / 3)
    assert concordance([trial(1, 1.0), trial(1, 0.5)]) is None
    assert concordance([trial(0, None), trial(1, None)]) is None


def test_a_report_is_counted_by_hand() -> None:
    """A rule's answer is a wrong one; forms and terms count where they were looked at; the difference stands beside."""
    trials = [
        Trial(case=case(0), answered=0, probabilities=(0.8, 0.2), form=True),
        Trial(case=case(1), answered=0, probabilities=(0.6, 0.4), form=False),
        Trial(case=case(2), answered=None, form=True),
        Trial(case=case(3, terms=("invoice", "dunning letter")), answered=1, probabilities=(0.1, 0.9), form=True, terms_found=1),
    ]
    found = report_of("m", trials)
    assert (found.action_accuracy, found.answered, found.format_compliance, found.terminology) == (0.5, 0.75, 0.75, 0.5)
    assert found.priority_reasoning is None
    assert found.calibration is not None
    assert found.calibration.count == 3
    rows = {row[0]: row[1:] for row in table([found, report_of("n", trials[:1])])}
    assert rows["action accuracy"] == ("50.0%", "100.0%", "+50.0%")
    assert rows["terminology"][2] == "–"
    with pytest.raises(InvalidRequest):
        report_of("m", [])


def test_terms_are_whole_words() -> None:
    """Whatever their case; a part of a word is none."""
    assert terms_in("The Invoice needs a dunning letter.", ("invoice", "dunning letter", "voice")) == 2


# -- the report of a calibration -----------------------------------------------------------------------------------------


def test_the_diagram_is_drawn_from_the_bins() -> None:
    """A bar and a dot for each bin; the page names every slot, escapes it, and says why nothing was kept."""
    slot = Slot(model="m", kind="choice", bucket="2", source="votes")
    chance = random.Random(1)
    stated = enumerate([0.97, 0.8] * 300)
    told = [Labelled(probabilities=(p, 1 - p), option=int(chance.random() > 0.6), key=f"r{n}") for n, p in stated]
    fit = fit_slot(slot, told)
    picture = diagram(fit.bins_before, "a < b")
    assert picture.count("<circle") == len(fit.bins_before)
    assert "a &lt; b" in picture
    assert diagram(fit.bins_after, "a") != picture
    few = fit_slot(msgspec.structs.replace(slot, model="<x>"), told[:30])
    page = report_page([fit, few], ["cal_1"])
    assert page.count("<svg") == 2
    assert "&lt;x&gt;" in page
    assert "200 are needed" in page
    assert "<script" not in page
