"""One model at several places: falling back between them, keys that rest, and second attempts."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.resilience import Hedge
from prefrontal.errors import (
    CredentialsExhausted,
    PrefrontalError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
)

MODES = ["whole", "stream"]


def fleet(bench: Any, name: str, steps: dict[str, list[Any]], **fields: Any) -> ModelCard:
    """Return a model with a deployment of each name, which answers with its steps."""
    places = []
    for place, said in steps.items():
        card = bench.model(f"{name}-{place}", *said, key=f"key-of-{place}")
        places.append(msgspec.structs.replace(card, id=name, deployment=place))
    return msgspec.structs.replace(places[0], deployment=None, deployments=tuple(places), **fields)


def trail(bench: Any) -> list[tuple[str | None, str]]:
    """Return the deployment and the outcome of each attempt."""
    return [(attempt.deployment, attempt.outcome) for attempt in bench.journals[-1].attempts()]


@pytest.mark.parametrize("mode", MODES)
async def test_another_deployment_is_asked_at_once_when_one_fails(bench: Any, wire: Any, mode: str) -> None:
    """Nobody waits between two deployments, and the model of the answer is the same."""
    model = fleet(bench, "m", {"a": [wire.refusal(500)], "b": [wire.answer("hello", mode)]})
    assert await bench.ask(bench.call(model), mode) == "hello"
    assert trail(bench) == [("a", "error"), ("b", "ok")]
    assert bench.clock.slept == []


@pytest.mark.parametrize("mode", MODES)
async def test_requests_are_spread_over_idle_deployments(bench: Any, wire: Any, mode: str) -> None:
    """Each gets its share, by weight."""
    model = fleet(bench, "m", {"a": [wire.answer("a", mode)], "b": [wire.answer("b", mode)]})
    heavy = msgspec.structs.replace(model.deployments[1], weight=3.0)
    model = msgspec.structs.replace(model, deployments=(model.deployments[0], heavy))
    answers = [await bench.ask(bench.call(model), mode) for _ in range(8)]
    assert (answers.count("a"), answers.count("b")) == (2, 6)


async def test_a_request_goes_where_less_is_in_progress(bench: Any, wire: Any) -> None:
    """While one deployment is at work the others are asked."""
    slow = wire.step(head=[5.0], parts=wire.whole("slow").parts)
    model = fleet(bench, "m", {"a": [slow], "b": [wire.whole("b")]})
    first = asyncio.create_task(bench.complete(bench.call(model)))
    await asyncio.sleep(0)
    assert (await bench.complete(bench.call(model))).text == "b"
    assert (await bench.complete(bench.call(model))).text == "b"
    assert (await first).text == "slow"


async def test_a_request_that_is_wrong_is_not_sent_to_every_deployment(bench: Any, wire: Any) -> None:
    """It would be as wrong there."""
    model = fleet(bench, "m", {"a": [wire.refusal(400)], "b": [wire.whole("b")]})
    with pytest.raises(ProviderRejected):
        await bench.complete(bench.call(model))
    assert bench.asked == ["m-a"]


async def test_the_preferred_deployment_is_asked(bench: Any, wire: Any) -> None:
    """Whoever knows where a conversation is cached can say so."""
    model = fleet(bench, "m", {"a": [wire.whole("a")], "b": [wire.whole("b")]})
    call = msgspec.structs.replace(bench.call(model), prefer="b")
    assert [(await bench.complete(call)).text for _ in range(3)] == ["b", "b", "b"]


async def test_a_rate_limited_key_rests_for_as_long_as_its_provider_says(bench: Any, wire: Any) -> None:
    """The next key answers at once; the first is asked again when its time is over."""
    limited = wire.refusal(429, retry_after="30")
    model = fleet(bench, "m", {"a": [limited, wire.whole("a")], "b": [wire.whole("b")]})
    assert (await bench.complete(bench.call(model))).text == "b"
    assert [(await bench.complete(bench.call(model))).text for _ in range(3)] == ["b", "b", "b"]
    await bench.clock.advance(30.0)
    assert (await bench.complete(bench.call(model))).text == "a"


async def test_a_refused_key_rests_everywhere_until_the_configuration_is_read_again(
    bench: Any, wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Another model that uses the same key does not try it either; the log names the deployment and not the key."""
    model = fleet(bench, "m", {"a": [wire.refusal(401)], "b": [wire.whole("b")]})
    other = fleet(bench, "n", {"a": [wire.whole("a")], "b": [wire.whole("b")]})
    assert (await bench.complete(bench.call(model))).text == "b"
    await bench.clock.advance(100_000.0)
    assert [(await bench.complete(bench.call(other))).text for _ in range(2)] == ["b", "b"]
    assert "'a' of model 'm' rests" in caplog.text
    assert "key-of-a" not in caplog.text
    bench.runtime.parking.clear()
    assert (await bench.complete(bench.call(other))).text == "a"


