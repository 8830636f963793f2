"""Money on the way of a request: degrading, refusing, allow-lists, and what each end of an attempt costs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefrontal.app.compose import compose
from prefrontal.app.library import Prefrontal
from prefrontal.contracts.access import Grant
from prefrontal.contracts.money import Budget, Degraded, Payer, to_pico
from prefrontal.errors import LimitExceeded, PrefrontalError, ProviderCut, QuotaExceeded, UnknownModel
from prefrontal.machine.context import CallContext
from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault

WORDS = "one two three four five six seven eight nine ten"
BIG = {"input_usd": 10, "output_usd": 100}
SMALL = {"input_usd": 1, "output_usd": 10}
RED = Payer(key_id="k", team="red")


def models(house: Any) -> dict[str, Any]:
    return {
        "big": house.model(model="b", price=BIG, quality=0.9, priority=9),
        "small": house.model(model="s", price=SMALL, quality=0.2),
        "tiny": house.model(model="t", price={"input_usd": 0.1, "output_usd": 1}, quality=0.1, capabilities={"vision": False}),
    }


def of(payer: Payer = RED, **fields: Any) -> CallContext:
    return CallContext(key_id=payer.key_id, grant=Grant(payer=payer, **fields))


async def ask(pf: Prefrontal, model: str = "big", context: CallContext | None = None, **options: Any) -> Any:
    request = compose(WORDS, {"model": model, "max_tokens": 100, **options}, stream=False)
    return (await pf.answer(request, context or of())).record


def daily(usd: float, **fields: Any) -> dict[str, Any]:
    return {"name": "daily", "scope": "team", "window": "day", "usd": usd, **fields}


async def asked_once(house: Any) -> None:
    """Wait until the upstream has a request."""
    async with asyncio.timeout(5.0):
        while True:
            if house.asked:
                return
            await asyncio.sleep(0.005)


def spent(pf: Prefrontal) -> tuple[float, float]:
    (state,) = pf.money.treasury.states()
    return state.spent_usd, state.held_usd


async def test_peers_6_a_budget_is_charged_what_the_upstream_reported(house: Any) -> None:
    """Reserved by the estimate, settled by the usage: after the answer the books hold its exact cost and nothing is held."""
    pf = await house.open(models(house), budgets=[daily(1.0)])
    record = await ask(pf)
    assert record.usage.source == "reported"
    assert (record.team, record.cost_usd) == ("red", pytest.approx((10 * 10 + 10 * 100) / 1e6))
    assert spent(pf) == (record.cost_usd, 0.0)
    (charge,) = pf.money.vault.charges.values()  # type: ignore[attr-defined]
    assert (charge.state, charge.usage, charge.cost_pico) == ("settled", record.usage, to_pico(record.cost_usd))


async def test_peers_6_nothing_is_called_once_a_budget_is_used_up(house: Any) -> None:
    """The refusal comes before the upstream is asked, is recorded, and names the budget; other teams go on."""
    pf = await house.open(models(house), budgets=[daily(0.015)])
    for _ in range(4):  # of at most 0.0101 each, 0.0011 in truth
        await ask(pf)
    with pytest.raises(QuotaExceeded) as caught:
        await ask(pf, max_tokens=120)
    assert caught.value.details["budget"] == "daily"
    assert len(house.asked) == 4
    assert house.records[-1].error_code == "insufficient_quota"
    await ask(pf, context=of(Payer(key_id="l", team="blue")))
    assert {state.of: state.spent_usd <= 0.015 for state in pf.money.treasury.states()} == {"red": True, "blue": True}


async def test_peers_6_auto_takes_a_cheaper_model_when_money_runs_short(house: Any) -> None:
    """litellm#15223: the budget's remainder rules dear models out of the plan, the record and the candidates say so."""
    pf = await house.open(models(house), budgets=[daily(0.008, on_exhaustion="degrade")], routing={"prefer": "quality"})
    record = await ask(pf, "auto")
    assert record.model in ("small", "tiny")
    assert record.degraded == Degraded(budget="daily", instead_of="big")
    (lost,) = [c.lost for c in record.plan.candidates if c.model == "big"]
    assert "the budget 'daily' leaves" in lost
    rich = await ask(pf, "auto", of(Payer(key_id="l", team="blue")), max_tokens=10)
    assert (rich.model, rich.degraded) == ("big", None)


async def test_peers_6_a_named_model_gives_way_to_the_next_cheaper_one(house: Any) -> None:
    """Only where the budget says degrade: the dearest that still fits and can take the request, and both are named."""
    pf = await house.open(models(house), budgets=[daily(0.008, on_exhaustion="degrade")])
    record = await ask(pf, "big")
    assert (record.requested_model, record.model) == ("big", "small")
    assert record.degraded == Degraded(budget="daily", instead_of="big")
    found = await pf.machine.explain(compose(WORDS, {"model": "big", "max_tokens": 100}, stream=False), of(), pf.world())
    assert found.plan.model == "small"
    assert "daily" in found.plan.reasons[0].effect


