"""The two client dialects: what each takes, what each refuses and where it says so, and what it answers."""

from __future__ import annotations

import json

import pytest

from prefrontal.contracts.decision import DecisionAnswer, DecisionResponse, Option, Question
from prefrontal.decisions.state import state_json, state_text
from prefrontal.decisions.wire.openai_client import parse_decisions, render_decisions
from prefrontal.decisions.wire.systemone_client import parse_systemone, render_systemone
from prefrontal.errors import InvalidRequest

REGISTERED = Question(kind="choice", instructions="Next?", options=(Option(value="go"), Option(value="stop")), type="next")
PIXEL = "iVBORw0KGgo="


def lookup(name: str) -> Question:
    if name != "next":
        raise InvalidRequest("no such type", param="x_type")
    return REGISTERED


def a(body: object) -> object:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_systemone(data, max_state_bytes=1000, lookup=lookup)


def b(body: object) -> object:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_decisions(data, max_state_bytes=1000, lookup=lookup)


def a_body(**more: object) -> dict:
    return {"model": "m", "state": "s", "questions": {"q": {"type": "noul", "instructions": "ok?"}}, **more}


def b_body(**more: object) -> dict:
    return {"model": "m", "input": "s", "questions": [{"type": "predicate", "instructions": "ok?"}], **more}


CHOICES = [{"value": "x"}, {"value": True, "description": "yes"}]


def test_systemone_reads_every_kind():
    """Choice from a map, score from a list, noul with criteria; keys become ids."""
    request = a(
        {
            "state": {"ticket": "twice"},
            "questions": {
                "route": {"type": "choice", "instructions": "Which?", "criteria": {"billing": "money", "tech": None}},
                "urgent": {"type": "score", "instructions": "How?", "criteria": ["later", "now"]},
                "refund": {"type": "noul", "criteria": {"true": "asks for money"}},
                "known": {"x_type": "next"},
            },
            "x_prefrontal": {"agent": "a1", "signals": {"load": 0.5}, "deadline_s": 2, "cache": False},
        }
    )
    assert request.model == "auto"
    assert request.state_kind == "json"
    route, urgent, refund, known = request.questions
    assert route.options == (Option(value="billing", description="money"), Option(value="tech"))
    assert (urgent.kind, urgent.values) == ("score", ("later", "now"))
    assert refund.kind == "yes_no"
    assert refund.options[0] == Option(value=True, description="asks for money")
    assert refund.instructions == "asks for money"
    assert (known.index, known.id, known.type, known.values) == (3, "known", "next", ("go", "stop"))
    assert request.context.agent == "a1"
    assert request.context.signals == {"load": 0.5}
    assert request.deadline_s == 2
    assert request.cache is False


def test_decisions_reads_every_kind_and_typed_values():
    """A value may be a boolean; names may be missing; parts are joined."""
    request = b(
        {
            "model": "m",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_json", "data": {"n": 1}}]},
                {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "found"},
            ],
            "questions": [
                {"type": "choice", "name": "pick", "instructions": "Which?", "choices": CHOICES},
                {"type": "score", "instructions": "How?", "levels": [{"label": "low"}, {"label": "high", "description": "very"}]},
                {"type": "predicate", "instructions": [{"type": "input_text", "text": "ok?"}]},
            ],
            "safety_identifier": "u",
        }
    )
    pick, how, ok = request.questions
    assert pick.values == ("x", True)
    assert pick.name == "pick"
    assert how.options[1] == Option(value="high", description="very")
    assert (ok.kind, ok.instructions, ok.id, ok.name) == ("yes_no", "ok?", "2", None)
    assert state_text(request) == 'user: hi\n{"n":1}\nassistant calls look: {}\ntool: found'
    assert state_json(request)[1] == {"role": "assistant", "content": "calls look: {}"}
    assert request.extra == {"safety_identifier": "u"}


def test_images_become_media_with_a_ref():
    """In both dialects, as data or by address."""
    url = f"data:image/png;base64,{PIXEL}"
    parts = [{"type": "input_image", "image_url": url}]
    request = b({"model": "m", "input": [{"role": "user", "content": parts}], "questions": b_body()["questions"]})
    assert request.media[0].image.data == PIXEL
    assert "[image-1]" in state_text(request)
    assert a(a_body(images=["https://h/x.png"])).media[0].image.url == "https://h/x.png"
    assert a(a_body(assets={"cat": {"format": "png", "data_base64": PIXEL}})).media[0].ref == "cat"


