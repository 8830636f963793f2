"""Tiers, allowances, run budgets, the cache and many at once, through the whole house on scripted engines."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import Any

import pytest

import prefrontal
from prefrontal.app.decisions import DecisionItem
from prefrontal.contracts.decision import DecisionContext, DecisionRequest, Option, Question
from prefrontal.contracts.money import to_usd
from prefrontal.decisions.allowance import DAY_S
from prefrontal.errors import ConfigError, InvalidRequest, PrefrontalError
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.ledger.runs import run_tag
from prefrontal.machine.context import LIBRARY
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.decisions import Put, ScriptedDecisions
from prefrontal.testing.scripted import SCRIPTED_URL

LOCAL = {"profile": "llamacpp", "endpoint": SCRIPTED_URL}
HOSTED = {
    "profile": "openai-compatible",
    "endpoint": SCRIPTED_URL,
    "decisions": {"dialect": "systemone"},
    "price": {"input_usd": 3.0, "output_usd": 15.0},
}
TYPES: dict[str, Any] = {
    "next": {"instructions": "What next?", "options": ["go", "stop"], "tier": 1, "rule": "'stop'"},
    "order": {"instructions": "Which first?", "options": ["go", "stop"], "tier": 2, "rule": "'stop'"},
    "clash": {"instructions": "How to settle it?", "options": ["go", "stop"], "tier": 3, "rule": "'stop'"},
}
TIERS = {"routine": ["small"], "contextual": ["medium"], "complex": ["large"]}
ANNA = DecisionContext(agent="anna", role="engineer")


def sure(_put: Put) -> Any:
    return {"go": 0.9, "stop": 0.1}


@asynccontextmanager
async def house(script: Any = sure, *, engine: dict[str, Any] | None = None, **tree: Any) -> Any:
    """A library with three tiers; `decisions` adds to the types and tiers."""
    clock = tree.pop("clock", None) or FakeClock(auto=True)
    scripted = ScriptedDecisions(script, clock=clock, **(engine or {}))
    decisions = tree.pop("decisions", {})
    decisions = {
        **decisions,
        "types": {**TYPES, **decisions.get("types", {})},
        "tiers": {**TIERS, **decisions.get("tiers", {})},
        "cache": {"persist": False, **decisions.get("cache", {})},
    }
    models = {"small": LOCAL, "medium": LOCAL, "large": HOSTED, **tree.pop("models", {})}
    config = {"models": models, "discovery": {"enabled": False}, "decisions": decisions, **tree}
    async with prefrontal.open(config, transport=scripted, clock=clock, ledger=MemoryLedger()) as pf:
        yield pf, scripted


def asked(engine: ScriptedDecisions) -> list[str]:
    return [body["model"] for _, body in engine.bodies]


# -- the way through the tiers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "context", "model", "tier", "reason"),
    [
        ("next", {}, "small", 1, "type"),
        ("order", {}, "medium", 2, "type"),
        ("clash", {}, "large", 3, "type"),
        ("next", {"creativity": True}, "large", 3, "creativity"),
        ("next", {"novel": True, "multi_agent": True}, "large", 3, "novel_multi_agent"),
    ],
)
async def test_type_and_situation_choose_the_model(name, context, model, tier, reason):
    """Each answer says its tier and why."""
    async with house() as (pf, engine):
        found = (await pf.weigh(name, "s", context=DecisionContext(**context))).answer
        assert (found.model, found.tier, found.tier_reason, found.degraded_by) == (model, tier, reason, None)
        assert asked(engine) == [model]


async def test_a_question_of_no_type_begins_in_the_second_tier_and_a_named_model_in_none():
    """Unknown → 2; a name is obeyed."""
    async with house() as (pf, _):
        question = Question(kind="choice", instructions="?", options=(Option(value="go"), Option(value="stop")))
        assert (await pf.weigh(question, "s")).answer.tier == 2
        named = (await pf.weigh(question, "s", model="small")).answer
        assert (named.model, named.tier, named.tier_reason) == ("small", 0, None)


async def test_an_answer_that_is_not_sure_goes_up_and_costs_both_calls():
    """Low confidence of that source; attempts and cost of all tiers are summed."""

    def script(put: Put) -> Any:
        return {"go": 0.5, "stop": 0.5} if put.model == "small" else {"go": 0.1, "stop": 0.9}

    async with house(script) as (pf, engine):
        found = (await pf.weigh("next", "s")).answer
        assert (found.chosen, found.tier, found.tier_reason) == ("stop", 2, "type, low_confidence")
        assert found.attempts == 2
        assert asked(engine) == ["small", "medium"]


async def test_an_answer_that_no_tier_is_sure_of_stands():
    """The best model's word counts more than the rule's; nothing kept it from a better one."""
    async with house(lambda put: {"go": 0.5, "stop": 0.5}) as (pf, engine):
        found = (await pf.weigh("next", "s", context=ANNA)).answer
        assert (found.source, found.tier, found.attempts, found.degraded_by) == ("native", 3, 3, None)
        assert found.tier_reason == "type, low_confidence, low_confidence, low_confidence"
        assert asked(engine) == ["small", "medium", "large"]


async def test_low_label_mass_goes_up_and_ends_at_the_rule():
    """Where every model answers beside the options."""
    plain = {"profile": "openai-compatible", "endpoint": SCRIPTED_URL}
    models = {"small": plain, "medium": plain}
    tiers = {"complex": []}
    async with house(engine={"mass": 0.3}, models=models, decisions={"tiers": tiers}) as (pf, engine):
        found = (await pf.weigh("next", "s")).answer
        assert (found.source, found.fallback, found.tier) == ("rule", "low_label_mass", 0)
        assert found.tier_reason == "type, low_label_mass, low_label_mass"
        assert asked(engine) == ["small", "medium"]


async def test_an_outage_goes_down_to_the_rule():
    """3 → 2 → 1 → rule, and the answer says what was wrong first."""
    async with house(lambda put: 0) as (pf, engine):
        found = (await pf.weigh("clash", "s")).answer
        assert (found.source, found.chosen, found.degraded_by) == ("rule", "stop", "upstream_unreachable")
        assert sorted(set(asked(engine))) == ["large", "medium", "small"]


async def test_the_caller_bounds_and_names_tiers():
    """`most_tier` stops an escalation; `tier` begins elsewhere."""
    async with house(lambda put: {"go": 0.5, "stop": 0.5}) as (pf, engine):
        found = (await pf.weigh("next", "s", most_tier=1)).answer
        assert (found.tier, found.degraded_by) == (1, None)
        assert (await pf.weigh("next", "s", tier=2, most_tier=2)).answer.tier == 2
        assert asked(engine) == ["small", "medium"]


async def test_questions_of_one_request_go_their_own_ways():
    """Two tiers at once, answers in the questions' order."""
    async with house() as (pf, engine):
        types = pf.decisions.types(pf.config.decisions)
        questions = tuple(
            [
                Question(index=n, id=str(n), kind="choice", options=types.lookup(name).options, instructions="?", type=name)
                for n, name in enumerate(["next", "clash", "next"])
            ]
        )
        done = await pf.decide_all(DecisionRequest(state="s", questions=questions), LIBRARY)
        assert [one.tier for one in done.response.answers] == [1, 3, 1]
        assert Counter(asked(engine)) == {"small": 1, "large": 1}


