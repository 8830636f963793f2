"""Decisions through the whole house, on a scripted engine: every way down, every reason for the rule, and what is recorded."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

import prefrontal
from prefrontal.contracts.decision import DecisionContext, DecisionRequest, Example, Option, Question
from prefrontal.contracts.record import RequestRecord
from prefrontal.decisions.typed import Ask
from prefrontal.errors import (
    ConfigError,
    Conflict,
    ContextTooLong,
    InvalidRequest,
    LimitExceeded,
    ProviderUnreachable,
    UnknownModel,
)
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.machine.context import LIBRARY
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.decisions import Put, ScriptedDecisions
from prefrontal.testing.scripted import SCRIPTED_URL


class Team(enum.Enum):
    """Which team should take this ticket?"""  # noqa: D400 - a question

    BILLING = "billing"
    TECH = "tech"


class Urgency(enum.IntEnum):
    """How urgent is it?"""  # noqa: D400 - a question

    LATER = 0
    TODAY = 1
    NOW = 2


TYPES = {
    "next": {
        "instructions": "What next?",
        "options": ["go", "stop"],
        "descriptions": {"go": "Keep going."},
        "rule": "state.done ? 'stop' : 'go'",
        "samples": [{"done": True}],
    }
}
MODEL = {"profile": "llamacpp", "endpoint": SCRIPTED_URL}


def billing(_put: Put) -> dict[str, float]:
    return {"billing": 0.8, "tech": 0.2, "go": 0.9, "stop": 0.1, "yes": 0.7, "no": 0.3, "later": 0.1, "today": 0.3, "now": 0.6}


@asynccontextmanager
async def house(script: Callable[[Put], Any] = billing, *, model: dict[str, Any] | None = None, **tree: Any) -> Any:
    """A library with one model, `m`, on a scripted engine; ``engine`` keywords are its attributes."""
    engine_settings = tree.pop("engine", {})
    clock = tree.pop("clock", None) or FakeClock(auto=True)
    engine = ScriptedDecisions(script, clock=clock, **engine_settings)
    models = tree.pop("models", None) or {"m": {**MODEL, **(model or {})}}
    decisions = {"types": TYPES, **tree.pop("decisions", {})}
    config = {"models": models, "discovery": {"enabled": False}, "decisions": decisions, **tree}
    ledger = MemoryLedger()
    async with prefrontal.open(config, transport=engine, clock=clock, ledger=ledger) as pf:
        pf.seen = []  # type: ignore[attr-defined]
        pf.observers.append(pf.seen.append)  # type: ignore[attr-defined]
        yield pf, engine


def last(pf: Any) -> RequestRecord:
    return pf.seen[-1]


# -- typed ---------------------------------------------------------------------------------------------------------------


async def test_a_python_type_in_the_same_type_out():
    """Enum, Literal, bool, a scale, and a registered name."""
    async with house() as (pf, _):
        assert await pf.decide(Team, "charged twice") is Team.BILLING
        assert await pf.decide(Literal["tech", "billing"], "charged twice") == "billing"
        assert await pf.decide(Ask[bool]("Is it about money?"), "charged twice") is True
        assert await pf.decide(Urgency, "charged twice") is Urgency.NOW
        assert await pf.decide("next", {"done": False}) == "go"
        weighed = await pf.weigh(Urgency, "charged twice")
        assert weighed.expectation == pytest.approx(1.5)
        assert weighed.probabilities[Urgency.NOW] == pytest.approx(0.6)


async def test_changing_the_model_s_answer_changes_the_decision():
    """The answer is read, not assumed."""
    async with house(lambda _put: {"tech": 1.0, "billing": 0.0}) as (pf, _):
        assert await pf.decide(Team, "charged twice") is Team.TECH


@pytest.mark.parametrize("wanted", [int, Literal["one"], "nope", Ask("x"), Ask[bool](), 3.5])
async def test_what_is_no_question_is_refused(wanted):
    """Types without options, one option, an unknown name, a yes_no that asks nothing."""
    async with house() as (pf, _):
        with pytest.raises(InvalidRequest):
            await pf.decide(wanted, "s")


@pytest.mark.parametrize("state", ["", {}, [], object(), "x" * 300_000])
async def test_a_state_there_is_nothing_in_or_too_much_is_refused(state):
    """Before anything is asked."""
    async with house() as (pf, engine):
        with pytest.raises(InvalidRequest):
            await pf.decide(Team, state)
        assert engine.bodies == []


# -- the ways down -------------------------------------------------------------------------------------------------------


async def test_native_first_and_what_it_lacks_is_asked_once():
    """501 leads to the grammar, and is remembered: the second decision does not ask for the route again."""
    async with house(engine={"native": False}) as (pf, engine):
        first = await pf.weigh(Team, "charged twice")
        assert (first.source, first.answer.attempts) == ("logprobs", 2)
        await pf.decide(Team, "again")
        assert [path for path, _ in engine.bodies] == ["/systemone", "/completions", "/completions"]
        assert engine.bodies[1][1]["grammar"] == 'root ::= "A" | "B"'
        assert engine.bodies[1][1]["post_sampling_probs"] is True
        assert [a.error_code for a in first.record.attempts] == ["capability_missing", None]


async def test_native_and_fallback_give_the_same_distribution():
    """The same weights come out of every rung that carries probabilities."""
    found = []
    for engine, model in (({}, {}), ({"native": False}, {}), ({}, {"profile": "openai-compatible"})):
        async with house(engine=engine, model=model) as (pf, _):
            found.append((await pf.weigh(Team, "charged twice")).answer.probabilities)
    assert found[0] == pytest.approx(found[1])
    assert found[0] == pytest.approx(found[2])


async def test_without_log_probabilities_samples_vote():
    """An engine that lists none is remembered for it; votes see the options in several orders and never claim certainty."""
    async with house(engine={"native": False, "logprobs": False}, model={"profile": "openai-compatible"}) as (pf, engine):
        weighed = await pf.weigh(Team, "charged twice")
        assert weighed.source == "votes"
        assert weighed.value is Team.BILLING
        assert weighed.answer.probabilities == pytest.approx((5.5 / 6, 0.5 / 6))
        shown = {body["messages"][0]["content"].splitlines()[5] for _, body in engine.bodies[1:]}
        assert shown == {"A) billing", "A) tech"}
        await pf.decide(Team, "again")
        assert sum("logprobs" in body for _, body in engine.bodies) == 1


async def test_the_technique_json_with_one_vote_is_a_statement():
    """The model's own confidence, the least trusted source."""
    types = {"t": {"instructions": "?", "options": ["billing", "tech"], "technique": "json", "votes": 1}}
    async with house(model={"profile": "openai-compatible"}, decisions={"types": types}) as (pf, engine):
        weighed = await pf.weigh("t", "s")
        assert (weighed.source, weighed.value) == ("self_report", "billing")
        assert weighed.answer.probabilities == pytest.approx((0.8, 0.2))
        assert weighed.answer.upstream_confidence == pytest.approx(0.8)
        assert "confidence" in engine.bodies[0][1]["response_format"]["json_schema"]["schema"]["required"]