def many(count: int) -> dict:
    return {"type": "choice", "instructions": "?", "criteria": {f"o{n}": None for n in range(count)}}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (a_body(state=""), "state"),
        (a_body(state="  "), "state"),
        (a_body(state={}), "state"),
        (a_body(state=None), "state"),
        (a_body(state="x" * 1001), "state"),
        (a_body(questions={}), "questions"),
        (a_body(questions={f"q{n}": {"type": "noul", "instructions": "?"} for n in range(129)}), "questions"),
        (a_body(questions={"q": many(1)}), "questions.q.criteria"),
        (a_body(questions={"q": many(300)}), "questions.q.criteria"),
        (a_body(questions={"q": {"type": "score", "instructions": "?", "criteria": ["a", "a"]}}), "questions.q.criteria"),
        (a_body(questions={"q": {"type": "score", "instructions": "?", "criteria": ["a"]}}), "questions.q.criteria"),
        (
            a_body(questions={"q": {"type": "score", "instructions": "?", "criteria": list("abcdefghijk")}}),
            "questions.q.criteria",
        ),
        (a_body(questions={"q": {"type": "noul"}}), "questions.q.instructions"),
        (a_body(questions={"q": {"type": "rank", "instructions": "?"}}), "questions.q.type"),
        (a_body(questions={"q": {"type": "noul", "instructions": "?", "weight": 2}}), "questions.q.weight"),
        (a_body(questions={"q": {"x_type": "nope"}}), "x_type"),
        (a_body(stream=True), "stream"),
        (a_body(temperature=1), "temperature"),
        (a_body(x_prefrontal={"deadline_s": -1}), "x_prefrontal.deadline_s"),
        (a_body(x_prefrontal={"budget": -1}), "x_prefrontal"),
        (b'{"state":"s","questions":{"q":{"type":"choice","instructions":"?","criteria":{"x":null,"x":null}}}}', "questions"),
        (b'{"state":"\xff","questions":{}}', None),
        (b'{"state":NaN,"questions":{}}', None),
        (b"[]", None),
    ],
)
def test_systemone_refuses_what_makes_no_sense(body, where):
    """With status 422 and the path of the field, as the engines of this dialect do."""
    with pytest.raises(InvalidRequest) as refused:
        a(body)
    assert refused.value.status == 422
    assert refused.value.param == where


def pick(*choices: object) -> list:
    return [{"type": "choice", "instructions": "?", "choices": list(choices)}]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b_body(input=""), "input"),
        (b_body(input=[]), "input"),
        (b_body(input={"a": 1}), "input"),
        (b_body(input=[{"role": "robot", "content": "x"}]), "input[0].role"),
        (b_body(input=[{"type": "function_call_output", "call_id": "c", "output": "x"}]), "input[0].call_id"),
        (b_body(input=[{"role": "user", "content": [{"type": "input_audio"}]}]), "input[0].content[0].type"),
        (
            b_body(input=[{"role": "user", "content": [{"type": "input_image", "image_url": "ftp://x"}]}]),
            "input[0].content[0].image_url",
        ),
        (b_body(questions=[]), "questions"),
        (b_body(questions=[{"type": "predicate", "instructions": "?"}] * 129), "questions"),
        (b_body(questions=[{"type": "predicate", "instructions": " "}]), "questions[0].instructions"),
        (b_body(questions=pick({"value": "x"})), "questions[0].choices"),
        (b_body(questions=pick({"value": "x"}, {"value": "x"})), "questions[0].choices"),
        (b_body(questions=pick({"value": "x"}, {"value": ""})), "questions[0].choices"),
        (b_body(questions=pick({"value": "x"}, {"value": 1})), "questions[0].choices[1].value"),
        (b_body(questions=pick(*[{"value": f"o{n}"} for n in range(300)])), "questions[0].choices"),
        (b_body(questions=[{"type": "noul", "instructions": "?"}]), "questions[0].type"),
        (b_body(questions=[{"type": "predicate", "instructions": "?", "levels": []}]), "questions[0].levels"),
        (b_body(stream=True), "stream"),
        (b_body(tools=[]), "tools"),
        (b'{"input":"\xff"}', None),
    ],
)
def test_decisions_refuses_what_makes_no_sense(body, where):
    """With status 400 and the path of the field, as OpenAI's API does."""
    with pytest.raises(InvalidRequest) as refused:
        b(body)
    assert refused.value.status == 400
    assert refused.value.param == where


