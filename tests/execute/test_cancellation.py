"""Whoever leaves, at whatever point, leaves nothing behind: no slot, no upstream, no engine, one settled attempt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefrontal.errors import LimitExceeded, ProviderTimeout

MODES = pytest.mark.parametrize("mode", ["whole", "stream"])
OPENING = {"role": "assistant", "content": ""}


async def left(bench: Any, coroutine: Any) -> None:
    """Run a coroutine until it waits for good, then cancel it."""
    task = asyncio.create_task(coroutine)
    await bench.clock.advance(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def outcomes(bench: Any) -> list[str]:
    return [outcome for _, outcome, _ in bench.outcomes()]


@MODES
async def test_before_anything_began(slow_bench: Any, wire: Any, mode: str) -> None:
    """A task cancelled before its first step has sent nothing and journalled nothing."""
    bench = slow_bench
    task = asyncio.create_task(bench.ask(bench.call(bench.model("a", wire.answer("x", mode))), mode))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.asked == []


@MODES
async def test_in_the_queue(slow_bench: Any, wire: Any, mode: str) -> None:
    """The place in the queue is free again, and the one behind moves up."""
    bench = slow_bench
    card = bench.model("a", wire.step(head=[wire.hang]), wire.answer("next", mode), max_concurrency=1, max_queue=2)
    holding = asyncio.create_task(bench.ask(bench.call(card), mode))
    await bench.clock.advance(0)
    await left(bench, bench.ask(bench.call(card), mode))
    assert outcomes(bench) == ["cancelled"]
    behind = asyncio.create_task(bench.ask(bench.call(card), mode))
    await bench.clock.advance(0)
    assert bench.runtime.find("a").slots.waiting == 1
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    assert await behind == "next"


@MODES
async def test_when_the_slot_was_handed_over_in_the_same_moment(slow_bench: Any, wire: Any, mode: str) -> None:
    """Leaving just as the turn came passes the slot on instead of keeping it."""
    bench = slow_bench
    card = bench.model("a", wire.step(head=[wire.hang]), wire.answer("next", mode), max_concurrency=1, max_queue=2)
    holding = asyncio.create_task(bench.ask(bench.call(card), mode))
    await bench.clock.advance(0)
    leaving = asyncio.create_task(bench.ask(bench.call(card), mode))
    behind = asyncio.create_task(bench.ask(bench.call(card), mode))
    await bench.clock.advance(0)
    holding.cancel()
    await asyncio.sleep(0)  # the holder has let go: the slot belongs to the one that is leaving
    leaving.cancel()
    await asyncio.gather(holding, leaving, return_exceptions=True)
    assert await behind == "next"


@MODES
async def test_before_the_head_of_the_answer(slow_bench: Any, wire: Any, mode: str) -> None:
    """The call is cancelled and the attempt says so."""
    bench = slow_bench
    await left(bench, bench.ask(bench.call(bench.model("a", wire.step(head=[wire.hang]))), mode))
    assert outcomes(bench) == ["cancelled"]


@MODES
async def test_inside_the_body_or_the_opening(slow_bench: Any, wire: Any, mode: str) -> None:
    """Bytes had come and nothing was shown."""
    bench = slow_bench
    first = wire.event(OPENING) if mode == "stream" else b'{"id":'
    await left(bench, bench.ask(bench.call(bench.model("a", wire.step(parts=[first, wire.hang]))), mode))
    assert outcomes(bench) == ["cancelled"]


async def test_inside_the_body_of_an_error(slow_bench: Any, wire: Any) -> None:
    """Also while an error answer is being read."""
    bench = slow_bench
    step = wire.step(status=500, parts=[b'{"error":', wire.hang])
    await left(bench, bench.text(bench.call(bench.model("a", step))))
    assert outcomes(bench) == ["cancelled"]


async def test_after_the_first_token(slow_bench: Any, wire: Any) -> None:
    """What was shown is paid for by estimate; the upstream is closed."""
    bench = slow_bench
    parts = [wire.event({"content": "Once upon a time "}), wire.hang]
    await left(bench, bench.text(bench.call(bench.model("a", wire.step(parts=parts)))))
    assert outcomes(bench) == ["cancelled"]
    usage = bench.journals[-1].attempts()[0].usage
    assert (usage.source, usage.output_tokens > 0) == ("estimated", True)


@MODES
async def test_in_the_pause_before_a_retry(slow_bench: Any, wire: Any, mode: str) -> None:
    """One failed attempt, and no second."""
    bench = slow_bench
    await left(bench, bench.ask(bench.call(bench.model("a", wire.refusal(500))), mode))
    assert outcomes(bench) == ["error"]
    assert len(bench.asked) == 1


@MODES
async def test_while_a_local_engine_starts(slow_bench: Any, wire: Any, mode: str) -> None:
    """No engine stays leased."""
    bench = slow_bench
    bench.engines.starting = [wire.hang]
    card = bench.model("a", wire.answer("x", mode), base_url=None, local_path="a.gguf")
    await left(bench, bench.ask(bench.call(card), mode))
    assert outcomes(bench) == ["cancelled"]


@MODES
async def test_while_a_local_engine_answers(slow_bench: Any, wire: Any, mode: str) -> None:
    """The engine is given back at once, so that it may be unloaded."""
    bench = slow_bench
    card = bench.model("a", wire.step(head=[wire.hang]), base_url=None, local_path="a.gguf")
    task = asyncio.create_task(bench.ask(bench.call(card), mode))
    await bench.clock.advance(0)
    assert bench.engines.leased == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bench.engines.leased == 0


async def test_in_closing(slow_bench: Any, wire: Any) -> None:
    """A close that takes its time, and is cancelled too, settles nothing twice and holds no slot meanwhile."""
    bench = slow_bench
    live = await bench.open(bench.call(bench.model("a", wire.step(parts=[wire.event({"content": "Once"}), wire.hang]))))
    await live.read()
    bench.transport.slow_close = True
    await left(bench, live.aclose())
    assert bench.runtime.find("a").slots.held == 0
    bench.transport.slow_close = False
    await live.aclose()
    assert outcomes(bench) == ["cancelled"]


async def test_closing_a_short_answer_that_nobody_read(slow_bench: Any, wire: Any) -> None:
    """An answer that ended inside its opening holds its slot until it is read or closed; its usage is known and kept."""
    bench = slow_bench
    live = await bench.open(bench.call(bench.model("a", wire.step(parts=wire.streamed()))))
    assert live.ended
    assert bench.runtime.find("a").slots.held == 1
    await live.aclose()
    await live.aclose()
    assert outcomes(bench) == ["cancelled"]
    assert bench.journals[-1].attempts()[0].usage.source == "reported"


async def test_closing_after_the_end_changes_nothing(slow_bench: Any, wire: Any) -> None:
    """Read to the end and closed twice: one attempt, and it succeeded."""
    bench = slow_bench
    live = await bench.open(bench.call(bench.model("a", wire.step(parts=wire.streamed("all", "of", "it")))))
    while await live.read():
        pass
    await live.aclose()
    await live.aclose()
    assert outcomes(bench) == ["ok"]
    assert bench.runtime.find("a").slots.held == 0


async def test_a_trial_that_is_left_lets_the_next_one_try(slow_bench: Any, wire: Any) -> None:
    """The half-open breaker's one trial was cancelled and proves nothing: the next request is the trial."""
    bench = slow_bench
    limits = {"retries": {"attempts": 1}, "breaker": {"failures": 1, "open_s": 10.0}}
    card = bench.model("a", wire.refusal(500), wire.step(head=[wire.hang]), wire.whole("back"))
    with pytest.raises(Exception, match="no"):
        await bench.complete(bench.call(card, limits=limits))
    await bench.clock.advance(10.0)
    await left(bench, bench.complete(bench.call(card, limits=limits)))
    assert (await bench.complete(bench.call(card, limits=limits))).text == "back"


