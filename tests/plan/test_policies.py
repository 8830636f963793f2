"""The shipped policies one by one, and what other packages offer."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint

import pytest

from prefrontal.config.schema_routing import BUILTIN_POLICIES
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.plan import Plan
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.plan.inputs import PlanInputs, Stay
from prefrontal.plan.planner import make_plan
from prefrontal.plan.plugins import discover_policies
from prefrontal.plan.policies import builtin_policies, capability_match, primary_with_fallback
from prefrontal.plan.scores import Scored, score, scores, weigh

Card = Callable[..., ModelCard]
Snapshot = Callable[..., PlanInputs]


def plan(inputs: PlanInputs) -> Plan:
    return make_plan(inputs, builtin_policies())


def order(found: Plan) -> list[str]:
    return [c.model for c in found.candidates if c.eligible]


def test_the_shipped_policies_are_those_the_configuration_knows() -> None:
    """Names in the schema and functions agree."""
    assert tuple(builtin_policies()) == BUILTIN_POLICIES


def test_primary_comes_first_then_the_chain_then_priority(card: Card, snapshot: Snapshot) -> None:
    """The configured order holds whatever the models are worth, and each loser is told its place."""
    cards = (card("a", quality=1.0), card("b"), card("c", priority=5), card("d", roles=("spare",)))
    inputs = snapshot(*cards, policy="primary_with_fallback", primary="b", fallback=("role/spare",))
    found = plan(inputs)
    assert order(found) == ["b", "d", "c", "a"]
    assert found.fallbacks == ("d",)
    assert found.candidates[1].lost == "it has place 2 in the configured order; 'b' has place 1 in the configured order"


def test_without_a_primary_the_highest_priority_is_it(card: Card, snapshot: Snapshot) -> None:
    """The fallback chain does not become the primary just because none is named."""
    inputs = snapshot(card("a"), card("b", priority=3), card("c"), policy="primary_with_fallback", fallback=("a",))
    assert order(plan(inputs)) == ["b", "a", "c"]
    equal = snapshot(card("a"), card("b"), policy="primary_with_fallback", fallback=("a",))
    assert order(plan(equal)) == ["b", "a"]


def test_a_primary_in_trouble_gives_way_and_stays_in_the_chain(card: Card, snapshot: Snapshot) -> None:
    """While the primary is out, the first fallback serves; when another rule goes first, the primary is a fallback."""
    cards = (card("main"), card("spare"))
    fields = {"policy": "primary_with_fallback", "primary": "main", "fallback": ("spare",)}
    assert order(plan(snapshot(*cards, runtime={"main": ModelRuntime(open=True)}, **fields))) == ["spare"]
    assert plan(snapshot(*cards, **fields)).fallbacks == ("spare",)


def test_a_configured_order_is_not_bent_by_a_conversation(card: Card, snapshot: Snapshot) -> None:
    """After the primary has recovered a conversation returns to it."""
    stay = Stay(model="spare", cached_tokens=9000)
    inputs = snapshot(card("main"), card("spare"), policy="primary_with_fallback", primary="main", stay=stay)
    assert plan(inputs).model == "main"


def test_round_robin_takes_each_model_once_a_round(card: Card, snapshot: Snapshot) -> None:
    """Consecutive turns go over all models, and fallbacks are the next in line."""
    cards = [card(name) for name in ("a", "b", "c")]
    plans = [plan(snapshot(*cards, policy="round_robin", turn=turn)) for turn in range(6)]
    assert [p.model for p in plans] == ["a", "b", "c", "a", "b", "c"]
    assert plans[1].fallbacks == ("c", "a")
    assert "turn after 2 others" in (plans[0].candidates[2].lost or "")


def test_round_robin_keeps_a_conversation_where_its_cache_is(card: Card, snapshot: Snapshot) -> None:
    """Moving between equals gains nothing."""
    stay = Stay(model="b", cached_tokens=1)
    inputs = [snapshot(card("a"), card("b"), policy="round_robin", turn=turn, stay=stay) for turn in range(4)]
    assert {plan(one).model for one in inputs} == {"b"}


def test_cheapest_takes_the_lowest_cost_and_an_unknown_price_last(card: Card, snapshot: Snapshot) -> None:
    """Cost is of this request: input and output count by their numbers."""
    from prefrontal.contracts.model import Price

    reader = card("reader", price=Price(input_usd=1.0, output_usd=50.0))
    writer = card("writer", price=Price(input_usd=50.0, output_usd=1.0))
    unknown = card("unknown", quality=1.0)
    much_in = snapshot(reader, writer, unknown, policy="cheapest", input_tokens=9000, output_tokens=10)
    much_out = snapshot(reader, writer, unknown, policy="cheapest", input_tokens=10, output_tokens=9000)
    assert order(plan(much_in)) == ["reader", "writer", "unknown"]
    assert order(plan(much_out)) == ["writer", "reader", "unknown"]
    assert plan(much_in).candidates[2].lost == "it has an unknown cost; 'reader' has a cost of at most $0.0095"


def test_cheapest_breaks_ties_by_the_full_score(card: Card, snapshot: Snapshot) -> None:
    """Of two free models the better one is taken."""
    inputs = snapshot(card("a", self_hosted=True, quality=0.1), card("b", self_hosted=True, quality=0.9), policy="cheapest")
    assert order(plan(inputs)) == ["b", "a"]


def test_fastest_takes_the_shortest_wait_measured_before_declared(card: Card, snapshot: Snapshot) -> None:
    """Queue and a start count; unknown is last."""
    runtime = {
        "measured": ModelRuntime(first_token_ms=900.0),
        "queued": ModelRuntime(first_token_ms=10.0, queue_wait_ms=5000.0),
        "asleep": ModelRuntime(first_token_ms=10.0, ready=False),
    }
    cards = [
        card("unknown"),
        card("measured", latency_ms=1.0),
        card("declared", latency_ms=100.0),
        card("queued"),
        card("asleep"),
    ]
    found = plan(snapshot(*cards, policy="fastest", runtime=runtime))
    assert order(found) == ["declared", "measured", "asleep", "queued", "unknown"]


def test_weights_sum_to_one_and_hard_tasks_lean_on_quality(card: Card, snapshot: Snapshot) -> None:
    """Complexity moves weight from cost and latency to quality."""
    easy, hard = weigh(snapshot(complexity=0.0)), weigh(snapshot(complexity=1.0))
    assert sum(easy.values()) == pytest.approx(1.0)
    assert sum(hard.values()) == pytest.approx(1.0)
    assert hard["quality"] > easy["quality"]
    assert hard["cost"] < easy["cost"]


def test_a_hard_task_goes_to_the_better_model_and_an_easy_one_to_the_cheaper(card: Card, snapshot: Snapshot) -> None:
    """The same two models, two complexities, two winners."""
    cards = (card("strong", quality=0.9, usd=6.0), card("weak", quality=0.5, usd=0.2))
    fields = {"input_tokens": 500, "output_tokens": 500}
    assert plan(snapshot(*cards, complexity=1.0, **fields)).model == "strong"
    assert plan(snapshot(*cards, complexity=0.0, **fields)).model == "weak"


def test_a_score_is_the_same_alone_and_in_company(card: Card, snapshot: Snapshot) -> None:
    """Scores do not depend on the other models."""
    cards = (card("a", quality=0.3, usd=1.0), card("b", strengths=("Chat",), priority=-50))
    inputs = snapshot(*cards)
    assert scores(cards, inputs) == [score(c, inputs) for c in cards]
    assert all(s.score >= 0 for s in scores(cards, inputs))


def test_a_policy_ranks_every_model_it_was_given(card: Card, snapshot: Snapshot) -> None:
    """Each shipped policy returns a permutation, also of nothing."""
    cards = [card(f"m{i}", usd=i % 3, latency_ms=i % 2 or None) for i in range(7)]
    inputs = snapshot(*cards)
    for policy in builtin_policies().values():
        assert sorted(s.model for s in policy(cards, inputs)) == sorted(c.id for c in cards)
        assert policy([], inputs) == []


def offered(eligible: list[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """A policy as another package would offer it."""
    return list(reversed(capability_match(eligible, inputs)))


def point(name: str, target: str) -> EntryPoint:
    return EntryPoint(name=name, value=target, group="prefrontal.policies")


def test_policies_of_other_packages_are_found_by_the_entry_points_name() -> None:
    """What the entry point names is the policy."""
    found = discover_policies([point("cautious", "prefrontal.plan.policies:primary_with_fallback")])
    assert found.by_name == {"cautious": primary_with_fallback}
    assert found.broken == ()


@pytest.mark.parametrize(
    ("name", "target", "word"),
    [
        ("x", "prefrontal.nowhere:policy", "ModuleNotFoundError"),
        ("x", "prefrontal.plan.policies:BUILTIN", "AttributeError"),
        ("x", "prefrontal.plan.policies:FALLBACK", "str is not a function"),
        ("x", "prefrontal.plan.scores:Scored", "not a function"),
        ("cheapest", "prefrontal.plan.policies:fastest", "ships with the package"),
    ],
)
def test_a_broken_policy_is_reported_and_stops_nobody(name: str, target: str, word: str) -> None:
    """The sound one beside it is still found."""
    found = discover_policies([point(name, target), point("good", "prefrontal.plan.policies:cheapest")])
    assert list(found.by_name) == ["good"]
    assert [b.name for b in found.broken] == [name]
    assert word in found.broken[0].reason


def test_two_policies_of_one_name_are_not_confused() -> None:
    """The first keeps the name, the second is reported."""
    found = discover_policies([point("p", "prefrontal.plan.policies:cheapest"), point("p", "prefrontal.plan.policies:fastest")])
    assert list(found.by_name) == ["p"]
    assert "already offered" in found.broken[0].reason