async def test_a_chain_of_thought_reasons_first_and_then_decides_by_log_probabilities():
    """Two calls: prose, then one letter behind it."""

    def script(put: Put) -> Any:
        return "They speak of money." if "step by step" in put.asked and "give the answer" not in put.state else billing(put)

    types = {"t": {"instructions": "?", "options": ["billing", "tech"], "technique": "chain_of_thought"}}
    async with house(script, decisions={"types": types}) as (pf, engine):
        weighed = await pf.weigh("t", "charged twice")
        assert (weighed.source, weighed.value, weighed.answer.attempts) == ("logprobs", "billing", 2)
        assert [m["role"] for m in engine.bodies[1][1]["messages"]] == ["system", "user", "assistant", "user"]
        assert engine.bodies[1][1]["messages"][2]["content"] == "They speak of money."


async def test_examples_are_shown_where_the_technique_is_few_shot():
    """As turns before the state, in the form that is asked for."""
    example = {"state": "parcel broke", "answer": "tech"}
    types = {"t": {"instructions": "?", "options": ["billing", "tech"], "technique": "few_shot", "examples": [example]}}
    async with house(engine={"native": False}, decisions={"types": types}) as (pf, engine):
        await pf.decide("t", "charged twice")
        assert [m["content"] for m in engine.bodies[1][1]["messages"][1:]] == ["parcel broke", "B", "charged twice"]