async def test_degrading_ends_in_a_refusal_with_the_numbers(house: Any) -> None:
    """When not even the cheapest model fits, the 429 says what is left; a reflex still answers."""
    pf = await house.open(models(house), budgets=[daily(0.00001, on_exhaustion="degrade")])
    for model in ("auto", "big"):
        with pytest.raises(QuotaExceeded) as caught:
            await ask(pf, model)
        assert caught.value.details["limit"] == 0.00001
    reply = await pf.answer(compose("what is 2+2?", {"model": "auto"}, stream=False), of())
    assert (reply.record.answered_by, reply.record.cost_usd) == ("tool", 0.0)


async def test_what_is_free_always_fits_a_budget_in_dollars(house: Any) -> None:
    """An exhausted budget that degrades leaves the self-hosted model, one that denies does not stand in its way either."""
    table = models(house) | {"own": house.model(model="o", price={"input_usd": 0, "output_usd": 0})}
    for action in ("degrade", "deny"):
        pf = await house.open(table, budgets=[daily(0.0, on_exhaustion=action)])
        assert (await ask(pf, "own")).model == "own"
    assert (await ask(await house.open(table, budgets=[daily(0.0, on_exhaustion="degrade")]), "auto")).model == "own"


async def test_peers_11_an_unknown_price_is_unknown(house: Any) -> None:
    """Under a budget that denies it the model is refused by name; under one that counts zero it answers, marked in the books."""
    table = {"mystery": house.model(model="nobody-knows-this")}
    with pytest.raises(QuotaExceeded, match="price is not known"):
        await ask(await house.open(table, budgets=[daily(1.0)]), "mystery")
    pf = await house.open(table, budgets=[daily(1.0, unknown_price="count_zero")])
    record = await ask(pf, "mystery")
    assert record.cost_usd is None
    (state,) = pf.money.treasury.states()
    assert (state.spent_usd, state.unpriced, state.spent_tokens) == (0.0, 1, record.usage.total_tokens)


async def test_a_models_own_budget_moves_auto_to_another(house: Any) -> None:
    """A budget of one model that denies takes it out of `auto`; named, it is refused, and others are untouched."""
    own = {"scope": "model", "of": "big", "window": "day", "usd": 0.005}
    pf = await house.open(models(house), budgets=[own], routing={"prefer": "quality"})
    record = await ask(pf, "auto")
    assert record.model != "big"
    assert record.degraded == Degraded(budget="model big per day", instead_of="big")
    with pytest.raises(QuotaExceeded):
        await ask(pf, "big")
    assert pf.money.treasury.states()[0].spent_usd == 0.0


async def test_a_roles_budget_holds_for_every_model_that_fills_it(house: Any) -> None:
    """Spending of one model of the role leaves less for the other."""
    roles = {"writers": ["big", "small"]}
    budget = {"scope": "role", "of": "writers", "window": "day", "usd": 0.0125}
    pf = await house.open(models(house), roles=roles, budgets=[budget])
    await ask(pf, "big")
    await ask(pf, "small")
    assert pf.money.treasury.states()[0].spent_usd == pytest.approx(0.0011 + 0.00011)
    with pytest.raises(QuotaExceeded):
        await ask(pf, "big", max_tokens=120)
    await ask(pf, "tiny")


@pytest.mark.parametrize(
    ("fault", "source"),
    [
        (None, "reported"),
        (Fault(kind="usage_missing"), "estimated"),
        (Fault(kind="usage_with_choices"), "reported"),
        (Fault(kind="cut_after", after_chunks=4), "estimated"),
        (Fault(kind="error_midstream", after_chunks=4), "estimated"),
    ],
    ids=lambda fault: getattr(fault, "kind", fault),
)
async def test_peers_9_streams_cost_what_can_be_known(house: Any, fault: Fault | None, source: str) -> None:
    """litellm#14457, #36168: reported usage once, wherever it comes; without it an estimate of what was relayed, never 0."""
    pf = await house.open(models(house), budgets=[daily(1.0)])
    if fault is not None:
        house.up.fail(fault)
    stream = await pf.open_stream(compose(WORDS, {"model": "big", "max_tokens": 100}, stream=True), of())
    relayed = ""
    try:
        while chunks := await stream.read():
            relayed += "".join(chunk.text for chunk in chunks)
    except PrefrontalError:
        pass
    finally:
        await stream.aclose()
    record = stream.record
    assert record.usage.source == source
    if source == "reported":
        assert (record.usage.input_tokens, record.usage.output_tokens) == (10, 10)
    else:
        assert record.usage.input_tokens > 0
        assert 0 < record.usage.output_tokens <= len(relayed.split()) * 2
    assert record.cost_usd
    assert spent(pf) == (record.cost_usd, 0.0)


