"""Token estimates: plausible by script, cheap on long texts, and self-correcting from reported usage."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.blocks import Audio, File, Image, Opaque, Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, Tool
from prefrontal.plan.tokens import (
    FACTOR_MAX,
    FACTOR_MIN,
    IMAGE_LOW_TOKENS,
    IMAGE_TOKENS,
    MESSAGE_TOKENS,
    NEUTRAL,
    SAMPLE_CHARS,
    Calibration,
    estimate_request,
    estimate_tokens,
)

PROSE = "The committee met on Tuesday to discuss the proposal, and after a long debate it was accepted without changes. "
CODE = "def total(rows):\n    return {row['id']: sum(row[k] for k in ('a', 'b')) for row in rows if row}\n"


def ask(*blocks: Any, **fields: Any) -> ChatRequest:
    """A request of one user message."""
    return ChatRequest(model="m", messages=(Message(role="user", blocks=blocks),), **fields)


def test_nothing_is_no_token_and_anything_at_least_one() -> None:
    """Only the empty text is free."""
    assert estimate_tokens("") == 0
    assert estimate_tokens("a") == 1


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        (PROSE * 10, 3.8, 5.0),  # characters a token
        (CODE * 10, 2.6, 3.8),
        ("委员会在星期二开会讨论了这项提案。" * 30, 1.0, 1.7),
        ("委員会は火曜日に提案について話し合った。" * 30, 1.0, 1.7),
        ("Комитет собрался во вторник и обсудил предложение. " * 20, 1.8, 3.0),
        ("Der Ausschuß prüfte die Anträge für die Übergangszeit gründlich. " * 15, 3.8, 5.0),
        ("31415926535897932384" * 30, 1.0, 3.0),
    ],
)
def test_the_ratio_fits_the_script(text: str, low: float, high: float) -> None:
    """Characters a token lie where today's vocabularies put them."""
    assert low <= len(text) / estimate_tokens(text) <= high