async def test_more_options_than_letters_are_asked_in_two_stages():
    """Sixty options: the group, then within it; all sixty have a probability."""

    def script(put: Put) -> dict[str, float]:
        return {label: 1.0 if "o42" in label.replace(",", " ").split() else 0.01 for label in put.labels}

    options = tuple([Option(value=f"o{n}") for n in range(60)])
    request = DecisionRequest(state="s", questions=(Question(kind="choice", instructions="?", options=options),))
    async with house(lambda put: script(put), engine={"native": False}) as (pf, _):
        answer = (await pf.decide_all(request, LIBRARY)).response.answers[0]
        assert (answer.chosen, len(answer.probabilities), answer.degraded) == ("o42", 60, "two_stage")
        assert sum(answer.probabilities) == pytest.approx(1.0)


async def test_many_questions_go_out_as_one_native_request():
    """And by chat as one each; the answers keep the order of the questions."""
    questions = tuple(
        [
            Question(
                index=n, id=f"q{n}", kind="choice", instructions=f"{n}?", options=(Option(value="billing"), Option(value="tech"))
            )
            for n in range(20)
        ]
    )
    request = DecisionRequest(state="s", questions=questions)
    async with house() as (pf, engine):
        done = await pf.decide_all(request, LIBRARY)
        assert len(engine.bodies) == 1
        assert [a.id for a in done.response.answers] == [q.id for q in questions]
        assert done.record.attempts[0].model == "m"
    async with house(engine={"native": False}) as (pf, engine):
        done = await pf.decide_all(request, LIBRARY)
        assert len(engine.bodies) == 21
        assert all(a.source == "logprobs" for a in done.response.answers)
        assert {a.cost_usd for a in done.response.answers} == {0.0}


# -- the rule ------------------------------------------------------------------------------------------------------------


FAILURES: dict[str, dict[str, Any]] = {
    "upstream_unreachable": {"script": lambda _put: 0},
    "upstream_error": {"script": lambda _put: 500},
    "upstream_credentials": {"script": lambda _put: 401},
    "upstream_misbehaved": {"script": lambda _put: "I would rather talk about the weather."},
    "timeout": {"script": billing, "engine": {"delay_s": 60.0}},
    "low_label_mass": {"script": billing, "engine": {"native": False, "mass": 0.2}, "model": {"profile": "openai-compatible"}},
    "insufficient_quota": {"script": billing, "budgets": [{"window": "day", "tokens": 1}]},
}


@pytest.mark.parametrize("code", list(FAILURES))
async def test_whatever_happens_to_the_models_the_rule_answers(code):
    """Outage, error, key, prose, time, mass, budget: source `rule`, the reason beside it, and the rule reads the state."""
    for done, wanted in ((True, "stop"), (False, "go")):
        settings = dict(FAILURES[code])
        async with house(settings.pop("script"), **settings) as (pf, _):
            weighed = await pf.weigh("next", {"done": done})
            assert (weighed.value, weighed.source, weighed.answer.fallback) == (wanted, "rule", code)
            assert weighed.confidence == 1.0
            assert (last(pf).answered_by, last(pf).model, last(pf).status) == ("rule", "rule", "ok")


async def test_a_question_without_a_rule_gets_equal_probabilities_or_the_error():
    """Equal ones have confidence 0, so nobody takes them for an answer; the error is a setting."""
    async with house(lambda _put: 0) as (pf, _):
        weighed = await pf.weigh(Team, "s")
        assert (weighed.source, weighed.confidence, weighed.answer.fallback) == ("rule", 0.0, "upstream_unreachable")
        ruled = await pf.weigh(Ask[Team]("?", rule=lambda state: Team.TECH if "crash" in state else Team.BILLING), "it crashed")
        assert (ruled.value, ruled.source) == (Team.TECH, "rule")
    async with house(lambda _put: 0, decisions={"without_rule": "error"}) as (pf, _):
        with pytest.raises(ProviderUnreachable):
            await pf.decide(Team, "s")
        assert last(pf).status == "error"
        assert await pf.decide("next", {"done": True}) == "stop"