# -- allowances ----------------------------------------------------------------------------------------------------------


async def test_an_agent_has_two_hosted_calls_a_day():
    """The third is answered a tier lower and says why; another agent, another run and the next day have their own."""
    clock = FakeClock(auto=True)
    async with house(clock=clock) as (pf, _):
        tiers = [(await pf.weigh("clash", {"n": n}, context=ANNA)).answer for n in range(3)]
        assert [(one.tier, one.degraded_by) for one in tiers] == [(3, None), (3, None), (2, "agent_allowance")]
        bernd = DecisionContext(agent="bernd")
        assert (await pf.weigh("clash", "s", context=bernd)).answer.tier == 3
        assert (await pf.weigh("clash", "s", context=ANNA, run="another")).answer.tier == 3
        clock.jump_wall(DAY_S)
        assert (await pf.weigh("clash", {"n": 9}, context=ANNA)).answer.tier == 3


async def test_many_at_once_never_take_more_than_the_allowance():
    """Fifty questions of one agent at the same moment."""
    async with house(engine={"delay_s": 0.5}) as (pf, engine):
        await pf.decide_many([DecisionItem(question="clash", state={"n": n}, context=ANNA) for n in range(50)])
        assert Counter(asked(engine))["large"] == 2


async def test_an_allowance_that_is_spent_stops_an_escalation():
    """The weak answer stands, and says what kept it from a better one."""

    def script(put: Put) -> Any:
        return {"go": 0.5, "stop": 0.5} if put.model == "medium" else {"go": 0.9, "stop": 0.1}

    async with house(script) as (pf, _):
        found = [(await pf.weigh("order", {"n": n}, context=ANNA)).answer for n in range(3)]
        assert [(one.tier, one.degraded_by) for one in found] == [(3, None), (3, None), (2, "agent_allowance")]