async def test_peers_9_an_explicit_zero_is_a_report(house: Any) -> None:
    """litellm#37992: usage of 0 is what the upstream says, and costs 0."""
    house.up.answers = lambda _: Answer(text="hello", input_tokens=0, output_tokens=0)
    pf = await house.open(models(house), budgets=[daily(1.0)])
    record = await ask(pf)
    assert (record.usage.source, record.cost_usd) == ("reported", 0.0)
    assert spent(pf) == (0.0, 0.0)


@pytest.mark.parametrize("stream", [True, False])
async def test_peers_9_a_client_that_leaves_pays_an_estimate(house: Any, stream: bool) -> None:
    """Left before the first token: the request's estimate, because the upstream was at work; nothing stays held."""
    house.up.fail(Fault(kind="slow_first_token", delay_s=20.0))
    pf = await house.open(models(house), budgets=[daily(1.0)])
    request = compose(WORDS, {"model": "big", "max_tokens": 100}, stream=stream)
    task = asyncio.create_task(pf.open_stream(request, of()) if stream else pf.answer(request, of()))
    await asked_once(house)
    assert spent(pf)[1] > 0
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    record = house.records[-1]
    assert (record.status, record.usage.source, record.usage.output_tokens) == ("cancelled", "estimated", 0)
    assert record.usage.input_tokens > 0
    assert spent(pf) == (record.cost_usd, 0.0)


async def test_a_failure_before_any_token_gives_the_money_back(house: Any) -> None:
    """The attempt that failed costs nothing, the one that answered what it used: two attempts, one charge."""
    house.up.fail(Fault(kind="status", status=500))
    pf = await house.open(models(house), budgets=[daily(1.0)], limits={"retries": {"base_s": 0}})
    record = await ask(pf)
    assert [attempt.outcome for attempt in record.attempts] == ["error", "ok"]
    assert spent(pf) == (record.cost_usd, 0.0)
    (charge,) = pf.money.vault.charges.values()  # type: ignore[attr-defined]
    assert charge.id == f"{record.id}/1"


async def test_an_upstream_that_dies_inside_a_whole_answer_is_paid_for_its_beginning(house: Any) -> None:
    """Each attempt that had begun to answer is settled estimated from the request, never 0; nothing stays held."""
    house.up.fail(Fault(kind="cut_after", times=5))
    pf = await house.open({"big": models(house)["big"]}, budgets=[daily(1.0)], limits={"retries": {"base_s": 0}})
    with pytest.raises(ProviderCut):
        await ask(pf)
    record = house.records[-1]
    assert len(record.attempts) > 1
    for attempt in record.attempts:
        assert (attempt.usage.source, attempt.usage.output_tokens) == ("estimated", 0)
        assert attempt.cost_usd
    assert spent(pf) == (pytest.approx(sum(attempt.cost_usd for attempt in record.attempts)), 0.0)


async def test_an_upstream_that_dies_before_the_first_token_of_a_stream_is_paid_for_its_beginning(house: Any) -> None:
    """The head of the answer had come; one that dies before that costs nothing."""
    house.up.fail(Fault(kind="cut_after", after_chunks=0, times=1))
    pf = await house.open(models(house), budgets=[daily(1.0)], limits={"retries": {"attempts": 1}})
    with pytest.raises(ProviderCut):
        await pf.open_stream(compose(WORDS, {"model": "big", "max_tokens": 100}, stream=True), of())
    record = house.records[-1]
    assert [(attempt.usage.source, attempt.usage.output_tokens) for attempt in record.attempts] == [("estimated", 0)]
    assert spent(pf) == (record.cost_usd, 0.0)


async def test_peers_10_a_stream_says_its_cost_at_its_end(house: Any) -> None:
    """litellm#12689: the last chunk's extension has the cost, the same as the books."""
    pf = await house.open(models(house), budgets=[daily(1.0)])
    stream = await pf.open_stream(compose(WORDS, {"model": "big", "max_tokens": 100}, stream=True), of())
    while await stream.read():
        pass
    assert stream.extension()["cost_usd"] == spent(pf)[0] > 0
    await stream.aclose()