async def test_without_a_rule_an_answer_of_little_mass_is_kept_and_marked():
    """It is better than none."""
    async with house(engine={"native": False, "mass": 0.2}, model={"profile": "openai-compatible"}) as (pf, _):
        weighed = await pf.weigh(Team, "s")
        assert (weighed.value, weighed.source, weighed.answer.degraded) == (Team.BILLING, "logprobs", "low_label_mass")
        assert weighed.answer.label_mass == pytest.approx(0.2)


async def test_without_any_model_rules_answer():
    """No model is configured, and none is needed."""
    async with house(
        models={"e": {**MODEL, "capabilities": {"embedding": True, "chat": False}, "decisions": {"dialect": None}}}
    ) as (pf, engine):
        pf.registry.cards.clear()
        weighed = await pf.weigh("next", {"done": True})
        assert (weighed.value, weighed.answer.fallback) == ("stop", "no_model")
        assert engine.bodies == []


async def test_the_deadline_holds_however_long_the_engine_takes():
    """The caller's, on the clock of the house; the rule answers at it."""
    clock = FakeClock(auto=True)
    async with house(billing, engine={"delay_s": 60.0}, clock=clock) as (pf, _):
        before = clock.monotonic()
        weighed = await pf.weigh("next", {"done": True}, deadline_s=0.5)
        assert weighed.source == "rule"
        assert clock.monotonic() - before == pytest.approx(0.5, abs=0.05)


async def test_a_rule_that_breaks_later_is_a_finding_and_no_failure():
    """Its samples were fine; the state of today is not."""
    async with house(lambda _put: 0) as (pf, _):
        weighed = await pf.weigh("next", {"other": 1})
        assert weighed.answer.finding is not None
        assert weighed.answer.finding.startswith("rule_raised")
        assert weighed.confidence == 0.0


async def test_the_context_reaches_the_rule():
    """Agent, role, signals and the rest."""
    types = {"t": {"instructions": "?", "options": ["wait", "ask"], "rule": "novel && signals['age'] > 2.0 ? 'ask' : 'wait'"}}
    async with house(lambda _put: 0, decisions={"types": types}) as (pf, _):
        assert await pf.decide("t", "s") == "wait"
        assert await pf.decide("t", "s", context=DecisionContext(novel=True, signals={"age": 3.0})) == "ask"


# -- which model, what it costs, what is recorded ------------------------------------------------------------------------


async def test_the_next_model_is_asked_before_the_rule():
    """By the type's list; an outage of the first leads to the second."""
    types = {"next": {**TYPES["next"], "models": ["down", "up"]}}
    models = {"down": MODEL, "up": MODEL, "third": MODEL}
    async with house(lambda put: 0 if put.model == "down" else billing(put), models=models, decisions={"types": types}) as (
        pf,
        _,
    ):
        weighed = await pf.weigh("next", {"done": True})
        assert (weighed.source, weighed.answer.model, weighed.value) == ("native", "up", "go")
        named = await pf.weigh("next", {"done": True}, model="down")
        assert (named.source, named.value) == ("rule", "stop")
        with pytest.raises(UnknownModel):
            await pf.decide("next", {"done": True}, model="nobody")


async def test_models_of_the_role_decision_come_first_and_embedding_models_never():
    """`auto` asks who is meant for it."""
    models = {
        "a": {**MODEL, "priority": 9},
        "b": {**MODEL, "roles": ["decision"]},
        "e": {**MODEL, "capabilities": {"embedding": True, "chat": False}, "decisions": {"dialect": None}, "priority": 99},
    }
    async with house(models=models) as (pf, engine):
        await pf.decide(Team, "s")
        assert engine.bodies[0][1]["model"] == "b"
        with pytest.raises(InvalidRequest):
            await pf.decide(Team, "s", model="e")


async def test_a_decision_is_priced_and_recorded():
    """Usage, cost and answers are in the record; words of a question made for it are not, those of the configuration are."""
    price = {"input_usd": 1000.0, "output_usd": 0.0}
    async with house(model={"profile": "openai-compatible", "decisions": {"dialect": "systemone"}, "price": price}) as (pf, _):
        weighed = await pf.weigh(Team, "charged twice")
        record = last(pf)
        assert record.usage.source == "reported"
        assert record.usage.input_tokens > 0
        assert record.cost_usd == pytest.approx(record.usage.input_tokens / 1000)
        assert weighed.answer.cost_usd == pytest.approx(record.cost_usd)
        assert record.decisions[0].values == ("0", "1")
        assert record.decisions[0].source == "native"
        assert (record.route, record.dialect, record.answered_by, record.model) == ("library", "decisions/library", "model", "m")
        await pf.decide("next", {"done": True})
        assert last(pf).decisions[0].values == ("go", "stop")


