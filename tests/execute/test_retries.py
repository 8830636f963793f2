"""Trying again, waiting, moving on: what the executor does after a failure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefrontal.errors import (
    AllAttemptsFailed,
    InvalidRequest,
    LimitExceeded,
    PrefrontalError,
    ProviderCut,
    ProviderError,
    ProviderLoading,
    ProviderMisbehaved,
    ProviderOverloaded,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)

MODES = pytest.mark.parametrize("mode", ["whole", "stream"])


@MODES
async def test_a_passing_failure_is_tried_again_after_a_growing_wait(bench: Any, wire: Any, mode: str) -> None:
    """Two 500s, then an answer: three calls, and each wait lies between half and all of its step."""
    card = bench.model("a", wire.refusal(500), wire.refusal(500), wire.answer("fine", mode))
    assert await bench.ask(bench.call(card, limits={"retries": {"base_s": 1.0}}), mode) == "fine"
    assert bench.asked == ["a", "a", "a"]
    first, second = bench.clock.slept
    assert 0.5 <= first <= 1.0
    assert 1.0 <= second <= 2.0
    assert bench.outcomes() == [("a", "error", "upstream_error")] * 2 + [("a", "ok", None)]
    assert [a.retry_class for a in bench.journals[-1].attempts()] == ["transient", "transient", None]


@MODES
async def test_no_more_attempts_than_configured(bench: Any, wire: Any, mode: str) -> None:
    """With `attempts: 2` the second failure is the last, and it is the one that is raised."""
    card = bench.model("a", wire.refusal(500, "first"), wire.refusal(502, "second"))
    with pytest.raises(ProviderError, match="second") as caught:
        await bench.ask(bench.call(card, limits={"retries": {"attempts": 2}}), mode)
    assert not isinstance(caught.value, AllAttemptsFailed)
    assert len(bench.asked) == 2


@pytest.mark.parametrize(
    ("headers", "waited"),
    [
        ({"retry_after": "3"}, [3.0]),
        ({"retry_after_ms": "120"}, [0.12]),
        ({"retry_after_ms": "120", "retry_after": "3"}, [0.12]),
        ({"retry_after": "9"}, None),
        ({"x_should_retry": "false"}, None),
        ({"x_should_retry": "false", "retry_after": "1"}, None),
    ],
)
async def test_the_wait_an_upstream_names_is_kept(
    bench: Any, wire: Any, headers: dict[str, str], waited: list[float] | None
) -> None:
    """The named wait is kept exactly; one longer than `max_s`, or a plain no, is not waited for and the client is told."""
    card = bench.model("a", wire.refusal(429, **headers), wire.whole("later"))
    call = bench.call(card, limits={"retries": {"max_s": 8.0}})
    if waited is None:
        with pytest.raises(ProviderRateLimited) as caught:
            await bench.complete(call)
        assert bench.clock.slept == []
        assert caught.value.retry_after_s == (float(headers["retry_after"]) if "retry_after" in headers else None)
    else:
        assert (await bench.complete(call)).text == "later"
        assert bench.clock.slept == waited


async def test_should_retry_true_makes_a_refusal_passing(bench: Any, wire: Any) -> None:
    """An upstream that says so is asked again even after a 400."""
    card = bench.model("a", wire.refusal(400, x_should_retry="true"), wire.whole("after all"))
    assert (await bench.complete(bench.call(card))).text == "after all"


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ({"status": 400}, ProviderRejected),
        ({"status": 401}, ProviderError),
        ({"status": 402}, ProviderQuotaExhausted),
        ({"status": 429, "code": "insufficient_quota"}, ProviderQuotaExhausted),
    ],
)
async def test_what_will_fail_again_is_not_tried_again(
    bench: Any, wire: Any, step: dict[str, Any], error: type[PrefrontalError]
) -> None:
    """A refused request, bad credentials and an empty account cost one call."""
    card = bench.model("a", wire.refusal(step["status"], code=step.get("code")), wire.whole("never"))
    with pytest.raises(error):
        await bench.complete(bench.call(card))
    assert bench.asked == ["a"]
    assert bench.clock.slept == []


async def test_a_loading_engine_is_waited_for(bench: Any, wire: Any) -> None:
    """The only model is asked again each second until it is loaded, beyond the number of ordinary retries."""
    loading = wire.refusal(503, "Loading model")
    card = bench.model("a", *[loading] * 7, wire.whole("loaded"))
    assert (await bench.complete(bench.call(card))).text == "loaded"
    assert bench.clock.slept == [1.0] * 7
    assert bench.runtime.find("a").breaker.failed_at == ()


async def test_waiting_for_a_loading_engine_ends(bench: Any, wire: Any) -> None:
    """After a minute the caller is told that it is still loading; and a wait of an hour is not begun."""
    with pytest.raises(ProviderLoading):
        await bench.complete(bench.call(bench.model("a", wire.refusal(503, "Loading model"))))
    assert sum(bench.clock.slept) == 60.0
    before = len(bench.clock.slept)
    with pytest.raises(ProviderLoading):
        await bench.complete(bench.call(bench.model("b", wire.refusal(503, "Loading model", retry_after="3600"))))
    assert len(bench.clock.slept) == before


@MODES
async def test_a_loading_engine_is_left_when_another_model_can_answer(bench: Any, wire: Any, mode: str) -> None:
    """With a second model at hand nobody waits for the first to load."""
    first = bench.model("a", wire.refusal(503, "Loading model"))
    second = bench.model("b", wire.answer("here", mode))
    assert await bench.ask(bench.call(first, second), mode) == "here"
    assert bench.asked == ["a", "b"]
    assert bench.clock.slept == []


@MODES
async def test_models_are_tried_in_the_order_of_the_plan(bench: Any, wire: Any, mode: str) -> None:
    """The first that answers wins; those after it are not asked; every attempt is in the journal."""
    cards = [bench.model("a", wire.refusal(401)), bench.model("b", wire.refusal(402))]
    cards += [bench.model("c", wire.answer("third", mode)), bench.model("d", wire.answer("fourth", mode))]
    assert await bench.ask(bench.call(*cards), mode) == "third"
    assert bench.asked == ["a", "b", "c"]
    assert [model for model, _, _ in bench.outcomes()] == ["a", "b", "c"]


@MODES
async def test_when_all_fail_the_error_carries_all(bench: Any, wire: Any, mode: str) -> None:
    """`AllAttemptsFailed` holds every failure in order and takes its status from the last."""
    cards = [bench.model("a", wire.refusal(401)), bench.model("b", wire.refusal(429, retry_after="9"))]
    with pytest.raises(AllAttemptsFailed) as caught:
        await bench.ask(bench.call(*cards), mode)
    assert [getattr(error, "model", None) for error in caught.value.errors] == ["a", "b"]
    assert caught.value.status == 429
    assert caught.value.retry_after_s == 9.0


async def test_a_long_wait_is_not_kept_when_another_model_is_at_hand(bench: Any, wire: Any) -> None:
    """Two seconds of retry-after: the next model is asked at once instead."""
    first = bench.model("a", wire.refusal(429, retry_after="2"))
    assert (await bench.complete(bench.call(first, bench.model("b", wire.whole("b"))))).text == "b"
    assert bench.clock.slept == []


@MODES
@pytest.mark.parametrize("fault", ["cut", "garbage", "empty", "wrong"])
async def test_an_answer_that_is_none_falls_back(bench: Any, wire: Any, mode: str, fault: str) -> None:
    """A cut, garbage, an empty body and JSON of no known shape are failures like any other before the first token."""
    parts = {
        "cut": [ProviderCut("gone")],
        "garbage": [b"<html>nonsense</html>\n\n"],
        "empty": [],
        "wrong": [b'{"unexpected": true}'],
    }[fault]
    if fault == "wrong" and mode == "stream":  # the opening is as it should be, and then comes neither a token nor a finish
        parts = [wire.event({"role": "assistant", "content": ""}), b'data: {"unexpected": true}\n\n', wire.done]
    first = bench.model("a", wire.step(parts=parts))
    second = bench.model("b", wire.answer("good", mode))
    assert await bench.ask(bench.call(first, second, limits={"retries": {"attempts": 1}}), mode) == "good"
    assert [(m, o) for m, o, _ in bench.outcomes()] == [("a", "error"), ("b", "ok")]


async def test_an_error_after_200_and_before_the_first_token_falls_back(bench: Any, wire: Any) -> None:
    """The opening is held: its role event was not shown, so another model may answer."""
    broken = [wire.event({"role": "assistant", "content": ""}), b'data: {"error": {"message": "out of memory"}}\n\n']
    cards = bench.model("a", wire.step(parts=broken)), bench.model("b", wire.step(parts=wire.streamed("good")))
    assert await bench.text(bench.call(*cards, limits={"retries": {"attempts": 1}})) == "good"


async def test_after_the_first_token_there_is_no_other_model(bench: Any, wire: Any) -> None:
    """Once a token is shown an error is an error: the second model is never asked, and nothing of it is spliced in."""
    parts = [wire.event({"content": "Once"}), ProviderCut("gone")]
    cards = bench.model("a", wire.step(parts=parts)), bench.model("b", wire.step(parts=wire.streamed("never")))
    live = await bench.open(bench.call(*cards))
    assert [chunk.text for chunk in await live.read()] == ["Once"]
    with pytest.raises(ProviderCut) as caught:
        await live.read()
    assert caught.value.model == "a"
    assert await live.read() == []
    assert bench.asked == ["a"]
    assert bench.outcomes() == [("a", "error", "upstream_cut")]
    assert bench.journals[-1].attempts()[0].usage.source == "estimated"


async def test_the_opening_is_bounded(bench: Any, wire: Any) -> None:
    """A stream of empty events is shown after as many as configured; its failure then is the client's to see."""
    empty = [wire.event({"role": "assistant", "content": ""})] * 5
    cards = bench.model("a", wire.step(parts=[*empty, ProviderCut("gone")])), bench.model("b", wire.whole("never"))
    live = await bench.open(bench.call(*cards, limits={"opening": {"max_chunks": 4}}))
    assert len(await live.read()) == 4
    assert len(await live.read()) == 1
    with pytest.raises(ProviderCut):
        await live.read()
    assert bench.asked == ["a"]


