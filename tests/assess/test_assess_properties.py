"""Whatever text arrives, an assessment comes out, and its values lie in their ranges."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefrontal.assess.assessor import assess
from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.contracts.assessment import TASK_TYPES

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=400)


def check(found):
    assert found.task_type in TASK_TYPES
    assert 0.0 <= found.complexity <= 1.0
    assert 0.0 <= found.confidence <= 1.0
    assert found.origin == "rules"
    assert found.needs.context_tokens >= found.needs.input_tokens >= 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), anything), max_size=4))
def test_any_conversation_is_assessed(rules, turns):
    """No text, role order or number of messages makes the assessment raise."""
    messages = tuple(Message(role=role, blocks=(Text(text=text),)) for role, text in turns)
    request = ChatRequest(model="auto", messages=messages)
    found = assess(request, input_tokens=10, rules=rules)
    check(found)
    assert assess(request, input_tokens=10, rules=rules) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n" * 5_000,
        "\x00" * 50,
        "\ud800\udfff",
        "🎉" * 3_000,
        "?" * 9_000,
        "A. " * 2_000,
        ":" * 9_000,
        "\nA)\nB)\nC)",
        "Options:\n",
        *("$" * 5_000, "(" * 5_000, "`" * 5_001, "a" * 200_000, "\u202e\u0301\ufeff", "٣٤٥", "Ⅷ ½ ²", "=" * 5_000),
    ],
)
def test_odd_texts_are_assessed(read, text):
    """Empty, repeated, broken and unusual characters are all read."""
    check(read(text))