def test_a_body_of_the_other_dialect_is_told_where_to_go():
    """Both ways, with status 400: the paths are shared by several dialects, and nothing is guessed."""
    for parse, body, route in ((a, b_body(), "/v1/decisions"), (b, a_body(), "/v1/systemone")):
        with pytest.raises(InvalidRequest, match=route) as refused:
            parse(body)
        assert refused.value.status == 400


def test_true_and_the_word_true_are_two_options():
    """Values are typed."""
    assert b(b_body(questions=pick({"value": True}, {"value": "true"}))).questions[0].values == (True, "true")


def answer(kind: str, values: tuple, probabilities: tuple, **more: object) -> DecisionAnswer:
    chosen = values[probabilities.index(max(probabilities))]
    fields = {"index": 0, "id": "q", "name": "q", "confidence": 0.5, "source": "native", "chosen": chosen, **more}
    return DecisionAnswer(kind=kind, values=values, probabilities=probabilities, **fields)  # type: ignore[arg-type]


RESPONSE = DecisionResponse(
    model="m",
    answers=(
        answer("choice", ("x", True), (0.25, 0.75), id="pick", label_mass=0.9, cost_usd=0.001),
        answer("score", ("low", "high"), (0.4, 0.6), id="how", expectation=0.6, source="rule", fallback="timeout"),
        answer("yes_no", (True, False), (0.9, 0.1), id="ok", name=None, cached=True, tier=1),
    ),
)


def test_systemone_answers_as_its_engines_do():
    """Maps of probabilities, a legend, noul without confidence, and our own fields beside them."""
    told = json.loads(render_systemone(RESPONSE, {"trace": "t"}))
    pick_, how, ok = told["answers"].values()
    assert pick_["choice"] == "true"
    assert pick_["probabilities"] == {"x": 0.25, "true": 0.75}
    assert pick_["confidence"] == 0.5
    assert how == {
        "type": "score",
        "score": 0.6,
        "legend": {"0": "low", "1": "high"},
        "probabilities": {"0": 0.4, "1": 0.6},
        "confidence": 0.5,
        "x_source": "rule",
        "x_fallback": "timeout",
        "x_calibrator": None,
    }
    assert ok == {
        "type": "noul",
        "noul": 0.9,
        "x_source": "native",
        "x_confidence": 0.5,
        "x_tier": 1,
        "x_cached": True,
        "x_calibrator": None,
    }
    assert told["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert told["x_prefrontal"] == {"trace": "t"}


def test_decisions_answers_as_openai_does():
    """Lists of probabilities with typed values, in the order of the questions."""
    told = json.loads(render_decisions(RESPONSE, None))
    pick_, how, ok = told["answers"]
    assert pick_["choice"] is True
    assert pick_["probabilities"][1] == {"value": True, "probability": 0.75}
    assert pick_["x_label_mass"] == 0.9
    assert pick_["x_cost_usd"] == 0.001
    assert how["score"] == 0.6
    assert how["probabilities"][1] == {"value": 1, "label": "high", "probability": 0.6}
    assert (ok["type"], ok["name"], ok["probability"], ok["x_confidence"]) == ("predicate", None, 0.9, 0.5)
    assert "confidence" not in ok


def test_refusals_are_said_where_the_dialect_can():
    """OpenAI's has a class for them; the other leaves the question out, and is an error when nothing is left."""
    refused = answer("yes_no", (True, False), (0.5, 0.5), id="no", refusal=True)
    mixed = DecisionResponse(model="m", answers=(*RESPONSE.answers, refused))
    assert json.loads(render_decisions(mixed, None))["answers"][3]["type"] == "refusal"
    told = json.loads(render_systemone(mixed, None))
    assert told["x_refused"] == ["no"]
    assert "no" not in told["answers"]
    with pytest.raises(InvalidRequest):
        render_systemone(DecisionResponse(model="m", answers=(refused,)), None)