async def test_with_every_key_at_rest_the_error_says_when_the_first_is_back(bench: Any, wire: Any) -> None:
    """No upstream is called again before, and the model's breaker has nothing to do with it."""
    empty = wire.refusal(429, code="insufficient_quota")
    model = fleet(bench, "m", {"a": [empty], "b": [wire.refusal(429, retry_after="40")]})
    with pytest.raises(ProviderRateLimited):
        await bench.complete(bench.call(model))
    sent = len(bench.transport.sent)
    with pytest.raises(CredentialsExhausted, match=r"a: its account is empty.*b: its rate limit is reached") as failed:
        await bench.complete(bench.call(model))
    assert failed.value.retry_after_s == pytest.approx(40.0, abs=1.0)
    assert len(bench.transport.sent) == sent
    assert bench.runtime.snapshot(model, bench.clock.monotonic()).open


async def test_the_next_model_of_the_plan_stands_in_when_no_deployment_is_left(bench: Any, wire: Any) -> None:
    """A fleet at rest is like one model that failed."""
    model = fleet(bench, "m", {"a": [wire.refusal(401)], "b": [wire.refusal(401)]})
    spare = bench.model("spare", wire.whole("spare"))
    assert (await bench.complete(bench.call(model, spare))).text == "spare"
    assert (await bench.complete(bench.call(model, spare))).text == "spare"
    assert bench.asked == ["m-a", "m-b", "spare", "spare"]


async def test_each_deployment_has_a_breaker_of_its_own(bench: Any, wire: Any) -> None:
    """One that fails again and again is left alone while the others go on."""
    model = fleet(bench, "m", {"a": [wire.refusal(500)], "b": [wire.whole("b")]})
    for _ in range(12):
        assert (await bench.complete(bench.call(model))).text == "b"
    assert bench.asked.count("m-a") == 5
    condition = bench.runtime.snapshot(model, bench.clock.monotonic())
    assert (condition.open, condition.limit) == (False, 4)


async def test_a_deployment_whose_headers_say_nothing_is_left_is_not_asked(bench: Any, wire: Any) -> None:
    """Its answer is taken, and the next request goes elsewhere before it has to be refused."""
    last = wire.whole("a")
    last.headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"}
    model = fleet(bench, "m", {"a": [last], "b": [wire.whole("b")]})
    openai = [msgspec.structs.replace(one, profile="openai") for one in model.deployments]
    model = msgspec.structs.replace(model, profile="openai", deployments=tuple(openai))
    assert [(await bench.complete(bench.call(model))).text for _ in range(3)] == ["a", "b", "b"]
    await bench.clock.advance(20.0)
    assert (await bench.complete(bench.call(model))).text == "a"


# -- second attempts ---------------------------------------------------------------------------------------------------

HEDGE = Hedge(after_ms=100.0, max_share=1.0)


@pytest.mark.parametrize("mode", MODES)
async def test_a_second_attempt_wins_against_a_slow_deployment(bench: Any, wire: Any, mode: str) -> None:
    """The slow one is cancelled upstream and settled with an estimate; nobody waits for it."""
    model = fleet(bench, "m", {"a": [wire.step(head=[wire.hang])], "b": [wire.answer("quick", mode)]}, hedge=HEDGE)
    assert await bench.ask(bench.call(model), mode) == "quick"
    assert trail(bench) == [("a", "hedge_lost"), ("b", "ok")]
    slow, quick = bench.journals[-1].attempts()
    assert (slow.hedge, quick.hedge) == (False, True)
    assert (slow.usage.source, slow.usage.output_tokens, quick.usage.source) == ("estimated", 0, "reported")
    assert quick.started_ms == pytest.approx(100.0, abs=1.0)
    bench.assert_idle()


