"""The plan as a whole: who wins and loses, and whether a person is told why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefrontal.chat.request import Hints
from prefrontal.config.schema_routing import Channel, EffortPolicy, TaskRoute
from prefrontal.contracts.effort import Effort
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.plan import Plan
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.plan.inputs import PlanInputs, Stay, ToolOffer
from prefrontal.plan.planner import make_plan
from prefrontal.plan.policies import builtin_policies
from prefrontal.plan.scores import Scored

Card = Callable[..., ModelCard]
Snapshot = Callable[..., PlanInputs]


def plan(inputs: PlanInputs, **extra: Any) -> Plan:
    return make_plan(inputs, {**builtin_policies(), **extra})


def lost(found: Plan, model: str) -> str:
    return next(c.lost for c in found.candidates if c.model == model) or ""


def rules(found: Plan) -> dict[str, str]:
    return {reason.rule: reason.effect for reason in found.reasons}


def test_every_model_is_listed_and_only_the_chosen_one_did_not_lose(card: Card, snapshot: Snapshot) -> None:
    """Able and unable models alike are candidates; exactly the chosen one has no reason for losing."""
    inputs = snapshot(card("a", quality=0.9), card("b", quality=0.2), card("c", cannot=("vision",)), vision=False)
    found = plan(inputs)
    assert sorted(c.model for c in found.candidates) == ["a", "b", "c"]
    assert [c.model for c in found.candidates if c.lost is None] == [found.model] == ["a"]


def test_the_reason_for_losing_names_what_the_model_is_behind_in(card: Card, snapshot: Snapshot) -> None:
    """A model that only costs more is told so, and one that is only slower too."""
    inputs = snapshot(
        card("good", quality=0.5, usd=0.1, latency_ms=100.0),
        card("dear", quality=0.5, usd=90.0, latency_ms=100.0),
        card("slow", quality=0.5, usd=0.1, latency_ms=9000.0),
    )
    found = plan(inputs)
    assert found.model == "good"
    assert lost(found, "dear").endswith("it is expected to cost more")
    assert lost(found, "slow").endswith("its first token is expected later")


def test_a_strength_wins_over_a_small_difference_in_quality(card: Card, snapshot: Snapshot) -> None:
    """The model declared strong at the task type is taken, and for another task type the better one."""
    cards = (card("coder", quality=0.6, strengths=("coding",)), card("writer", quality=0.7))
    assert plan(snapshot(*cards, task_type="code")).model == "coder"
    assert plan(snapshot(*cards, task_type="chat_writing")).model == "writer"


def test_a_weakness_loses(card: Card, snapshot: Snapshot) -> None:
    """A model declared weak at the task type loses to an equal one."""
    cards = (card("a", weaknesses=("math",)), card("b"))
    assert plan(snapshot(*cards, task_type="math")).model == "b"
    assert plan(snapshot(*cards, task_type="code")).model == "a"


def test_a_role_counts_as_a_strength_however_it_was_given(card: Card, snapshot: Snapshot) -> None:
    """A model with the role coding is preferred for code, by its own entry or by the roles table."""
    assert plan(snapshot(card("a"), card("b", roles=("coding",)), task_type="code")).model == "b"
    assert plan(snapshot(card("a"), card("b"), roles={"coding": ("b",)}, task_type="code")).model == "b"


def test_priority_decides_between_equals(card: Card, snapshot: Snapshot) -> None:
    """Of two equal models the one of higher priority wins; without priorities the name decides."""
    assert plan(snapshot(card("a"), card("b", priority=1))).model == "b"
    assert plan(snapshot(card("a"), card("b"))).model == "a"


@pytest.mark.parametrize(("prefer", "winner"), [("quality", "big"), ("cost", "small"), ("latency", "quick")])
def test_the_callers_preference_decides(card: Card, snapshot: Snapshot, prefer: Any, winner: str) -> None:
    """Quality, cost and latency each have their own winner."""
    cards = (
        card("big", quality=0.95, usd=40.0, latency_ms=4000.0),
        card("small", quality=0.4, usd=0.05, latency_ms=2500.0),
        card("quick", quality=0.4, usd=40.0, latency_ms=50.0),
    )
    assert plan(snapshot(*cards, hints=Hints(prefer=prefer))).model == winner
    assert plan(snapshot(*cards, channel=Channel(prefer=prefer))).model == winner
    assert plan(snapshot(*cards, prefer=prefer)).model == winner


def test_the_callers_preference_comes_before_a_configured_policy(card: Card, snapshot: Snapshot) -> None:
    """Under `cheapest`, a caller who wants quality gets the good model and a reason that says so."""
    cards = (card("good", quality=0.95, usd=10.0), card("cheap", quality=0.2, usd=0.1))
    assert plan(snapshot(*cards, policy="cheapest")).model == "cheap"
    found = plan(snapshot(*cards, policy="cheapest", hints=Hints(prefer="quality")))
    assert (found.model, found.policy) == ("good", "capability_match")
    assert "prefers quality" in rules(found)["preference"]


def test_a_role_asked_for_by_name_is_strict(card: Card, snapshot: Snapshot) -> None:
    """Only members of the role are taken or fall back, and the others are told why."""
    inputs = snapshot(card("a", quality=0.9), card("b", roles=("coding",)), card("c", roles=("coding",)), role="coding")
    found = plan(inputs)
    assert {found.model, *found.fallbacks} == {"b", "c"}
    assert lost(found, "a") == "it does not have the role 'coding'"


def test_a_model_without_automatic_work_is_left_out_of_auto_but_serves_its_role(card: Card, snapshot: Snapshot) -> None:
    """`auto: false` hides a model from auto and not from role/NAME."""
    cards = (card("a"), card("b", quality=0.99, auto=False, roles=("coding",)))
    assert "no automatic work" in lost(plan(snapshot(*cards)), "b")
    assert plan(snapshot(*cards, role="coding")).model == "b"


def test_a_channels_roles_hold_as_long_as_a_model_has_one(card: Card, snapshot: Snapshot) -> None:
    """The channel takes its role's model; where no model has the role it takes any."""
    channel = Channel(roles=("coding",))
    with_role = snapshot(card("a", quality=0.9), card("b", roles=("coding",)), channel=channel, channel_name="code")
    assert plan(with_role).model == "b"
    assert "'code'" in lost(plan(with_role), "a")
    assert plan(snapshot(card("a", quality=0.9), card("b"), channel=channel)).model == "a"