async def test_a_slow_first_token_falls_back(bench: Any, wire: Any) -> None:
    """Head and role event in time, the token not: the next model is asked after exactly the configured wait."""
    parts = [wire.event({"role": "assistant", "content": ""}), 100.0, *wire.streamed("late")]
    cards = bench.model("a", wire.step(parts=parts)), bench.model("b", wire.step(parts=wire.streamed("good")))
    assert await bench.text(bench.call(*cards, limits={"timeouts": {"first_token_s": 3.0}})) == "good"
    assert bench.transport.at == [0.0, 3.0]
    assert bench.outcomes()[0] == ("a", "error", "upstream_timeout")


@MODES
async def test_a_time_waited_out_in_full_is_not_waited_out_again(bench: Any, wire: Any, mode: str) -> None:
    """One silent model costs its timeout once, not once a retry."""
    card = bench.model("a", wire.step(head=[1000.0]))
    limits = {"timeouts": {"first_token_s": 3.0, "total_s": 3.0}}
    with pytest.raises(ProviderTimeout):
        await bench.ask(bench.call(card, limits=limits), mode)
    assert bench.asked == ["a"]
    assert bench.clock.monotonic() == 3.0


async def test_an_upstream_that_answers_504_is_tried_again(bench: Any, wire: Any) -> None:
    """Its own gateway gave up, not we: the next try may be quicker."""
    card = bench.model("a", wire.refusal(504), wire.whole("quicker"))
    assert (await bench.complete(bench.call(card))).text == "quicker"


