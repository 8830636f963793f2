"""A question made ready: everything that is sent and everything that is accepted comes from its options."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest

from prefrontal.chat.request import Message, text_of
from prefrontal.contracts.decision import YES_NO, Example, Option, Question
from prefrontal.decisions.asks import orders
from prefrontal.decisions.prepared import CODES, Prepared, Read
from prefrontal.decisions.wording import load_wording, versions
from prefrontal.errors import ConfigError

V1 = load_wording("v1")


def prepared(*labels: str, examples: tuple[Example, ...] = (), kind: str = "choice") -> Prepared:
    """A question with these options."""
    options = tuple([Option(value=label) for label in labels])
    return Prepared(Question(kind=kind, instructions="Which team?", options=options), V1, examples)  # type: ignore[arg-type]


def said(messages: tuple[Message, ...]) -> list[str]:
    return [f"{message.role}: {text_of(message)}" for message in messages]


def test_changing_the_type_changes_prompt_examples_schema_grammar_and_validator():
    """One more option shows in all five, and nowhere is it written down twice."""
    shown = (Example(state="parcel lost", answer="shipping"),)
    before, after = prepared("billing", "shipping", examples=shown), prepared("tech", "billing", "shipping", examples=shown)
    old, new = said(before.messages("code", "s")), said(after.messages("code", "s"))
    assert "A) billing" in old[0]
    assert "A) tech" in new[0]
    assert "C) shipping" in new[0]
    assert old[2] == "assistant: B"
    assert new[2] == "assistant: C"
    assert before.schema("json")["properties"]["answer"]["enum"] == ["A", "B"]
    assert after.schema("json")["properties"]["answer"]["enum"] == ["A", "B", "C"]
    assert before.grammar == 'root ::= "A" | "B"'
    assert after.grammar == 'root ::= "A" | "B" | "C"'
    assert before.read("code", "C") is None
    assert after.read("code", "C") == Read(index=2)


@pytest.mark.parametrize("form", ["json", "stated"])
def test_the_answer_the_prompt_shows_fits_the_schema_and_the_validator(form):
    """What is asked for, what the schema demands and what is accepted are one."""
    question = prepared("billing", "shipping")
    told = question.answer(form, 1)
    assert jsonschema_rs.is_valid(question.schema(form), json.loads(told))
    read = question.read(form, told)
    assert read is not None
    assert read.index == 1
    assert question.answer(form, 0) in said(question.messages(form, "s"))[0]


@pytest.mark.parametrize(
    ("form", "text", "index"),
    [
        ("code", "B", 1),
        ("code", " b) ", 1),
        ("code", "Shipping.", 1),
        ("code", "B\nbecause it is lost", 1),
        ("code", "I think it is B", None),
        ("code", "Z", None),
        ("code", "", None),
        ("json", '{"answer":"B"}', 1),
        ("json", '```json\n{"answer": "B"}\n```', 1),
        ("json", '{"answer":"shipping"}', 1),
        ("json", '{"answer":"B","confidence":0.5}', None),
        ("json", '{"answer":"B","why":"x"}', None),
        ("json", '{"answer":1}', None),
        ("json", "The answer is B.", None),
        ("stated", '{"answer":"A","confidence":0.5}', 0),
        ("stated", '{"answer":"A","confidence":1.5}', None),
        ("stated", '{"answer":"A","confidence":true}', None),
        ("stated", '{"answer":"A"}', None),
    ],
)
def test_only_an_answer_in_the_form_asked_for_is_read(form, text, index):
    """Prose is no answer, and neither is half of one."""
    found = prepared("billing", "shipping").read(form, text)
    assert (None if found is None else found.index) == index


def test_a_shuffled_answer_means_the_option_that_was_shown_there():
    """Code A names the first option shown; words name their option wherever it stood."""
    question, order = prepared("a1", "b2", "c3"), (2, 0, 1)
    assert "A) c3" in said(question.messages("code", "s", order=order))[0]
    assert question.read("code", "A", order) == Read(index=2)
    assert question.read("json", '{"answer":"b2"}', order) == Read(index=1)


def test_votes_show_every_option_at_the_front_and_at_the_end():
    """Position bias cancels over the orders."""
    found = orders(prepared("a1", "b2", "c3", "d4"), 8)
    assert {order[0] for order in found} == {0, 1, 2, 3}
    assert {order[-1] for order in found} == {0, 1, 2, 3}
    assert all(sorted(order) == [0, 1, 2, 3] for order in found)


def test_braces_in_a_question_are_not_filled_in():
    """What a caller writes is material, not a template."""
    question = Question(kind="yes_no", instructions="Is {options} odd?", options=YES_NO)
    text = said(Prepared(question, V1).messages("code", "{ask}"))
    assert "Is {options} odd?" in text[0]
    assert text[-1] == "user: {ask}"


def test_reasons_are_shown_in_a_chain_of_thought_and_then_concluded():
    """The reasons of an example are shown, no letter is asked for yet, and the conclusion follows the model's own reasons."""
    question = prepared("billing", "tech", examples=(Example(state="s0", answer="tech", reason="It broke."),))
    asked = question.reasoning("s1")
    assert said(asked)[1:] == ["user: s0", "assistant: It broke.", "user: s1"]
    done = said(question.concluding(asked, "Charged twice.", "code"))
    assert done[-2] == "assistant: Charged twice."
    assert V1.ask.code in done[-1]


def test_more_options_than_codes_are_asked_in_groups():
    """The groups hold every option once and in order, and fit the codes."""
    labels = [f"option{n}" for n in range(100)]
    outer, inner = prepared(*labels).grouped(15)
    assert len(outer.codes) == 7
    assert [label for group in inner for label in group.labels] == labels
    assert all(len(group.codes) == len(group.labels) for group in inner)
    assert len(prepared(*labels).codes) == len(CODES)


def test_an_unknown_version_names_those_there_are():
    """Wordings are versions, and a wrong one is told."""
    assert "v1" in versions()
    with pytest.raises(ConfigError, match="unknown prompt version"):
        load_wording("v0")