async def test_peers_7_every_way_in_passes_the_ledger(house: Any) -> None:
    """bifrost#2873: chat, streams, embeddings and the library's own calls are all refused by an empty budget."""
    table = models(house) | {"vectors": house.model(model="v", price=SMALL, capabilities={"embedding": True})}
    pf = await house.open(table, budgets=[{"window": "day", "usd": 0.0}])
    with pytest.raises(QuotaExceeded):
        await pf.chat("hi", model="big")
    with pytest.raises(QuotaExceeded):
        await pf.open_stream(compose("hi", {"model": "big"}, stream=True), of())
    with pytest.raises(QuotaExceeded):
        await pf.embed(["a b c"], model="vectors")
    assert house.asked == []


async def test_embeddings_are_charged(house: Any) -> None:
    """Reserved without output, settled by the reported input."""
    table = {"vectors": house.model(model="v", price=SMALL, capabilities={"embedding": True})}
    pf = await house.open(table, budgets=[{"window": "day", "usd": 1.0}])
    done = await pf.embed(["a b c", "d"], model="vectors")
    assert done.record.usage.input_tokens == 4
    assert spent(pf) == (done.record.cost_usd, 0.0)


async def test_limits_refuse_before_anything_is_called_and_are_recorded(house: Any) -> None:
    """The third request in the minute gets its 429 with a wait; a reflex counts like any request."""
    rates = [{"scope": "key", "requests": 2}]
    pf = await house.open(models(house), limits={"rates": rates})
    await ask(pf)
    await pf.answer(compose("what is 2+2?", {"model": "auto"}, stream=False), of())
    with pytest.raises(LimitExceeded) as caught:
        await ask(pf)
    assert caught.value.retry_after_s == pytest.approx(60, abs=2)
    assert len(house.asked) == 1
    assert house.records[-1].error_code == "rate_limit_exceeded"
    await ask(pf, context=of(Payer(key_id="other")))


async def test_running_requests_are_counted_until_they_end(house: Any) -> None:
    """One at once: a second waits for nobody; after the first, also one that was cancelled, there is room."""
    house.up.fail(Fault(kind="slow_headers", delay_s=20.0))
    pf = await house.open(models(house), limits={"rates": [{"scope": "team", "of": "red", "concurrency": 1}]})
    task = asyncio.create_task(ask(pf))
    await asked_once(house)
    with pytest.raises(LimitExceeded):
        await ask(pf)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ask(pf)


async def test_a_tokens_limit_of_one_model_moves_auto_on(house: Any) -> None:
    """A limit of a model says nothing about others: the plan's next model answers."""
    rates = [{"scope": "model", "of": "big", "tokens": 150}]
    pf = await house.open(models(house), limits={"rates": rates}, routing={"prefer": "quality"})
    first, second = await ask(pf, "auto"), await ask(pf, "auto", max_tokens=200)
    assert (first.model, second.model != "big") == ("big", True)


async def test_a_model_that_is_not_allowed_does_not_exist(house: Any) -> None:
    """By name, by wire name, as a candidate, as a fallback, as a suggestion: nowhere."""
    pf = await house.open(models(house), routing={"prefer": "quality", "fallback": ["big"]})
    context = of(models=frozenset({"small"}))
    for name in ("big", "b", "bigg"):
        with pytest.raises(UnknownModel) as caught:
            await ask(pf, name, context)
        assert "big" not in caught.value.details["nearest"]
    record = await ask(pf, "auto", context)
    assert record.model == "small"
    assert [candidate.model for candidate in record.plan.candidates] == ["small"]
    assert record.plan.fallbacks == ()


async def test_a_tool_that_is_not_allowed_does_not_answer(house: Any) -> None:
    """A key without the calculator gets a model's answer; a key with it, the calculator's."""
    pf = await house.open(models(house))
    question = compose("what is 2+2?", {"model": "auto"}, stream=False)
    assert (await pf.answer(question, of(tools=frozenset()))).record.answered_by == "model"
    assert (await pf.answer(question, of(tools=frozenset({"calculator"})))).record.answered_by == "tool"


async def test_a_key_has_its_channel_and_its_content_policy(house: Any) -> None:
    """The key's channel holds where a request asks for none; its words stay out of the records."""
    pf = await house.open(models(house), records={"content": True})
    record = await ask(pf, "auto", of(channel="code", store_content=False))
    assert (record.channel, record.content) == ("code", None)
    assert (await ask(pf, "auto/chat", of(channel="code"))).channel == "chat"
    assert (await ask(pf, "auto", of(channel="gone"))).channel == "chat"
    assert house.records[-1].content is not None


async def test_a_keys_own_budget_holds(house: Any) -> None:
    """It needs no configuration."""
    pf = await house.open(models(house))
    budget = Budget(name="own", scope="key", window="day", limit_pico=to_pico(0.011))
    payer = Payer(key_id="k", budgets=(budget,))
    await pf.money.treasury.admit_key(payer)
    await ask(pf, context=of(payer))
    with pytest.raises(QuotaExceeded, match="own"):
        await ask(pf, context=of(payer))