def test_a_channels_models_are_the_only_ones(card: Card, snapshot: Snapshot) -> None:
    """A channel that names models never takes another, not even to fall back."""
    found = plan(snapshot(card("a", quality=0.9), card("b"), channel=Channel(models=("b",))))
    assert (found.model, found.fallbacks) == ("b", ())


def test_one_prompt_over_three_channels_gives_three_plans(card: Card, snapshot: Snapshot) -> None:
    """Effort, preference and role of a channel each change the plan."""
    cards = (card("chat", quality=0.7), card("coder", quality=0.6, roles=("coding",)), card("quick", latency_ms=5.0))
    plans = [
        plan(snapshot(*cards, channel=channel, channel_name=name))
        for name, channel in (
            ("chat", Channel()),
            ("code", Channel(roles=("coding",), effort=0.6)),
            ("system_health", Channel(prefer="latency", effort=0.0)),
        )
    ]
    assert len({(p.model, p.effort.score, p.channel) for p in plans}) == 3
    assert len({p.effort.score for p in plans}) == 3


def test_the_task_table_puts_its_models_first_in_its_order(card: Card, snapshot: Snapshot) -> None:
    """Named models come first as written, then the role's by score, then the rest; the reason names the row."""
    cards = (card("a", quality=0.99), card("b"), card("c"), card("d", roles=("r",)), card("e", quality=0.9, roles=("r",)))
    found = plan(snapshot(*cards, task_type="code", task_routing={"code": TaskRoute(models=("c", "b"), role="r")}))
    assert [c.model for c in found.candidates] == ["c", "b", "e", "d", "a"]
    assert "task_routing.code" in lost(found, "a")
    assert plan(snapshot(*cards, task_type="math", task_routing={"code": TaskRoute(models=("c",))})).model == "a"


