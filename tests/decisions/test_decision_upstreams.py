"""The three dialects towards upstreams, word for word, and what comes back."""

from __future__ import annotations

import pytest

from prefrontal.chat.blocks import Image
from prefrontal.contracts.decision import YES_NO, DecisionRequest, Media, Option, Question
from prefrontal.decisions.wire.upstream import UPSTREAMS
from prefrontal.errors import CapabilityMissing, ProviderMisbehaved

QUESTIONS = (
    Question(
        index=0, id="pick", kind="choice", instructions="Which?", options=(Option(value="x", description="dx"), Option(value="y"))
    ),
    Question(
        index=1,
        id="how",
        kind="score",
        instructions="How?",
        options=(Option(value="low"), Option(value="high", description="very")),
    ),
    Question(
        index=2, id="ok", kind="yes_no", instructions="Ok?", options=(Option(value=True, description="fine"), Option(value=False))
    ),
    Question(index=3, id="bare", kind="yes_no", instructions="Is it?", options=YES_NO),
)
REQUEST = DecisionRequest(
    state={"n": 1},
    state_kind="json",
    questions=QUESTIONS,
    media=(Media(ref="cat", image=Image(data="QQ==", media_type="image/png")),),
)

GOLDEN = {
    "systemone": {
        "model": "wire",
        "state": {"n": 1},
        "questions": {
            "pick": {"instructions": "Which?", "type": "choice", "criteria": {"x": "dx", "y": None}},
            "how": {"instructions": "How?", "type": "score", "criteria": ["low", "high: very"]},
            "ok": {"instructions": "Ok?", "type": "noul", "criteria": {"true": "fine", "false": None}},
            "bare": {"instructions": "Is it?", "type": "noul"},
        },
        "images": ["data:image/png;base64,QQ=="],
    },
    "openai": {
        "model": "wire",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_json", "data": {"n": 1}},
                    {"type": "input_text", "text": "cat"},
                    {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "auto"},
                ],
            }
        ],
        "questions": [
            {
                "instructions": "Which?",
                "name": "pick",
                "choices": [{"value": "x", "description": "dx"}, {"value": "y"}],
                "type": "choice",
            },
            {
                "instructions": "How?",
                "name": "how",
                "levels": [{"label": "low"}, {"label": "high", "description": "very"}],
                "type": "score",
            },
            {"instructions": "Ok?\nTrue means: fine", "name": "ok", "type": "predicate"},
            {"instructions": "Is it?", "name": "bare", "type": "predicate"},
        ],
    },
    "sglang": {
        "model": "wire",
        "input": '{"n":1}',
        "questions": [
            {
                "id": "pick",
                "type": "choice",
                "question": "Which?",
                "options": [{"name": "x", "description": "dx"}, {"name": "y", "description": ""}],
            },
            {"id": "how", "type": "score", "question": "How?", "levels": ["low", "high: very"]},
            {"id": "ok", "type": "yes_no", "question": "Ok?", "yes": "fine", "no": ""},
            {"id": "bare", "type": "yes_no", "question": "Is it?"},
        ],
        "images": [{"url": "data:image/png;base64,QQ=="}],
    },
}

