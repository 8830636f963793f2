"""Equal requests at the same time make one call: who pays, who waits, and what happens when somebody leaves or it fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefrontal.app.compose import compose
from prefrontal.app.library import Prefrontal
from prefrontal.errors import PrefrontalError, ProviderTimeout
from prefrontal.machine.context import LIBRARY, CallContext
from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault

TEXT = "one two three four five six"
SLOW = Answer(text=TEXT, delay_s=0.15, pace_s=0.01)
PRICE = {"price": {"input_usd": 2.0, "output_usd": 10.0}}


async def ask(pf: Prefrontal, text: str = "count", context: CallContext = LIBRARY, **hints: Any) -> Any:
    hints = {"cache": "use", **hints}
    return await pf.answer(compose(text, {"model": "m", "x_prefrontal": hints}, stream=False), context)


async def stream(pf: Prefrontal, *, most: int | None = None, **hints: Any) -> Any:
    """Read a stream, or its first `most` batches; return the text and the record."""
    request = compose("count", {"model": "m", "x_prefrontal": {"cache": "use", **hints}}, stream=True)
    source = await pf.open_stream(request, LIBRARY)
    text, count = "", 0
    try:
        while (most is None or count < most) and (batch := await source.read()):
            text += "".join([chunk.text for chunk in batch])
            count += 1
    finally:
        await source.aclose()
    return text, source.run


async def until(condition: Any) -> None:
    async with asyncio.timeout(5.0):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def slow(house: Any, answer: Answer = SLOW, **tree: Any) -> Prefrontal:
    house.up.answers = lambda _request: answer
    pf: Prefrontal = await house.open({"m": house.model(**PRICE)}, **tree)
    return pf


async def test_a_crowd_makes_one_call_and_one_of_it_pays(house: Any) -> None:
    """Fifty equal questions: one attempt, one cost; the others have its tokens, cost nothing, and know what they saved."""
    pf = await slow(house)
    answers = await asyncio.gather(*[ask(pf) for _ in range(50)])
    assert len(house.asked) == 1
    assert {answer.response.text for answer in answers} == {TEXT}
    records = [answer.record for answer in answers]
    (paid,) = [record for record in records if record.cache.status == "stored"]
    shared = [record for record in records if record.cache.status == "shared"]
    assert len(shared) == 49
    assert sum([record.cost_usd for record in records]) == paid.cost_usd > 0
    assert {record.cache.saved_usd for record in shared} == {paid.cost_usd}
    assert {record.usage for record in records} == {paid.usage}
    assert {record.answered_by for record in shared} == {"cache"}
    assert len({record.id for record in records}) == 50
    assert all(record.overhead_ms < 100 < record.duration_ms for record in shared)  # waiting is not our own time
    assert len(pf.machine.caching.sharing) == 0  # type: ignore[union-attr, arg-type]


async def test_streams_are_shared_as_they_arrive(house: Any) -> None:
    """Each gets all of it from its beginning, also one that comes late, and before it is over."""
    pf = await slow(house)
    first = [asyncio.create_task(stream(pf)) for _ in range(3)]
    await until(lambda: house.asked)
    await asyncio.sleep(0.18)
    late = asyncio.create_task(stream(pf))
    found = await asyncio.gather(*first, late)
    assert len(house.asked) == 1
    assert [text for text, _ in found] == [TEXT] * 4
    runs = [run for _, run in found]
    assert sorted(run.record.cache.status for run in runs) == ["shared", "shared", "shared", "stored"]
    assert all(0 < run.record.first_token_ms < run.record.duration_ms for run in runs)
    assert len({run.record.usage for run in runs}) == 1


async def test_a_leader_whose_client_leaves_does_not_take_the_answer_along(house: Any) -> None:
    """The others get it from the same call; whoever began it is recorded as gone, with what the call cost in the end."""
    pf = await slow(house)
    leader = asyncio.create_task(ask(pf))
    await until(lambda: house.asked)
    followers = [asyncio.create_task(ask(pf)) for _ in range(3)]
    await asyncio.sleep(0.02)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert house.records == []  # what it cost is not known yet
    answers = await asyncio.gather(*followers)
    assert [answer.response.text for answer in answers] == [TEXT] * 3
    assert len(house.asked) == 1
    (gone,) = [record for record in house.records if record.status == "cancelled"]
    assert gone.cost_usd == answers[0].record.cache.saved_usd > 0
    assert [attempt.outcome for attempt in gone.attempts] == ["ok"]
    assert (await ask(pf)).record.cache.status == "hit"


async def test_a_stream_s_leader_may_leave_too(house: Any) -> None:
    """In the middle of the answer; the upstream is read on for those who stay, and the answer is kept."""
    pf = await slow(house)
    leader = asyncio.create_task(stream(pf, most=2))
    await until(lambda: house.asked)
    follower = asyncio.create_task(stream(pf))
    _, run = await leader
    assert run.record is None
    text, followed = await follower
    assert (text, followed.record.cache.status) == (TEXT, "shared")
    assert (run.record.status, run.record.cost_usd) == ("cancelled", followed.record.cache.saved_usd)
    assert len(house.asked) == 1
    assert (await ask(pf)).record.cache.status == "hit"


@pytest.mark.parametrize("streams", [False, True])
async def test_when_all_have_left_the_call_ends(house: Any, streams: bool) -> None:
    """Leader and followers gone: the upstream is closed at once, everything is recorded, nothing is kept."""
    answer = Answer(text=TEXT, delay_s=0.05, pace_s=0.5) if streams else Answer(text=TEXT, delay_s=5.0)
    house.up.answers = lambda _request: answer
    pf = await house.open()
    tasks = [asyncio.create_task(stream(pf) if streams else ask(pf)) for _ in range(3)]
    await until(lambda: house.asked)
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: house.up.connections == 0)
    assert {record.status for record in house.records} == {"cancelled"}
    assert len(house.records) == 3
    assert sum([len(record.attempts) for record in house.records]) == 1
    assert pf.machine.caching is not None
    assert len(pf.machine.caching.sharing) == 0
    assert (await pf.machine.caching.cache.state()).entries == 0
    assert all(state.slots.held == 0 for state in pf.runtime.all())


async def test_a_failure_is_the_leader_s_and_the_next_one_tries(house: Any) -> None:
    """One fails with the upstream's error, of the others one makes the next call, and the rest have its answer."""
    pf = await slow(house, Answer(text=TEXT, delay_s=0.05), limits={"retries": {"attempts": 1}})
    house.up.fail(Fault(kind="status", status=500))
    leader = asyncio.create_task(ask(pf))
    followers = [asyncio.create_task(ask(pf)) for _ in range(4)]
    with pytest.raises(PrefrontalError):
        await leader
    answers = await asyncio.gather(*followers)
    assert len(house.asked) == 2
    assert sorted([answer.record.cache.status for answer in answers]) == ["shared", "shared", "shared", "stored"]