def test_a_task_row_whose_models_cannot_serve_changes_nothing(card: Card, snapshot: Snapshot) -> None:
    """A row that names only a model that is out leaves the policy's order."""
    cards = (card("a"), card("b", enabled=False))
    assert plan(snapshot(*cards, task_type="code", task_routing={"code": TaskRoute(models=("b",))})).model == "a"


def test_the_policy_of_a_task_row_beats_the_channels_and_that_the_configurations(card: Card, snapshot: Snapshot) -> None:
    """Each level is used when the one before says nothing."""
    cards = (card("a", usd=1.0), card("b", usd=2.0))
    row = {"code": TaskRoute(policy="cheapest")}
    rest = {"channel": Channel(policy="fastest"), "policy": "round_robin"}
    assert plan(snapshot(*cards, task_type="code", task_routing=row, **rest)).policy == "cheapest"
    assert plan(snapshot(*cards, task_type="math", task_routing=row, **rest)).policy == "fastest"
    assert plan(snapshot(*cards, policy="round_robin")).policy == "round_robin"


def test_a_conversation_stays_while_its_cache_is_worth_more_than_the_move(card: Card, snapshot: Snapshot) -> None:
    """A little better is not enough to leave a full cache, much better is, and both are said."""
    here, better, best = (
        card("here", quality=0.5),
        card("better", quality=0.6),
        card("best", quality=1.0, strengths=("chat",), usd=0.1),
    )
    stay = Stay(model="here", cached_tokens=20_000)
    kept = plan(snapshot(here, better, stay=stay))
    assert kept.model == "here"
    assert "stays on 'here'" in rules(kept)["affinity"]
    assert "affinity" in lost(kept, "better")
    moved = plan(snapshot(here, best, stay=stay))
    assert moved.model == "best"
    assert "moves off 'here'" in rules(moved)["affinity"]


def test_more_cached_tokens_hold_more(card: Card, snapshot: Snapshot) -> None:
    """The same gain moves a conversation with a small cache and keeps one with a large cache."""
    cards = (card("here", quality=0.3), card("better", quality=0.9))
    assert plan(snapshot(*cards, stay=Stay(model="here", cached_tokens=10))).model == "better"
    assert plan(snapshot(*cards, stay=Stay(model="here", cached_tokens=50_000))).model == "here"


def test_a_conversation_does_not_stay_on_a_model_that_cannot_serve(card: Card, snapshot: Snapshot) -> None:
    """A must-have beats the cache."""
    cards = (card("here"), card("eyes", can=("chat", "vision")))
    assert plan(snapshot(*cards, vision=True, stay=Stay(model="here", cached_tokens=9999))).model == "eyes"


def test_affinity_can_be_switched_off(card: Card, snapshot: Snapshot) -> None:
    """With affinity off the best model is taken whatever is cached elsewhere."""
    from prefrontal.config.schema_routing import Affinity

    cards = (card("here", quality=0.5), card("better", quality=0.6))
    stay = Stay(model="here", cached_tokens=20_000)
    assert plan(snapshot(*cards, stay=stay, affinity=Affinity(enabled=False))).model == "better"


def test_the_task_table_moves_a_young_conversation_and_not_one_with_a_full_cache(card: Card, snapshot: Snapshot) -> None:
    """What the table says counts as a gain, weighed against the cache like any other."""
    cards = (card("here"), card("coder"))
    row = {"code": TaskRoute(models=("coder",))}
    young, old = Stay(model="here", cached_tokens=50), Stay(model="here", cached_tokens=30_000)
    assert plan(snapshot(*cards, task_type="code", task_routing=row, stay=young)).model == "coder"
    assert plan(snapshot(*cards, task_type="code", task_routing=row, stay=old)).model == "here"