ANSWERS = {
    "systemone": {
        "answers": {
            "pick": {
                "type": "choice",
                "choice": "y",
                "probabilities": {"x": 0.2, "y": 0.8},
                "confidence": 0.6,
                "x_label_mass": 0.97,
            },
            "how": {
                "type": "score",
                "score": 0.3,
                "legend": ["low", "high"],
                "probabilities": {"0": 0.7, "1": 0.3},
                "confidence": 0.4,
            },
            "ok": {"type": "noul", "noul": 0.9},
        },
        "usage": {"input_tokens": 7, "output_tokens": 0},
    },
    "openai": {
        "answers": [
            {
                "type": "choice",
                "choice": "y",
                "confidence": 0.6,
                "probabilities": [{"value": "y", "probability": 0.8}, {"value": "x", "probability": 0.2}],
            },
            {
                "type": "score",
                "score": 0.3,
                "confidence": 0.4,
                "probabilities": [
                    {"value": 0, "label": "low", "probability": 0.7},
                    {"value": 1, "label": "high", "probability": 0.3},
                ],
            },
            {"type": "predicate", "probability": 0.9},
            {"type": "refusal", "name": "bare"},
        ],
        "usage": {"input_tokens": 7, "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 1}, "output_tokens": 0},
    },
    "sglang": {
        "object": "decisions",
        "answers": {
            "pick": {"type": "choice", "choice": "y", "probabilities": {"x": 0.2, "y": 0.8}, "label_mass": 0.97},
            "how": {"type": "score", "score": 0.3, "probabilities": {"0": 0.7, "1": 0.3}, "label_mass": 0.5},
            "ok": {"type": "yes_no", "probabilities": {"yes": 0.9, "no": 0.1}, "label_mass": 1.0},
        },
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    },
}


@pytest.mark.parametrize("dialect", list(GOLDEN))
def test_a_request_is_written_as_the_dialect_has_it(dialect):
    """Every kind of question, with descriptions and an image."""
    assert UPSTREAMS[dialect].render(REQUEST, QUESTIONS, "wire") == GOLDEN[dialect]


@pytest.mark.parametrize("dialect", list(ANSWERS))
def test_an_answer_is_read_in_the_order_of_the_questions(dialect):
    """Distributions by option, whatever order they came in; a question left out or refused is known as that."""
    readings, usage = UPSTREAMS[dialect].parse(ANSWERS[dialect], QUESTIONS)
    pick, how, ok, bare = readings
    assert pick is not None
    assert pick.probabilities == pytest.approx((0.2, 0.8))
    assert how is not None
    assert how.probabilities == pytest.approx((0.7, 0.3))
    assert ok is not None
    assert ok.probabilities == pytest.approx((0.9, 0.1))
    assert usage is not None
    assert usage.input_tokens == 7
    assert usage.source == "reported"
    if dialect == "openai":
        assert bare is not None
        assert bare.refusal
        assert usage.cache_read_tokens == 3
        assert pick.upstream_confidence == 0.6
    else:
        assert bare is None
        assert pick.label_mass == 0.97


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        ("systemone", {"pick": {"probabilities": {"x": "NaN", "y": 0.8}}}),
        ("systemone", {"pick": {"probabilities": {"x": 0.2}}}),
        ("systemone", {"pick": {"probabilities": {"x": -0.2, "y": 1.2}}}),
        ("systemone", {"ok": {"noul": 1.5}}),
        ("systemone", {"ok": "yes, surely"}),
        ("systemone", "prose"),
        ("sglang", {"pick": {"probabilities": {"x": 0.0, "y": 0.0}}}),
        ("openai", []),
        ("openai", [{"type": "choice", "probabilities": []}, {}, {}, {}]),
    ],
)
def test_what_is_no_distribution_is_the_upstreams_fault(dialect, answer):
    """Missing options, numbers that are none, prose."""
    with pytest.raises(ProviderMisbehaved):
        UPSTREAMS[dialect].parse({"answers": answer}, QUESTIONS)


def test_what_a_dialect_cannot_say_is_left_to_the_next_rung():
    """The option true and the word 'true' are one key in System One."""
    question = Question(kind="choice", instructions="?", options=(Option(value=True), Option(value="true")))
    with pytest.raises(CapabilityMissing):
        UPSTREAMS["systemone"].render(REQUEST, (question,), "wire")
    assert UPSTREAMS["openai"].render(REQUEST, (question,), "wire")["questions"][0]["choices"] == [
        {"value": True},
        {"value": "true"},
    ]


def test_openai_fields_go_on_to_openai_only():
    """The SDK's caching fields mean something to that dialect alone."""
    request = DecisionRequest(state="s", questions=QUESTIONS[:1], dialect="openai", extra={"safety_identifier": "u"})
    assert UPSTREAMS["openai"].render(request, QUESTIONS[:1], "m")["safety_identifier"] == "u"
    assert "safety_identifier" not in UPSTREAMS["systemone"].render(request, QUESTIONS[:1], "m")
