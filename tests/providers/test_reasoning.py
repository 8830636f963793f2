"""Thinking is found in every shape engines give it, whole or cut into pieces."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.blocks import Opaque, Reasoning, Text
from prefrontal.contracts.model import ModelCard, ThinkingRange
from prefrontal.providers.profile import Profile
from prefrontal.providers.reasoning import Split, StreamReader, TagMode, TagSplitter, read_message, split_text, tag_mode

FENCE = "```html\n<think>x</think>\n```"
ANSWERS = [
    "<think>a b</think>c",
    "  <think>\n\na\n\n b \n</think>\n\n c d ",
    "[THINK]why[/THINK]because",
    "<think>\n\n</think>\n\nHello",
    "<think>never ends <",
    "<thin air>",
    "plain",
    "",
    " \n ",
    "<think>" + FENCE + "</think>ok </think> <think>",
    "See:\n" + FENCE,
    "<",
    "<think",
    "<think></think",
    "<think>a</thi</think>b",
]


def pieces(text: str, cuts: list[int]) -> list[str]:
    """The text, cut."""
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def stream(parts: list[str], mode: TagMode, *, truncated: bool = False) -> Split:
    """What a stream of `parts` says in the end."""
    splitter = TagSplitter(mode)
    found = [*[splitter.feed(part) for part in parts], splitter.finish(truncated=truncated)]
    return Split("".join([f.reasoning for f in found]), "".join([f.text for f in found]))


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        (ANSWERS[0], "a b", "c"),
        (ANSWERS[1], "a\n\n b", "c d "),
        (ANSWERS[2], "why", "because"),
        (ANSWERS[3], "", "Hello"),
        (ANSWERS[4], "never ends <", ""),
        (ANSWERS[5], "", "<thin air>"),
        (ANSWERS[9], "```html\n<think>x", "```</think>ok </think> <think>"),
        (ANSWERS[10], "", ANSWERS[10]),
    ],
)
def test_tags_at_the_start_are_taken_out(text: str, reasoning: str, answer: str) -> None:
    """Only tags at the very start count; white space around the thinking goes, everything else stays."""
    assert split_text(text, "opened") == Split(reasoning, answer)


@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 200), max_size=12), st.sampled_from(["off", "opened", "unopened"]))
def test_any_cut_of_a_stream_gives_the_same(text: str, cuts: list[int], mode: TagMode) -> None:
    """Wherever the pieces end, the result is that of one piece."""
    assert stream(pieces(text, cuts), mode) == stream([text], mode)


@given(st.text(alphabet="<>/thinkTHINK[] \na", max_size=40), st.lists(st.integers(0, 60), max_size=8))
def test_stream_and_whole_agree(text: str, cuts: list[int]) -> None:
    """A stream says what the whole answer says; only a closing tag alone is beyond it."""
    if "</think>" in text and not text.lstrip().startswith(("<think>", "[THINK]")):
        return
    assert stream(pieces(text, cuts), "opened") == split_text(text, "opened")


@given(st.text(alphabet="<>/think a\n", max_size=30), st.lists(st.integers(0, 60), max_size=8))
def test_a_closing_tag_alone_in_a_stream_of_a_model_that_always_thinks(before: str, cuts: list[int]) -> None:
    """In mode unopened a stream reads everything before the closing tag as thinking, as a whole answer is read in any mode."""
    text = "so: " + before.replace("</think>", "") + "</think>\nanswer"
    assert stream(pieces(text, cuts), "unopened") == Split(text.partition("</think>")[0].strip(), "answer")
    assert split_text(text, "opened") == split_text(text, "unopened") == Split(text.partition("</think>")[0].strip(), "answer")


def test_a_closing_tag_that_is_quoted_is_text() -> None:
    """A closing tag in a fence or in back-ticks does not make an answer thinking."""
    for text in ("```\n</think>\n```", "Write `</think>` at the end."):
        assert split_text(text, "opened") == Split("", text)


def test_a_stream_that_never_closes_shows_its_text() -> None:
    """In mode unopened an answer without thinking is not lost; cut by its cap, it was thinking."""
    assert stream(["just ", "text"], "unopened") == Split("just text", "just text")
    assert stream(["just ", "text"], "unopened", truncated=True) == Split("just text", "")
    assert split_text("just text", "unopened") == Split("", "just text")
    assert split_text("just text", "unopened", truncated=True) == Split("just text", "")


MESSAGES: list[tuple[dict[str, Any], str, str]] = [
    ({"reasoning_content": "r", "content": "c"}, "r", "reasoning_content"),
    ({"reasoning": "r", "content": "c"}, "r", "reasoning"),
    ({"reasoning": "r", "reasoning_content": "r", "content": "c"}, "r", "reasoning_content"),
    ({"thinking": "r", "content": "c"}, "r", "thinking"),
    ({"reasoning_details": [{"type": "reasoning.text", "text": "r"}], "content": "c"}, "r", "reasoning_details"),
    (
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}, {"type": "text", "text": "c"}]},
        "r",
        "content",
    ),
    ({"content": [{"type": "thinking", "thinking": "r"}, "c"]}, "r", "content"),
]


@pytest.mark.parametrize(("message", "text", "field"), MESSAGES)
def test_every_shape_gives_one_block_and_its_text(message: dict[str, Any], text: str, field: str) -> None:
    """Fields, details and content lists become one reasoning block that remembers its field."""
    reasoning, answer = read_message(message, "opened", "p")
    assert isinstance(reasoning, Reasoning)
    assert (reasoning.text, reasoning.field, reasoning.provider) == (text, field, "p")
    assert answer == Text(text="c")


@pytest.mark.parametrize(("message", "text", "_field"), MESSAGES)
def test_deltas_have_the_same_shapes(message: dict[str, Any], text: str, _field: str) -> None:
    """A delta is read like a message."""
    read = StreamReader("opened").read(message)
    assert (read.reasoning, read.text) == (text, "c")


def test_tags_are_text_once_a_field_carried_reasoning() -> None:
    """An engine that separates thinking itself may well answer with a tag."""
    reader = StreamReader("unopened")
    assert reader.read({"content": "\n"}).text == ""
    assert reader.read({"reasoning_content": "r"}).reasoning == "r"
    assert reader.read({"content": "<think>"}).text == "<think>"
    assert read_message({"reasoning": "r", "content": "<think>x</think>y"}, "opened", "p")[1] == Text(text="<think>x</think>y")


def test_details_and_unknown_parts_are_kept() -> None:
    """Opaque details (encrypted, signed) stay with the block; a content part of another kind stays whole."""
    details = [{"type": "reasoning.encrypted", "data": "xyz"}]
    reference = {"type": "reference", "reference_ids": [1]}
    blocks = read_message({"reasoning_details": details, "content": [reference]}, "opened", "p")
    assert blocks == [
        Reasoning(provider="p", field="reasoning_details", extra={"reasoning_details": details}),
        Opaque(dialect="openai", value=reference),
    ]


@pytest.mark.parametrize(
    ("setting", "always_on", "mode"),
    [("off", True, "off"), ("opened", True, "opened"), ("unopened", True, "unopened"), ("unopened", False, "opened")],
)
def test_a_closing_tag_alone_needs_engine_and_model(setting: Any, always_on: bool, mode: TagMode) -> None:
    """A stream is taken to begin inside the thinking only if the profile allows it and the model always thinks."""
    profile = Profile(title="t", wire="openai", provider="p", think_tags=setting)
    card = ModelCard(id="m", wire_name="m", profile="p", thinking=ThinkingRange(always_on=always_on))
    assert tag_mode(profile, card) == mode
    assert tag_mode(profile, None) in ("off", "opened")