async def test_stored_content_holds_the_words():
    """Where the operator keeps content, decisions keep theirs."""
    async with house(records={"content": True}) as (pf, _):
        await pf.decide(Team, "charged twice")
        assert last(pf).decisions[0].values == ("billing", "tech")
        assert "charged twice" in str(last(pf).content)


async def test_rate_limits_hold_for_decisions():
    """A caller's own limit is no outage: it is told, and no rule hides it."""
    rates = [{"scope": "global", "requests": 1, "window": "hour"}]
    async with house(limits={"rates": rates}) as (pf, _):
        await pf.decide(Team, "s")
        with pytest.raises(LimitExceeded):
            await pf.decide(Team, "s")


async def test_a_state_beyond_every_window_is_an_error_that_says_so():
    """Before anything is sent, where the window is known."""
    async with house(model={"context_tokens": 300}) as (pf, engine):
        with pytest.raises(ContextTooLong) as refused:
            await pf.decide("next", {"done": "word " * 3000})
        assert refused.value.param == "state"
        assert engine.bodies == []


async def test_a_refusal_is_said_and_the_rule_stands_in():
    """OpenAI's dialect has refusals; the value a program goes on with is the rule's."""
    async with house(model={"profile": "openai-compatible"}) as (pf, engine):
        engine._chat = lambda body: _refusing()  # type: ignore[method-assign]
        weighed = await pf.weigh("next", {"done": True})
        assert (weighed.answer.refusal, weighed.value, weighed.answer.fallback) == (True, "stop", "refused")


def _refusing() -> Any:
    import msgspec

    from prefrontal.contracts.wire import WireResponse

    message = {"role": "assistant", "content": None, "refusal": "I cannot."}
    body = {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": None}
    return WireResponse(status=200, headers={}, body=msgspec.json.encode(body))


# -- registered types ----------------------------------------------------------------------------------------------------


async def test_types_are_registered_in_python_too():
    """With a rule over the type's own values; a name is taken once."""
    async with house(lambda _put: 0) as (pf, _):
        pf.decisions.register("team", Team, rule=lambda state: {Team.TECH: 3, Team.BILLING: 1}, samples=["s"])
        weighed = await pf.weigh("team", "s")
        assert weighed.answer.probabilities == pytest.approx((0.25, 0.75))
        assert weighed.value == "tech"
        with pytest.raises(Conflict):
            pf.decisions.register("team", Team)
        with pytest.raises(ConfigError):
            pf.decisions.register("bad", Team, rule=lambda state: state["x"], samples=[{}])
        with pytest.raises(ConfigError):
            pf.decisions.register("worse", Team, examples=[Example(state="s", answer="nobody")])


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ({"options": ["a", "a"]}, "options"),
        ({"options": ["a"]}, "options"),
        ({"options": ["a", "b"], "rule": "state.("}, ""),
        ({"options": ["a", "b"], "rule": "state.x", "samples": [{"x": "c"}]}, ""),
        ({"options": ["a", "b"], "rule": "'a'", "rule_function": "m:f"}, "rule"),
        ({"options": ["a", "b"], "rule_function": "nowhere:f"}, ""),
        ({"options": ["a", "b"], "template": "v0"}, ""),
        ({"options": ["a", "b"], "examples": [{"state": "s", "answer": "c"}]}, "examples"),
        ({"options": ["a", "b"], "descriptions": {"c": "x"}}, "descriptions"),
        ({"kind": "score", "options": ["a"]}, "options"),
        ({"kind": "yes_no", "options": ["a", "b"]}, "options"),
    ],
)
async def test_a_wrong_type_is_told_when_the_configuration_is_loaded(entry, path):
    """With its path, before anything serves."""
    with pytest.raises(ConfigError) as wrong:
        async with house(decisions={"types": {"t": {"instructions": "?", **entry}}}):
            pass
    assert str(wrong.value.path).startswith("decisions.types.t" + (f".{path}" if path else ""))