# -- run budgets ---------------------------------------------------------------------------------------------------------


async def test_a_run_ends_within_its_budget_and_goes_on_a_tier_lower():
    """What was spent never exceeds it; free tiers go on."""
    tiers = {"run_usd": 0.005, "cloud_calls_per_agent_day": None}
    async with house(decisions={"tiers": tiers}) as (pf, _):
        found = [(await pf.weigh("clash", {"n": n, "pad": "x" * 900}, run="r")).answer for n in range(12)]
        tiers_seen = [one.tier for one in found]
        assert (tiers_seen[0], tiers_seen[-1]) == (3, 2)
        assert found[-1].degraded_by == "insufficient_quota"
        assert 0 < spent(pf, "r") <= 0.005
        assert sum(one.cost_usd or 0.0 for one in found) == pytest.approx(spent(pf, "r"))
        other = (await pf.weigh("clash", "s", run="another")).answer
        assert other.tier == 3, "each run has its own"


def spent(pf: Any, run: str) -> float:
    return to_usd(pf.money.treasury.spent_pico("tag", "total", run_tag(run, None)))


async def test_twenty_runs_at_once_never_exceed_budget_or_allowance():
    """On one ledger, fifty decisions each, all at the same time: neither dollars nor calls are taken twice."""
    tiers = {"run_usd": 0.004}

    async with house(engine={"delay_s": 0.05}, decisions={"tiers": tiers}) as (pf, engine):
        agents = [DecisionContext(agent=f"agent {n}") for n in range(10)]

        async def simulation(run: str) -> list[Any]:
            states = [{"run": run, "n": n, "pad": "x" * 400} for n in range(50)]
            items = [DecisionItem(question="clash", state=one, context=agents[one["n"] % 10]) for one in states]
            return await pf.decide_many(items, run=run, concurrency=8)

        runs = [f"run {n}" for n in range(20)]
        found = await asyncio.gather(*[simulation(run) for run in runs])
        for run, decisions in zip(runs, found, strict=True):
            answers = [one.answer for one in decisions]
            assert 0 < spent(pf, run) <= 0.004
            assert Counter(one.fallback for one in answers) == {None: 50}
            hosted = [one.model for one in answers].count("large")
            assert 1 <= hosted <= 20, "ten agents with two calls each"
            assert {one.degraded_by for one in answers} <= {None, "insufficient_quota", "agent_allowance"}
        assert Counter(asked(engine))["large"] == sum(one.answer.tier == 3 for decisions in found for one in decisions)


async def test_a_run_goes_on_where_an_earlier_process_stopped(tmp_path):
    """What it spent is in the ledger."""
    tree = {
        "models": {"small": LOCAL, "medium": LOCAL, "large": HOSTED},
        "discovery": {"enabled": False},
        "decisions": {"types": TYPES, "tiers": {**TIERS, "run_usd": 0.003, "cloud_calls_per_agent_day": None}},
    }
    clock = FakeClock(auto=True)
    seen = []
    for _ in range(2):
        engine = ScriptedDecisions(sure, clock=clock)
        async with prefrontal.open(tree, transport=engine, clock=clock, env={"PREFRONTAL_HOME": str(tmp_path)}) as pf:
            found = [(await pf.weigh("clash", {"n": n, "pad": "x" * 900}, run="r", cache=False)).answer.tier for n in range(8)]
            seen.append((Counter(found)[3], spent(pf, "r")))
    assert seen[0][0] > seen[1][0], "the second begins with what the first left"
    assert seen[0][1] <= seen[1][1] <= 0.003


@pytest.mark.parametrize("run", ["", "x" * 201])
async def test_a_run_s_name_must_be_one(run):
    """Empty and endless names are refused before anything is asked."""
    async with house() as (pf, engine):
        with pytest.raises(InvalidRequest):
            await pf.decide("next", "s", run=run)
        assert engine.bodies == []