def test_the_fallback_chain_is_taken_whole_and_in_order_with_roles_spelled_out(card: Card, snapshot: Snapshot) -> None:
    """A configured chain replaces the policy's order; models that cannot serve drop out of it."""
    cards = (
        card("a", quality=0.99),
        *[card(f"m{i}", roles=("spare",) if i > 3 else ()) for i in range(8)],
        card("off", enabled=False),
    )
    found = plan(snapshot(*cards, fallback=("m3", "off", "role/spare", "m3", "nobody")))
    assert found.model == "a"
    assert found.fallbacks == ("m3", "m4", "m5", "m6", "m7")


def test_without_a_chain_the_next_best_models_follow(card: Card, snapshot: Snapshot) -> None:
    """The policy's own order is the chain, up to four models."""
    found = plan(snapshot(*[card(f"m{i}", quality=1 - i / 10) for i in range(7)]))
    assert (found.model, found.fallbacks) == ("m0", ("m1", "m2", "m3", "m4"))


def test_a_caller_may_forbid_falling_back(card: Card, snapshot: Snapshot) -> None:
    """`fallback: false` leaves one model, and the plan says so."""
    found = plan(snapshot(card("a"), card("b"), hints=Hints(fallback=False)))
    assert found.fallbacks == ()
    assert "forbids" in rules(found)["fallback"]


def test_a_cost_limit_rules_out_what_may_cost_more_and_what_has_no_price(card: Card, snapshot: Snapshot) -> None:
    """The caller's limit is a must-have: dear and unpriced models are out, free local ones are in."""
    cards = (card("cheap", usd=1.0), card("dear", usd=1000.0), card("unpriced"), card("local", self_hosted=True))
    found = plan(snapshot(*cards, hints=Hints(max_cost_usd=0.001)))
    assert {found.model, *found.fallbacks} == {"cheap", "local"}
    assert "it may cost $0.2" in lost(found, "dear")
    assert "its price is unknown" in lost(found, "unpriced")


def test_a_model_in_trouble_is_left_out_with_the_reason(card: Card, snapshot: Snapshot) -> None:
    """An open breaker, a full queue and a spent limit each rule a model out."""
    runtime = {
        "broken": ModelRuntime(open=True),
        "full": ModelRuntime(full=True),
        "spent": ModelRuntime(spent_out=True),
        "unpriced": ModelRuntime(spent_out=True),
    }
    cards = (card("ok", quality=0.1), card("broken"), card("full"), card("spent", usd=1.0), card("unpriced"))
    found = plan(snapshot(*cards, runtime=runtime))
    assert found.model == "ok"
    assert "failed repeatedly" in lost(found, "broken")
    assert "queue" in lost(found, "full")
    assert "spend limit" in lost(found, "spent")
    assert "without a known price" in lost(found, "unpriced")


def test_a_busy_and_slow_model_loses_to_an_idle_one(card: Card, snapshot: Snapshot) -> None:
    """Measured latency and occupancy count, and a measured latency replaces the declared one."""
    busy = ModelRuntime(in_flight=8, limit=8, first_token_ms=9000.0, queue_wait_ms=3000.0)
    assert plan(snapshot(card("a", latency_ms=1.0), card("b", latency_ms=900.0), runtime={"a": busy})).model == "b"