@MODES
async def test_the_callers_deadline_ends_everything(bench: Any, wire: Any, mode: str) -> None:
    """Five seconds in all: a slow model uses them up, and no further model is begun for the last millisecond."""
    cards = bench.model("a", wire.step(head=[1000.0])), bench.model("b", wire.answer("too late", mode))
    with pytest.raises(ProviderTimeout):
        await bench.ask(bench.call(*cards, deadline=5.0), mode)
    assert bench.clock.monotonic() == pytest.approx(5.0, abs=0.01)
    assert bench.asked == ["a"]


async def test_a_wait_that_would_pass_the_deadline_is_not_begun(bench: Any, wire: Any) -> None:
    """With one second left nobody sleeps for two."""
    card = bench.model("a", wire.refusal(429, retry_after="2"), wire.whole("late"))
    with pytest.raises(ProviderRateLimited):
        await bench.complete(bench.call(card, deadline=1.0))
    assert bench.clock.slept == []


async def test_the_deadline_also_holds_inside_a_stream(bench: Any, wire: Any) -> None:
    """A stream that would go on for a minute ends with a timeout at its deadline."""
    parts = [wire.event({"content": "Once"}), 60.0, wire.event({"content": " upon"})]
    live = await bench.open(bench.call(bench.model("a", wire.step(parts=parts)), deadline=5.0))
    await live.read()
    with pytest.raises(ProviderTimeout):
        await live.read()
    assert bench.clock.monotonic() == pytest.approx(5.0, abs=0.01)