@pytest.mark.parametrize("mode", MODES)
async def test_a_first_attempt_that_is_quick_enough_has_no_second(bench: Any, wire: Any, mode: str) -> None:
    """Within the time that is waited nothing else is asked."""
    step = wire.answer("first", mode)
    step.head = [0.05]
    model = fleet(bench, "m", {"a": [step], "b": [wire.answer("b", mode)]}, hedge=HEDGE)
    assert await bench.ask(bench.call(model), mode) == "first"
    assert bench.asked == ["m-a"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_first_attempt_can_still_win_its_race(bench: Any, wire: Any, mode: str) -> None:
    """Then the second one is the one that is given up."""
    step = wire.answer("first", mode)
    step.head = [0.15]
    model = fleet(bench, "m", {"a": [step], "b": [wire.step(head=[wire.hang])]}, hedge=HEDGE)
    assert await bench.ask(bench.call(model), mode) == "first"
    assert trail(bench) == [("a", "ok"), ("b", "hedge_lost")]


async def test_a_second_attempt_that_fails_leaves_the_first_one_running(bench: Any, wire: Any) -> None:
    """Only with both failed has the request failed."""
    slow = wire.step(head=[0.5], parts=wire.whole("slow").parts)
    model = fleet(bench, "m", {"a": [slow], "b": [wire.refusal(500)]}, hedge=HEDGE)
    assert (await bench.complete(bench.call(model))).text == "slow"
    assert trail(bench) == [("a", "ok"), ("b", "error")]


async def test_when_both_attempts_fail_the_next_deployment_is_asked(bench: Any, wire: Any) -> None:
    """A race that nobody wins is a failure of the deployment that was asked first."""
    late = wire.refusal(500)
    late.head = [0.2]
    model = fleet(bench, "m", {"a": [late], "b": [wire.refusal(500)], "c": [wire.whole("c")]}, hedge=HEDGE)
    assert (await bench.complete(bench.call(model))).text == "c"
    assert "hedge_lost" not in [outcome for _, outcome in trail(bench)]


async def test_the_time_to_wait_is_measured(bench: Any, wire: Any) -> None:
    """The second attempt comes after the slowest twentieth of the deployment's own times, and never before there are enough."""
    quick = [wire.step(head=[0.02], parts=wire.streamed("ok")) for _ in range(20)]
    steps = {"a": [*quick, wire.step(head=[wire.hang])], "b": [wire.step(parts=wire.streamed("b"))]}
    model = fleet(bench, "m", steps, hedge=Hedge(max_share=1.0), balance="weighted")
    only = msgspec.structs.replace(model, deployments=model.deployments[:1])
    for _ in range(20):
        assert await bench.text(bench.call(only)) == "ok"
    call = msgspec.structs.replace(bench.call(model), prefer="a")
    assert await bench.text(call) == "b"
    assert bench.journals[-1].attempts()[1].started_ms == pytest.approx(20.0, abs=1.0)


async def test_no_more_than_its_share_of_the_requests_is_hedged(bench: Any, wire: Any) -> None:
    """When everything is slow, four of five requests wait for their first attempt."""
    slow = wire.step(head=[1.0], parts=wire.whole("slow").parts)
    model = fleet(bench, "m", {"a": [slow], "b": [slow]}, hedge=Hedge(after_ms=10.0, max_share=0.2))
    for _ in range(20):
        await bench.complete(bench.call(model))
    assert sum(len(journal.entries) == 2 for journal in bench.journals) == 4


async def test_the_next_model_of_the_plan_can_be_the_second_attempt(bench: Any, wire: Any) -> None:
    """Where the hedge says so; its answer is told as its own."""
    slow = bench.model("slow", wire.step(head=[wire.hang]), hedge=msgspec.structs.replace(HEDGE, to="model"))
    spare = bench.model("spare", wire.whole("spare"))
    answer, card = await bench.executor.complete(bench.call(slow, spare), bench.journal())
    assert (answer.text, card.id) == ("spare", "spare")
    assert bench.outcomes() == [("slow", "hedge_lost", None), ("spare", "ok", None)]


async def test_a_client_that_leaves_ends_both_attempts(slow_bench: Any, wire: Any) -> None:
    """Neither is a lost race: nobody won."""
    bench = slow_bench
    hang = wire.step(head=[wire.hang])
    model = fleet(bench, "m", {"a": [hang], "b": [hang]}, hedge=HEDGE)
    asking = asyncio.create_task(bench.complete(bench.call(model)))
    await bench.clock.sleepers(1)
    await bench.clock.advance(0.2)
    assert bench.transport.sending == 2
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert trail(bench) == [("a", "cancelled"), ("b", "cancelled")]


async def test_the_winner_does_not_wait_for_a_loser_that_is_slow_to_close(bench: Any, wire: Any) -> None:
    """The loser is settled at once, and its connection is closed beside the answer."""
    opening = wire.step(parts=[wire.event({"role": "assistant", "content": ""}), wire.hang])
    model = fleet(bench, "m", {"a": [opening], "b": [wire.step(parts=wire.streamed("quick"))]}, hedge=HEDGE)
    bench.transport.slow_close = True
    live = await bench.open(bench.call(model))
    lost = bench.journals[-1].entries[0]
    assert (lost.outcome, lost.card.deployment) == ("hedge_lost", "a")
    assert bench.runtime.find("m#a").slots.held == 0
    (closing,) = bench.executor._hedger._closing
    assert not closing.done()
    closing.cancel()
    bench.transport.slow_close = False
    while await live.read():
        pass


async def test_time_waited_in_a_race_is_counted_once(bench: Any, wire: Any) -> None:
    """Two attempts at the same time do not wait twice as long, so what is ours of the time stays true."""
    slow = wire.step(head=[1.0], parts=wire.whole("slow").parts)
    model = fleet(bench, "m", {"a": [slow], "b": [wire.step(head=[wire.hang])]}, hedge=HEDGE)
    await bench.complete(bench.call(model))
    assert bench.journals[-1].waited_s == pytest.approx(1.0, abs=0.01)


async def test_a_fleet_without_any_free_place_is_refused_as_busy(bench: Any, wire: Any) -> None:
    """All breakers open: the caller hears that nobody takes requests, and when to come back."""
    model = fleet(bench, "m", {"a": [wire.refusal(500)], "b": [wire.refusal(500)]})
    for _ in range(4):
        with pytest.raises(PrefrontalError):
            await bench.complete(bench.call(model))
    with pytest.raises(ProviderOverloaded, match="left alone after repeated failures"):
        await bench.complete(bench.call(model, limits={"retries": {"attempts": 1}}))


async def test_a_client_that_leaves_while_a_race_is_cleared_away_leaves_nothing_open(bench: Any, wire: Any) -> None:
    """The winner's answer was there and nobody got it: its stream is closed, its slot free, both attempts settled."""
    opening = wire.step(parts=[wire.event({"role": "assistant", "content": ""}), wire.hang])
    model = fleet(bench, "m", {"a": [opening], "b": [wire.step(parts=wire.streamed("quick"))]}, hedge=HEDGE)
    bench.transport.slow_close = True
    asking = asyncio.create_task(bench.open(bench.call(model)))
    for _ in range(1000):
        if bench.journals and any(entry.lost for entry in bench.journals[-1].entries):
            break
        await asyncio.sleep(0)
    bench.transport.slow_close = False
    assert not asking.done()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [bench.runtime.find(f"m#{name}").slots.held for name in "ab"] == [0, 0]
    assert not bench.transport.open_streams
    assert trail(bench) == [("a", "hedge_lost"), ("b", "cancelled")]
    for closing in bench.executor._hedger._closing:
        closing.cancel()