@pytest.mark.parametrize("text", [PROSE, CODE, "委员会开会讨论。", PROSE + CODE, PROSE + "会议讨论。" * 9])
def test_sampling_a_long_text_keeps_the_estimate(text: str) -> None:
    """Head, middle and tail stand for the whole within a tenth."""
    long = text * (100_000 // len(text))
    exact = sum(estimate_tokens(text) for _ in range(100_000 // len(text)))
    assert estimate_tokens(long) == pytest.approx(exact, rel=0.10)


@given(st.text(max_size=300), st.text(max_size=50))
def test_any_text_has_an_estimate_within_its_bytes(text: str, more: str) -> None:
    """Lone surrogates, control characters and emoji neither fail nor explode."""
    estimate = estimate_tokens(text + more)
    assert (estimate == 0) == (text + more == "")
    assert estimate <= len((text + more).encode("utf-8", "surrogatepass")) + 1


def test_lone_surrogates_are_counted() -> None:
    """JSON may carry half a pair."""
    assert estimate_tokens("\ud800" * 10) > 0


def test_a_longer_text_is_never_estimated_shorter() -> None:
    """Also across the point where sampling begins."""
    lengths = [10, 100, 2 * SAMPLE_CHARS - 1, 2 * SAMPLE_CHARS, 2 * SAMPLE_CHARS + 1, 20_000, 200_000]
    estimates = [estimate_tokens((PROSE * 2_000)[:n]) for n in lengths]
    assert estimates == sorted(estimates)


@pytest.mark.parametrize("ratio", [0.6, 0.85, 1.0, 1.4, 2.2])
def test_twenty_reports_bring_the_error_below_five_percent(ratio: float) -> None:
    """A vocabulary that differs by a constant factor is learnt, with noisy reports."""
    calibration = NEUTRAL
    for i in range(20):
        text = PROSE * (3 + i % 5)
        noise = 1.0 + 0.04 * ((i * 7) % 5 - 2) / 2
        reported = round(estimate_tokens(text) * ratio * noise)
        calibration = calibration.update(estimate_tokens(text, calibration), reported)
    assert calibration.reports == 20
    assert estimate_tokens(PROSE * 4, calibration) == pytest.approx(estimate_tokens(PROSE * 4) * ratio, rel=0.05)


def test_a_model_that_changes_is_relearnt() -> None:
    """Twenty reports at another ratio outweigh a hundred old ones."""
    calibration = Calibration(factor=0.7, reports=100)
    for _ in range(20):
        calibration = calibration.update(estimate_tokens(PROSE, calibration), round(estimate_tokens(PROSE) * 1.3))
    assert calibration.factor == pytest.approx(1.3, rel=0.05)


@pytest.mark.parametrize(("estimated", "reported"), [(0, 10), (10, 0), (-1, 10), (10, -4)])
def test_a_report_without_numbers_teaches_nothing(estimated: int, reported: int) -> None:
    """Zero usage is no usage."""
    calibration = Calibration(factor=1.3, reports=4)
    assert calibration.update(estimated, reported) == calibration


def test_an_absurd_report_is_bounded() -> None:
    """One broken counter cannot spoil the estimates."""
    assert NEUTRAL.update(10, 1_000_000).factor == FACTOR_MAX
    assert NEUTRAL.update(1_000_000, 1).factor == FACTOR_MIN


def test_a_calibration_scales_the_whole_request() -> None:
    """Twice the tokens a character, twice the estimate."""
    request = ask(Text(text=PROSE * 20))
    assert estimate_request(request, Calibration(factor=2.0)) == pytest.approx(2 * estimate_request(request), rel=0.01)


def test_every_part_of_a_request_counts() -> None:
    """Messages, tools, schemas, images, sound, files, calls and results all add to the input."""
    plain = estimate_request(ask(Text(text=PROSE)))
    parts: list[ChatRequest] = [
        ask(Text(text=PROSE), Image(url="http://x/y.png")),
        ask(Text(text=PROSE), Audio(data="A" * 50_000, format="mp3")),
        ask(Text(text=PROSE), File(data="A" * 10_000)),
        ask(Text(text=PROSE), Reasoning(text=PROSE)),
        ask(Text(text=PROSE), ToolCall(id="1", name="f", arguments='{"a": 1}')),
        ask(Text(text=PROSE), ToolResult(call_id="1", blocks=(Text(text=PROSE),))),
        ask(Text(text=PROSE), Opaque(dialect="openai", value={"type": "new", "text": PROSE})),
        ask(Text(text=PROSE), tools=(Tool(name="f", description="does it", parameters={"type": "object"}),)),
        ask(Text(text=PROSE), response_format=ResponseFormat(kind="json_schema", schema={"type": "object"})),
    ]
    assert all(estimate_request(request) > plain for request in parts)


def test_images_are_flat_whatever_their_bytes() -> None:
    """An image's price does not depend on the size of its file."""
    small, large = (estimate_request(ask(Image(data=base64.b64encode(b"x" * n).decode()))) for n in (10, 100_000))
    assert small == large == IMAGE_TOKENS + MESSAGE_TOKENS
    assert estimate_request(ask(Image(url="u", detail="low"))) == IMAGE_LOW_TOKENS + MESSAGE_TOKENS


def test_sound_is_rated_by_its_encoding() -> None:
    """Ten seconds of speech are about 320 tokens, compressed or not."""
    wave = estimate_request(ask(Audio(data="A" * 426_667, format="wav")))
    mp3 = estimate_request(ask(Audio(data="A" * 106_667, format="mp3")))
    assert wave == pytest.approx(320, abs=10)
    assert mp3 == pytest.approx(320, abs=10)


def test_many_messages_cost_their_frames() -> None:
    """A conversation is more than the sum of its words."""
    turns = tuple(Message(role="user", blocks=(Text(text="ok"),)) for _ in range(50))
    many = estimate_request(ChatRequest(model="m", messages=turns))
    assert many >= 50 * (MESSAGE_TOKENS + 0)
    assert many < 50 * (MESSAGE_TOKENS + 3)
