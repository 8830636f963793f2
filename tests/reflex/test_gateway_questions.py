"""Questions about the gateway itself are answered from its own counters."""

from __future__ import annotations

import pytest

from prefrontal.contracts.vitals import ModelCondition, Vitals
from prefrontal.reflex.gateway import HEALTH_CHANNEL, Gateway
from prefrontal.reflex.proposal import ReflexAnswer, ReflexContext
from prefrontal.reflex.tools import Reflexes

NOON_S = 1_700_049_600.0  # 12:00 UTC
TRUSTED = ReflexContext(now_s=NOON_S, allow_host=True)
HEALTH = ReflexContext(now_s=NOON_S, allow_host=True, channel=HEALTH_CHANNEL)


class Counters:
    """Fixed figures that remember which window was asked for."""

    def __init__(self, seen: Vitals, models: list[ModelCondition] | None = None) -> None:
        self.seen = seen
        self.asked: list[int] = []
        self._models = models or []

    def window(self, minutes: int) -> Vitals:
        self.asked.append(minutes)
        return self.seen

    def models(self) -> list[ModelCondition]:
        return self._models


BUSY = Vitals(
    minutes=60,
    covered_minutes=5000,
    requests=200,
    errors=4,
    cancelled=3,
    without_model=50,
    input_tokens=9000,
    output_tokens=1000,
    cost_usd=1.25,
    mean_ms=420.0,
    by_model={"small": 120, "large": 30},
    cpu_mean_percent=35.0,
    cpu_peak_percent=80.0,
    memory_mean_percent=50.0,
    memory_peak_percent=60.0,
)


def ask(text: str, context: ReflexContext, counters: Counters) -> ReflexAnswer | None:
    reflexes = Reflexes([Gateway(counters)])
    proposal = reflexes.propose(text, context)
    return None if proposal is None else reflexes.answer(proposal, context)


@pytest.mark.parametrize(
    ("question", "value", "minutes"),
    [
        ("How many requests has the gateway handled in the last 30 minutes?", "200", 30),
        ("how many requests did the gateway serve today", "200", 720),
        ("what is the error rate of the gateway over the last 2 hours?", "4", 120),
        ("How much has the gateway spent in the last day?", "1.250000", 1440),
        ("how many tokens has prefrontal used", "10000", 60),
        ("what's the average response time of the gateway", "420.0", 60),
        ("is the gateway healthy?", "ok", 60),
    ],
)
def test_questions_that_name_the_gateway_are_answered_in_any_channel(question: str, value: str, minutes: int) -> None:
    """The figure of the stretch of time that was asked for is the answer."""
    counters = Counters(BUSY)
    answer = ask(question, TRUSTED, counters)
    assert answer is not None
    assert answer.value == value
    assert counters.asked[-1] == minutes


@pytest.mark.parametrize("question", ["status", "how are things?", "any problems?", "health check", "what is the system status"])
def test_the_health_channel_understands_short_questions(question: str) -> None:
    """A bare word is about the gateway only where nothing else is asked."""
    answer = ask(question, HEALTH, Counters(BUSY))
    assert answer is not None
    assert answer.value == "ok"
    assert ask(question, TRUSTED, Counters(BUSY)) is None


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("average cpu usage over the last 10 minutes", "35.0"),
        ("memory usage in the last hour", "50.0"),
        ("how many errors are there", "4"),
    ],
)
def test_the_health_channel_answers_host_figures_over_time(question: str, value: str) -> None:
    """Means of the samples are reported, not only the present moment."""
    answer = ask(question, HEALTH, Counters(BUSY))
    assert answer is not None
    assert answer.value == value


@pytest.mark.parametrize(
    "question",
    [
        "how many errors are there in this code",
        "how many requests are there",
        "status",
        "what is a gateway",
        "how does the gateway work and how many requests has it served",
        "how many requests has the gateway handled in the last 30 days",
        "how much have we spent",
    ],
)
def test_other_questions_are_left_to_a_model(question: str) -> None:
    """What does not name the gateway, asks more, or reaches too far back is not ours."""
    assert ask(question, TRUSTED, Counters(BUSY)) is None


def test_strangers_learn_nothing() -> None:
    """Without the right to see the host there is no proposal."""
    assert ask("is the gateway healthy?", ReflexContext(now_s=NOON_S), Counters(BUSY)) is None


def test_a_resting_model_makes_the_gateway_degraded_and_is_named() -> None:
    """The summary says which model is left alone, and why."""
    models = [ModelCondition(model="large", resting=True, last_error="refused")]
    answer = ask("status", HEALTH, Counters(BUSY, models))
    assert answer is not None
    assert answer.value == "degraded"
    assert "large (refused)" in answer.text


def test_a_young_process_says_how_far_its_figures_reach() -> None:
    """A day's figure of a process that is ten minutes old is not passed off as a day's."""
    young = Vitals(minutes=1440, covered_minutes=10, requests=3)
    answer = ask("how many requests did the gateway handle in the last day", TRUSTED, Counters(young))
    assert answer is not None
    assert "up for the last 10 minutes" in answer.text