def test_effort_comes_from_the_caller_then_the_row_then_the_channel_then_the_default(card: Card, snapshot: Snapshot) -> None:
    """Each source is used when those before it are silent, and named."""
    row = {"code": TaskRoute(effort=0.7)}
    sources: dict[str, Any] = {
        "asked_effort": Effort(score=0.9, origin="caller"),
        "task_routing": row,
        "channel": Channel(effort=0.3),
        "effort": EffortPolicy(default=0.2),
    }
    seen = []
    for name in list(sources):
        found = plan(snapshot(card("a"), task_type="code", **sources))
        seen.append(found.effort.score)
        del sources[name]
    computed = plan(snapshot(card("a"), task_type="code"))
    assert seen == [0.9, 0.7, 0.3, 0.2]
    assert (computed.effort.origin, bool(computed.effort.factors)) == ("policy", True)


def test_a_computed_effort_is_held_to_its_bounds_and_says_so(card: Card, snapshot: Snapshot) -> None:
    """routing.effort.max caps the score."""
    found = plan(snapshot(card("a"), complexity=0.9, effort=EffortPolicy(max=0.4)))
    assert found.effort.score == 0.4
    assert "held to" in rules(found)["effort"]


def test_a_harder_task_is_planned_with_more_effort(card: Card, snapshot: Snapshot) -> None:
    """Complexity carries the score."""
    scores = [plan(snapshot(card("a"), complexity=c)).effort.score or 0.0 for c in (0.1, 0.5, 0.9)]
    assert scores == sorted(scores)
    assert scores[0] < scores[2]


def test_a_reflex_needs_no_model_and_every_model_is_told_so(card: Card, snapshot: Snapshot) -> None:
    """The plan of a tool names it and lists the models as not needed."""
    offer = ToolOffer(tool="calculator", arguments={"x": 1}, reason="a sum")
    found = plan(snapshot(card("a"), card("b"), offer=offer))
    assert (found.path, found.tool, found.model, found.tool_arguments) == ("tool", "calculator", None, {"x": 1})
    assert all("calculator" in (c.lost or "") for c in found.candidates)
    assert len(found.candidates) == 2


def test_the_estimate_is_the_callers_cap_or_the_expected_answer_within_the_models_limit(card: Card, snapshot: Snapshot) -> None:
    """Tokens and money to reserve follow the cap, and never exceed what the model can give."""
    model = card("a", usd=10.0, max_output_tokens=500)
    assert plan(snapshot(model, output_tokens=200)).estimate.output_tokens == 200
    assert plan(snapshot(model, caller_cap=300)).estimate.output_tokens == 300
    large = plan(snapshot(model, caller_cap=9000)).estimate
    assert large.output_tokens == 500
    assert large.cost_usd == pytest.approx(600 * 10 / 1e6)


def test_a_missing_policy_is_replaced_and_reported(card: Card, snapshot: Snapshot) -> None:
    """A name nobody knows does not stop a request."""
    found = plan(snapshot(card("a"), policy="gone"))
    assert (found.model, found.policy) == ("a", "capability_match")
    assert "there is no such policy" in rules(found)["policy gone"]


@pytest.mark.parametrize("answer", [[], [Scored(model="zz", score=1.0, parts={})], None])
def test_a_policy_that_ranks_other_models_is_replaced_and_reported(card: Card, snapshot: Snapshot, answer: Any) -> None:
    """A plug-in that loses models, invents one or fails has no effect but a reason."""
    found = plan(snapshot(card("a"), card("b"), policy="mine"), mine=lambda eligible, inputs: answer)
    assert found.policy == "capability_match"
    assert len(found.candidates) == 2
    assert "stands in" in rules(found)["policy mine"]


def test_a_plug_in_policy_ranks(card: Card, snapshot: Snapshot) -> None:
    """A sound policy of another package decides."""

    def backwards(eligible: Any, inputs: PlanInputs) -> list[Scored]:
        return [Scored(model=c.id, score=float(i), parts={}) for i, c in reversed(list(enumerate(eligible)))]

    found = plan(snapshot(card("a"), card("b"), card("c"), policy="backwards"), backwards=backwards)
    assert (found.model, found.policy, found.fallbacks) == ("c", "backwards", ("b", "a"))