# -- the cache -----------------------------------------------------------------------------------------------------------

CACHED = {"types": {"next": {**TYPES["next"], "cache": {"ignore": ["now"], "steps": {"progress": 25}}}}}


async def test_the_same_question_is_asked_once():
    """The second answer says that it is cached, and costs nothing; fields that do not matter may differ."""
    async with house(decisions=CACHED) as (pf, engine):
        first = await pf.weigh("next", {"progress": 10, "now": 1})
        second = await pf.weigh("next", {"progress": 20, "now": 2})
        third = await pf.weigh("next", {"progress": 30, "now": 2})
        assert [one.answer.cached for one in (first, second, third)] == [False, True, False]
        assert (second.answer.attempts, second.answer.cost_usd, second.record.answered_by) == (0, 0.0, "cache")
        assert second.answer.probabilities == first.answer.probabilities
        assert (second.answer.tier, second.answer.tier_reason) == (1, "type")
        assert len(engine.bodies) == 2
        assert not (await pf.weigh("next", {"progress": 10, "now": 1}, cache=False)).answer.cached
        await pf.weigh("order", "s")
        assert not (await pf.weigh("order", "s")).answer.cached, "a type that declares nothing is asked again"


async def test_roles_and_agents_do_not_share_where_they_should_not():
    """Roles never; agents only where the type says that they may."""
    own = {"types": {"next": {**TYPES["next"], "cache": {"per_agent": True}}}}
    for decisions, expected in ((CACHED, [False, True, False]), (own, [False, False, False])):
        async with house(decisions=decisions) as (pf, _):
            contexts = [ANNA, DecisionContext(agent="bernd", role="engineer"), DecisionContext(agent="anna", role="reviewer")]
            assert [(await pf.weigh("next", {"a": 1}, context=one)).answer.cached for one in contexts] == expected


async def test_only_the_misses_are_sent():
    """Of many questions about one state."""
    every = {"cache": {"mode": "all"}}
    async with house(decisions=every) as (pf, engine):
        options = (Option(value="go"), Option(value="stop"))
        questions = tuple([Question(index=n, id=str(n), kind="choice", instructions=f"{n}?", options=options) for n in range(5)])
        await pf.decide_all(DecisionRequest(model="small", state="s", questions=questions[:3]), LIBRARY)
        done = await pf.decide_all(DecisionRequest(model="small", state="s", questions=questions), LIBRARY)
        assert [one.cached for one in done.response.answers] == [True, True, True, False, False]
        assert [len(body["questions"]) for _, body in engine.bodies] == [3, 2]


async def test_an_engine_that_sees_all_questions_at_once_is_cached_by_the_whole_set():
    """Its answers depend on what is asked with them."""
    joint = {"small": {**LOCAL, "decisions": {"dialect": "systemone", "joint": True}}}
    async with house(models=joint, decisions={"cache": {"mode": "all"}}) as (pf, engine):
        options = (Option(value="go"), Option(value="stop"))
        questions = tuple([Question(index=n, id=str(n), kind="choice", instructions=f"{n}?", options=options) for n in range(3)])
        for asked_now in (questions, questions[:2], questions):
            done = await pf.decide_all(DecisionRequest(model="small", state="s", questions=asked_now), LIBRARY)
        assert all(one.cached for one in done.response.answers)
        assert [len(body["questions"]) for _, body in engine.bodies] == [3, 2]


async def test_equal_questions_at_the_same_time_are_asked_once():
    """Also twice in one request; a failure leaves each to itself, and the rule's answer is not kept."""
    async with house(decisions=CACHED, engine={"delay_s": 1.0}) as (pf, engine):
        found = await asyncio.gather(*[pf.weigh("next", {"a": 1}) for _ in range(20)])
        assert len(engine.bodies) == 1
        assert Counter(one.answer.cached for one in found) == {True: 19, False: 1}
    async with house(lambda put: 0, decisions=CACHED) as (pf, engine):
        found = await asyncio.gather(*[pf.weigh("next", {"a": 1}) for _ in range(3)])
        assert {one.answer.source for one in found} == {"rule"}
        assert pf.decider.recall.memo.state().stored == 0


