"""Which ways of asking a model there are, and what an error on one of them means."""

from __future__ import annotations

import pytest

from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.capabilities import Capabilities
from prefrontal.decisions.ladder import DOWN, NEVER, STAY, Ability, after, rungs, says_unable
from prefrontal.errors import (
    CapabilityMissing,
    ContextTooLong,
    ProviderMisbehaved,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnreachable,
    QuotaExceeded,
    ThinkingAteCap,
)
from prefrontal.testing.clock import FakeClock

ALL = Ability(dialect="systemone", post_sampling=True)
NOTHING: frozenset[str] = frozenset()


def test_the_most_trusted_way_comes_first():
    """Native, grammar, log-probabilities, votes, statement."""
    assert rungs(ALL, "constrained", 5, NOTHING) == ("native", "grammar", "logprobs", "votes", "self_report")
    assert rungs(Ability(logprobs=False), "constrained", 5, NOTHING) == ("votes", "self_report")
    assert rungs(Ability(), "few_shot", 1, NOTHING) == ("logprobs", "self_report")


def test_techniques_leave_out_what_they_cannot_use():
    """JSON asks for JSON; reasons need a conversation, which the native route is not."""
    assert rungs(ALL, "json", 3, NOTHING) == ("native", "votes", "self_report")
    assert "native" not in rungs(ALL, "chain_of_thought", 3, NOTHING)


def test_what_an_engine_lacks_is_not_asked_again():
    """Remembered rungs are left out."""
    assert rungs(ALL, "constrained", 5, {"native", "grammar"}) == ("logprobs", "votes", "self_report")


def rejected(message: str, status: int = 400, **details: object) -> ProviderRejected:
    return ProviderRejected(message, upstream_status=status, details=dict(details))


@pytest.mark.parametrize(
    ("rung", "error", "meaning"),
    [
        ("native", CapabilityMissing("no route"), NEVER),
        ("native", ProviderMisbehaved("NaN"), DOWN),
        ("grammar", rejected("grammar is not supported"), NEVER),
        ("logprobs", rejected("Logprobs is not enabled for this model"), NEVER),
        ("logprobs", rejected("temperature out of range"), DOWN),
        ("logprobs", ThinkingAteCap("thought"), DOWN),
        ("native", rejected("model not found", 404), NEVER),
        ("votes", rejected("model not found", 404), STAY),
        ("votes", rejected("too long", code="context_length_exceeded"), STAY),
        ("grammar", ContextTooLong("too long"), STAY),
        ("grammar", ProviderTimeout("late"), STAY),
        ("grammar", ProviderUnreachable("down"), STAY),
        ("grammar", QuotaExceeded("spent"), STAY),
    ],
)
def test_an_error_of_the_rung_leads_down_and_any_other_does_not(rung, error, meaning):
    """An outage is no reason to ask the same model in another way."""
    assert after(rung, error) == meaning


@pytest.mark.parametrize(
    ("status", "words", "unable"),
    [
        (501, "", True),
        (404, "", True),
        (405, "", True),
        (400, "images not supported here", True),
        (400, "bad key", False),
        (500, "", False),
    ],
)
def test_a_route_that_is_not_there_is_recognised(status, words, unable):
    """By its status, or by its words where the status says little."""
    assert says_unable(status, words) is unable


async def test_what_an_engine_lacks_is_forgotten_in_time_and_bounded():
    """An hour later it is asked again; of too many engines the longest unused goes."""
    clock = FakeClock()
    memory = Capabilities(clock, max_engines=2)
    cards = [ModelCard(id=name, wire_name=name, profile="llamacpp", base_url="http://h/v1") for name in "abc"]
    for card in cards:
        memory.note(card, "native")
    assert memory.lacks(cards[0]) == frozenset()
    assert memory.lacks(cards[2]) == {"native"}
    await clock.advance(3601.0)
    assert memory.lacks(cards[2]) == frozenset()
    memory.note(cards[1], "votes")
    memory.forget()
    assert memory.lacks(cards[1]) == frozenset()