async def test_a_bad_hour_does_not_queue_callers_up_behind_each_other(house: Any) -> None:
    """After two calls of others that failed a request makes its own: ten callers do not wait for ten failures in turn."""
    pf = await slow(house, Answer(text=TEXT), limits={"retries": {"attempts": 1}, "breaker": {"failures": 1000}})
    house.up.fail(*[Fault(kind="status", status=500) for _ in range(10)])
    found = await asyncio.gather(*[ask(pf) for _ in range(10)], return_exceptions=True)
    assert all(isinstance(one, PrefrontalError) for one in found)
    assert len(house.asked) == 10
    assert max([record.duration_ms for record in house.records]) < 2000


async def test_each_waits_as_long_as_its_own_deadline(house: Any) -> None:
    """A hurried leader gives up alone and a hurried follower too; the patient ones get the answer."""
    pf = await slow(house, Answer(text=TEXT, delay_s=0.3))
    hurried = asyncio.create_task(ask(pf, deadline_s=0.1))
    await until(lambda: house.asked)
    patient = asyncio.create_task(ask(pf, deadline_s=5.0))
    second = asyncio.create_task(ask(pf, deadline_s=0.1))
    for task in (hurried, second):
        with pytest.raises(ProviderTimeout):
            await task
    assert (await patient).response.text == TEXT
    assert len(house.asked) == 1
    assert sorted([record.status for record in house.records]) == ["error", "error", "ok"]
    assert {record.error_code for record in house.records} == {ProviderTimeout.code, None}


async def test_a_hurried_leader_s_stream_goes_on_for_the_others(house: Any) -> None:
    """Its time runs out in the middle of the answer, and only its own."""
    pf = await slow(house, Answer(text=TEXT, pace_s=0.06))
    hurried = asyncio.create_task(stream(pf, deadline_s=0.12))
    await until(lambda: house.asked)
    patient = asyncio.create_task(stream(pf))
    with pytest.raises(ProviderTimeout):
        await hurried
    assert (await patient)[0] == TEXT
    assert len(house.asked) == 1


async def test_tenants_and_requests_that_did_not_ask_do_not_share_calls(house: Any) -> None:
    """Not even at the same moment; and `single_flight: false` shares none."""
    pf = await slow(house)
    contexts = [CallContext(key_id="a"), CallContext(key_id="b"), LIBRARY]
    await asyncio.gather(*[ask(pf, context=context) for context in contexts])
    assert len(house.asked) == 3
    await asyncio.gather(*[ask(pf, "quiet", cache="bypass") for _ in range(2)])
    assert len(house.asked) == 5
    alone = await slow(house, cache={"single_flight": False})
    await asyncio.gather(*[ask(alone, "alone") for _ in range(2)])
    assert len(house.asked) == 7


async def test_a_fresh_answer_is_not_taken_from_a_call_begun_before(house: Any) -> None:
    """`refresh` makes a call of its own beside the one in progress."""
    pf = await slow(house)
    first = asyncio.create_task(ask(pf))
    await until(lambda: house.asked)
    fresh = asyncio.create_task(ask(pf, cache="refresh"))
    assert {(await task).record.cache.status for task in (first, fresh)} == {"stored"}
    assert len(house.asked) == 2


async def test_charges_are_those_of_the_calls_made(house: Any) -> None:
    """Whoever leaves or follows: the books hold each call once, at its cost."""
    pf = await slow(house, budgets=[{"name": "all", "scope": "global", "window": "month", "usd": 1.0}])
    leader = asyncio.create_task(ask(pf))
    await until(lambda: house.asked)
    followers = [asyncio.create_task(ask(pf)) for _ in range(5)]
    await asyncio.sleep(0.02)
    leader.cancel()
    await asyncio.gather(leader, *followers, return_exceptions=True)
    (charge,) = pf.money.vault.charges.values()  # type: ignore[attr-defined]
    (state,) = pf.money.treasury.states()
    assert charge.state == "settled"
    assert state.held_usd == 0.0
    assert state.spent_usd == sum([record.cost_usd for record in house.records]) > 0