async def test_failures_that_were_under_way_do_not_lengthen_the_pause(slow_bench: Any, wire: Any) -> None:
    """Four requests fail together: the first opens the breaker for its first pause, not for eight times as long."""
    bench = slow_bench
    limits = {"retries": {"attempts": 1}, "breaker": {"failures": 1, "open_s": 10.0}}
    failing = wire.refusal(500)
    failing.head = [1.0]
    card = bench.model("a", failing)
    tasks = [asyncio.create_task(bench.complete(bench.call(card, limits=limits))) for _ in range(4)]
    await bench.clock.advance(1.0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert bench.runtime.find("a").breaker.pause_s == 10.0


async def test_who_waits_while_the_breaker_opens_is_turned_away(slow_bench: Any, wire: Any) -> None:
    """The queue behind a model that has just been given up does not march on into it."""
    bench = slow_bench
    limits = {"retries": {"attempts": 1}, "breaker": {"failures": 1, "open_s": 10.0}}
    failing = wire.refusal(500)
    failing.head = [1.0]
    card = bench.model("a", failing, max_concurrency=1)
    tasks = [asyncio.create_task(bench.complete(bench.call(card, limits=limits))) for _ in range(3)]
    await bench.clock.advance(1.0)
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [error.code for error in errors] == ["upstream_error", "upstream_overloaded", "upstream_overloaded"]
    assert bench.asked == ["a"]


@MODES
async def test_waiting_in_the_queue_has_an_end(slow_bench: Any, wire: Any, mode: str) -> None:
    """After the time a first token may take, the one in the queue is told; it does not queue again."""
    bench = slow_bench
    card = bench.model("a", wire.step(head=[wire.hang]), max_concurrency=1)
    limits = {"timeouts": {"first_token_s": 5.0}}
    holding = asyncio.create_task(bench.complete(bench.call(card)))
    await bench.clock.advance(0)
    waiting = asyncio.create_task(bench.ask(bench.call(card, limits=limits), mode))
    await bench.clock.advance(5.0)
    with pytest.raises(ProviderTimeout):
        await waiting
    assert bench.clock.monotonic() == 5.0
    attempt = bench.journals[-1].attempts()[0]
    assert (attempt.queued_ms, len(bench.journals[-1].attempts())) == (5000.0, 1)
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)


async def test_the_queue_is_first_come_first_served_and_bounded(slow_bench: Any, wire: Any) -> None:
    """One runs, two wait, the fourth is refused; those who wait are served in order."""
    bench = slow_bench
    steps = []
    for number in range(3):
        step = wire.whole(str(number))
        step.head = [1.0]
        steps.append(step)
    card = bench.model("a", *steps, max_concurrency=1, max_queue=2)
    tasks = [asyncio.create_task(bench.complete(bench.call(card))) for _ in range(4)]
    await bench.clock.advance(0)
    with pytest.raises(LimitExceeded):
        await tasks[3]
    await bench.clock.advance(3.0)
    assert [(await task).text for task in tasks[:3]] == ["0", "1", "2"]
    assert bench.transport.at == [0.0, 1.0, 2.0]