async def test_a_models_own_time_limit_bounds_a_stream(bench: Any, wire: Any) -> None:
    """`timeout_s` is the longest a call may take, streamed or not."""
    parts = [wire.event({"content": "Once"}), 60.0]
    live = await bench.open(bench.call(bench.model("a", wire.step(parts=parts), timeout_s=4.0)))
    await live.read()
    with pytest.raises(ProviderTimeout):
        await live.read()
    assert bench.clock.monotonic() == pytest.approx(4.0, abs=0.01)


async def test_a_request_wrong_in_any_dialect_ends_at_once(bench: Any, wire: Any) -> None:
    """What the translator itself refuses is the caller's to mend: no other model is asked."""

    class Broken(InvalidRequest):
        pass

    cards = bench.model("a", wire.step(head=[Broken("no")])), bench.model("b", wire.whole("never"))
    with pytest.raises(Broken):
        await bench.complete(bench.call(*cards))
    assert bench.asked == ["a"]


@MODES
async def test_a_translator_that_trips_is_an_answer_that_cannot_be_read(
    bench: Any, wire: Any, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in a provider, perhaps a plug-in's, costs this model its answer and not the caller the request."""
    provider = bench.attempter.providers.for_profile(bench.attempter.profiles["openai-compatible"])

    class Tripping:
        def __getattr__(self, name: str) -> Any:
            return getattr(provider, name)

        def parse_chat(self, response: Any, target: Any) -> Any:
            return provider.parse_chat(response, target) if target.card.id == "b" else {}["missing"]

        def stream_parser(self, target: Any) -> Any:
            return provider.stream_parser(target) if target.card.id == "b" else self

        def feed(self, _data: bytes) -> Any:
            raise KeyError("missing")

    monkeypatch.setattr(type(bench.attempter.providers), "for_profile", lambda *_: Tripping())
    cards = bench.model("a", wire.answer("x", mode)), bench.model("b", wire.answer("good", mode))
    assert await bench.ask(bench.call(*cards, limits={"retries": {"attempts": 1}}), mode) == "good"
    assert isinstance(bench.journals[-1].entries[0].error, ProviderMisbehaved)


async def test_the_breaker_opens_and_recovers(bench: Any, wire: Any) -> None:
    """Three failures: left alone with the time until the next trial; after the pause one answer closes it again."""
    limits = {"retries": {"attempts": 1}, "breaker": {"failures": 3, "open_s": 10.0}}
    card = bench.model("a", *[wire.refusal(500)] * 3, wire.whole("back"))
    for _ in range(3):
        with pytest.raises(ProviderError):
            await bench.complete(bench.call(card, limits=limits))
    with pytest.raises(ProviderOverloaded) as caught:
        await bench.complete(bench.call(card, limits=limits))
    assert (caught.value.status, caught.value.retry_after_s) == (503, 10.0)
    assert len(bench.asked) == 3
    await bench.clock.advance(10.0)
    assert (await bench.complete(bench.call(card, limits=limits))).text == "back"
    assert (await bench.complete(bench.call(card, limits=limits))).text == "back"


async def test_a_failed_trial_doubles_the_pause(bench: Any, wire: Any) -> None:
    """The one request let through fails: twice the pause."""
    limits = {"retries": {"attempts": 1}, "breaker": {"failures": 1, "open_s": 10.0}}
    card = bench.model("a", wire.refusal(500))
    for wait in (10.0, 20.0):
        with pytest.raises(ProviderError):
            await bench.complete(bench.call(card, limits=limits))
        with pytest.raises(ProviderOverloaded) as caught:
            await bench.complete(bench.call(card, limits=limits))
        assert caught.value.retry_after_s == wait
        await bench.clock.advance(wait)


async def test_an_open_breaker_is_passed_over(bench: Any, wire: Any) -> None:
    """With another model the request does not notice."""
    limits = {"retries": {"attempts": 1}, "breaker": {"failures": 1}}
    first, second = bench.model("a", wire.refusal(500)), bench.model("b", wire.whole("good"))
    for _ in range(2):
        assert (await bench.complete(bench.call(first, second, limits=limits))).text == "good"
    assert bench.asked == ["a", "b", "b"]


async def test_usage_that_is_not_reported_is_estimated(bench: Any, wire: Any) -> None:
    """Without usage the tokens are counted by estimate and said to be; with it they are the engine's."""
    silent = bench.model("a", wire.whole("word " * 50, usage=None))
    estimated = (await bench.complete(bench.call(silent))).usage
    assert estimated.source == "estimated"
    assert 20 < estimated.output_tokens < 120
    reported = (await bench.complete(bench.call(bench.model("b", wire.whole("x", usage=(11, 5)))))).usage
    assert (reported.source, reported.input_tokens, reported.output_tokens) == ("reported", 11, 5)


async def test_a_whole_answer_does_not_pretend_to_have_had_a_first_token(bench: Any, wire: Any) -> None:
    """Its time to the first token is unknown; its speed is measured over its whole duration."""
    step = wire.whole("x", usage=(7, 40))
    step.head = [2.0]
    await bench.complete(bench.call(bench.model("a", step)))
    attempt = bench.journals[-1].attempts()[0]
    assert attempt.first_token_ms is None
    assert bench.runtime.find("a").tokens_per_s == pytest.approx(20.0)


async def test_a_full_queue_passes_to_the_next_model(slow_bench: Any, wire: Any) -> None:
    """When the first model is full the second answers, and the attempt that found no place is in the journal."""
    bench = slow_bench
    full = bench.model("a", wire.step(head=[wire.hang]), max_concurrency=1, max_queue=0)
    holding = asyncio.create_task(bench.complete(bench.call(full)))
    await bench.clock.advance(0)
    assert (await bench.complete(bench.call(full, bench.model("b", wire.whole("free"))))).text == "free"
    assert bench.outcomes() == [("a", "error", "rate_limit_exceeded"), ("b", "ok", None)]
    with pytest.raises(LimitExceeded) as caught:
        await bench.complete(bench.call(full))
    assert caught.value.status == 429
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1.0
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