async def test_two_requests_that_wait_for_each_other_s_questions_both_end():
    """A asks one and two, B asks two and one."""
    async with house(decisions={"cache": {"mode": "all"}}, engine={"delay_s": 1.0}) as (pf, _):
        options = (Option(value="go"), Option(value="stop"))

        def request(order: str) -> DecisionRequest:
            questions = tuple(
                [Question(index=n, id=str(n), kind="choice", instructions=text, options=options) for n, text in enumerate(order)]
            )
            return DecisionRequest(model="small", state="s", questions=questions)

        done = await asyncio.gather(*[pf.decide_all(request(order), LIBRARY) for order in ("ab", "bc", "ca", "aa")])
        assert all(one.source == "native" for each in done for one in each.response.answers)


async def test_a_degraded_answer_is_not_kept():
    """When the better tier is back, it is asked."""
    decisions = {"types": {"clash": {**TYPES["clash"], "cache": {}}}}
    clock = FakeClock(auto=True)
    async with house(decisions=decisions, clock=clock) as (pf, _):
        for n in range(2):
            await pf.weigh("clash", {"n": n}, context=ANNA)
        assert (await pf.weigh("clash", {"n": 3}, context=ANNA)).answer.tier == 2
        clock.jump_wall(DAY_S)
        again = (await pf.weigh("clash", {"n": 3}, context=ANNA)).answer
        assert (again.tier, again.cached) == (3, False)


async def test_a_state_that_means_the_same_may_share_the_answer():
    """Where the type says so: said of the answer, and never across roles."""
    alike = {"types": {"next": {**TYPES["next"], "cache": {"similar": 0.8}}}}
    async with house(decisions=alike) as (pf, engine):
        said = ("Anna asks for a refund of the laptop", "Please refund Anna for the laptop", "Do not refund Anna for the laptop")
        found = [(await pf.weigh("next", text, context=ANNA)).answer for text in said]
        assert [(one.cached, one.similar) for one in found] == [(False, False), (True, True), (False, False)]
        reviewer = DecisionContext(agent="anna", role="reviewer")
        assert not (await pf.weigh("next", said[1], context=reviewer)).answer.cached
        assert len(engine.bodies) == 3
        assert pf.decider.recall.memo.state().similar == 1


# -- together and many ---------------------------------------------------------------------------------------------------


async def test_questions_about_one_state_at_the_same_time_share_a_body():
    """Different callers of the library, one engine, one body; the cost is shared, the answers are not mixed up."""

    def script(put: Put) -> Any:
        return {"go": 0.9, "stop": 0.1} if put.asked == "What next?" else {"go": 0.2, "stop": 0.8}

    async with house(script, decisions={"tiers": {"contextual": ["small"]}}) as (pf, engine):
        found = await asyncio.gather(*[pf.decide(name, "same state") for name in ("next", "order", "next", "order")])
        assert found == ["go", "stop", "go", "stop"]
        assert [len(body["questions"]) for _, body in engine.bodies] == [4]


async def test_many_are_answered_in_order_with_one_record_a_group():
    """An error stands in the place of its decision; the record holds all answers."""
    async with house() as (pf, _):
        records: list[Any] = []
        pf.observers.append(records.append)
        items = [DecisionItem(question="next", state={"n": n}) for n in range(300)]
        items.insert(5, DecisionItem(question="nope", state="s"))
        items.insert(7, DecisionItem(question="next", state=""))
        found = await pf.decide_many(items)
        assert len(found) == 302
        assert [place for place, one in enumerate(found) if isinstance(one, PrefrontalError)] == [5, 7]
        assert (found[0].value, round(found[0].confidence, 6)) == ("go", 0.8)
        assert len(records) == 2
        assert sum(len(record.decisions) for record in records) == 300
        assert len({(record.id, one.id) for record in records for one in record.decisions}) == 300
        assert await pf.decide_many([]) == []


async def test_many_keep_their_deadlines_from_their_own_turn():
    """A long queue of slow calls is no reason for the rule."""
    async with house(engine={"delay_s": 2.0}, decisions={"deadline_s": 3}) as (pf, _):
        found = await pf.decide_many([DecisionItem(question="next", state={"n": n}) for n in range(8)], concurrency=1)
        assert {one.answer.source for one in found} == {"native"}


async def test_a_bucket_with_edges_that_fall_is_an_error_of_the_configuration():
    """With its path."""
    wrong = {"types": {"next": {**TYPES["next"], "cache": {"buckets": {"x": [5, 1]}}}}}
    with pytest.raises(ConfigError, match="rise"):
        async with house(decisions=wrong):
            pass
