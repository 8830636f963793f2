"""What holds of every plan: it is the same every time, no model that cannot serve is chosen, and there is always an answer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from prefrontal.chat.request import Hints
from prefrontal.config.schema_routing import Affinity, Channel, Routing, TaskRoute
from prefrontal.contracts.assessment import TASK_TYPES, Assessment, Needs
from prefrontal.contracts.model import Capability, ModelCard, Price, PriceWindow
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.errors import CapabilityMissing, ContextTooLong, NoModelAvailable
from prefrontal.plan.inputs import PlanInputs, Stay
from prefrontal.plan.musts import ESTIMATE_SLACK, ruled_out
from prefrontal.plan.planner import make_plan
from prefrontal.plan.policies import builtin_policies
from prefrontal.plan.scores import request_cost_usd

NAMES = [f"m{i}" for i in range(6)]
ROLES = ["coding", "vision", "spare"]
WORDS = st.lists(st.sampled_from(["code", "math", "writing", "vision", "odd"]), max_size=2).map(tuple)
POLICIES = [*builtin_policies(), "no-such-policy"]

maybe = st.none()
usd = maybe | st.floats(0, 100)
minutes = st.integers(0, 1440)
windows = st.lists(st.builds(PriceWindow, start_minute=minutes, end_minute=minutes, input_usd=usd, output_usd=usd), max_size=2)
capabilities = st.dictionaries(
    st.sampled_from(["chat", "vision", "audio", "files", "tools", "structured_output", "thinking", "embedding", "custom"]),
    st.builds(Capability, value=st.booleans(), origin=st.just("config")),
)
cards = st.builds(
    ModelCard,
    id=st.just("?"), wire_name=st.just("?"), profile=st.just("p"),
    capabilities=capabilities,
    context_tokens=maybe | st.integers(1, 10_000), max_output_tokens=maybe | st.integers(1, 4000),
    price=st.builds(Price, input_usd=usd, output_usd=usd, windows=windows.map(tuple)),
    roles=st.lists(st.sampled_from(ROLES), max_size=2, unique=True).map(tuple),
    strengths=WORDS, weaknesses=WORDS, tags=WORDS,
    priority=st.integers(-1000, 1000), latency_ms=maybe | st.floats(0.1, 1e6), quality=maybe | st.floats(0, 1),
    self_hosted=st.booleans(), enabled=st.booleans() | st.just(True), auto=st.booleans() | st.just(True),
)  # fmt: skip
runtimes = st.builds(
    ModelRuntime,
    open=st.just(False) | st.booleans(), full=st.just(False) | st.booleans(), spent_out=st.just(False) | st.booleans(),
    in_flight=st.integers(0, 9), limit=st.integers(0, 9), queue_wait_ms=st.floats(0, 1e6),
    first_token_ms=maybe | st.floats(0, 1e6), ready=st.sampled_from([None, True, False]),
)  # fmt: skip
names = st.lists(st.sampled_from([*NAMES, "gone"]), max_size=3).map(tuple)
needs = st.builds(
    Needs,
    thinking=st.booleans(), tools=st.booleans(), vision=st.booleans(), embedding=st.sampled_from([False, False, False, True]),
    input_tokens=st.integers(0, 20_000), output_tokens=st.integers(0, 5000),
    custom=st.sampled_from([(), (), ("custom",)]),
)  # fmt: skip
hints = st.builds(
    Hints,
    prefer=st.sampled_from([None, "quality", "cost", "latency", "balanced"]),
    max_cost_usd=maybe | st.floats(0, 1), fallback=st.booleans(), needs=st.sampled_from([(), ("custom",), ("odd",)]),
    urgency=maybe | st.floats(0, 1), risk=maybe | st.floats(0, 1), deadline_s=maybe | st.floats(0, 100),
)  # fmt: skip
channels = st.builds(
    Channel,
    policy=st.sampled_from([None, *POLICIES]),
    roles=st.lists(st.sampled_from(ROLES), max_size=1).map(tuple), models=names | st.just(()),
    prefer=st.sampled_from([None, "cost"]), effort=maybe | st.floats(0, 1),
)  # fmt: skip
routes = st.builds(TaskRoute, role=st.sampled_from([None, *ROLES]), models=names, policy=st.sampled_from([None, *POLICIES]))
routings = st.builds(
    Routing,
    policy=st.sampled_from(POLICIES), primary=st.sampled_from([None, *NAMES]),
    fallback=st.lists(st.sampled_from([*NAMES, "role/spare", "role/none"]), max_size=3).map(tuple),
    task_routing=st.dictionaries(st.sampled_from(TASK_TYPES), routes, max_size=2),
    affinity=st.builds(Affinity, enabled=st.booleans(), min_gain=st.floats(0, 1)),
)  # fmt: skip


@st.composite
def snapshots(draw: st.DrawFn) -> PlanInputs:
    registry = {n: msgspec.structs.replace(draw(cards), id=n) for n in draw(st.lists(st.sampled_from(NAMES), unique=True))}
    roles = {role: tuple(n for n, card in registry.items() if role in card.roles) for role in ROLES}
    assessment = Assessment(
        task_type=draw(st.sampled_from(TASK_TYPES)), complexity=draw(st.floats(0, 1)), needs=draw(needs), confidence=0.5
    )
    return PlanInputs(
        assessment=assessment,
        cards=registry,
        runtime={n: draw(runtimes) for n in registry},
        roles=roles,
        routing=draw(routings),
        channel=draw(channels),
        hints=draw(hints),
        role=draw(st.sampled_from([None, None, *ROLES])),
        must_think=draw(st.booleans()),
        caller_cap=draw(maybe | st.integers(0, 9000)),
        stay=draw(maybe | st.builds(Stay, model=st.sampled_from(NAMES), cached_tokens=st.integers(0, 100_000))),
        turn=draw(st.integers(0, 10**9)),
        now_s=draw(st.floats(0, 2e9)),
    )


@settings(max_examples=200, deadline=None)
@given(snapshots())
def test_a_plan_is_total_deterministic_and_never_takes_a_model_that_cannot_serve(inputs: PlanInputs) -> None:
    """Over random registries: the same plan twice, only able models in it, every model listed, or one of three errors."""
    policies = builtin_policies()
    try:
        plan = make_plan(inputs, policies)
    except (ContextTooLong, CapabilityMissing, NoModelAvailable):
        for card in inputs.cards.values():  # nobody was turned away who could have served
            in_scope = inputs.role in card.roles if inputs.role else not inputs.channel.models and not inputs.channel.roles
            cost = request_cost_usd(card, inputs)
            affordable = inputs.hints.max_cost_usd is None or (cost is not None and cost <= inputs.hints.max_cost_usd)
            assert not (in_scope and affordable and ruled_out(card, inputs) is None)
        return
    assert make_plan(msgspec.structs.replace(inputs), policies) == plan
    assert sorted(c.model for c in plan.candidates) == sorted(inputs.cards)
    assert [c.model for c in plan.candidates if c.lost is None] == [plan.model]
    assert len({plan.model, *plan.fallbacks}) == 1 + len(plan.fallbacks)
    for name in (plan.model, *plan.fallbacks):
        assert name is not None
        assert ruled_out(inputs.cards[name], inputs, slack=ESTIMATE_SLACK) is None
        assert inputs.role is None or inputs.role in inputs.cards[name].roles
        assert not inputs.channel.models or inputs.role is not None or name in inputs.channel.models
        if inputs.hints.max_cost_usd is not None:
            assert (request_cost_usd(inputs.cards[name], inputs) or 0.0) <= inputs.hints.max_cost_usd
    assert plan.effort.score is not None
    assert 0.0 <= plan.effort.score <= 1.0
    assert msgspec.json.decode(msgspec.json.encode(plan), type=type(plan)) == plan


@settings(max_examples=60, deadline=None)
@given(snapshots(), st.randoms(use_true_random=False))
def test_the_order_of_the_registry_does_not_matter(inputs: PlanInputs, random: Any) -> None:
    """Shuffling the models changes neither the choice nor the fallbacks."""
    shuffled = list(inputs.cards.items())
    random.shuffle(shuffled)
    other = msgspec.structs.replace(inputs, cards=dict(shuffled))
    outcomes = []
    for one in (inputs, other):
        try:
            plan = make_plan(one, builtin_policies())
        except (ContextTooLong, CapabilityMissing, NoModelAvailable) as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append(f"{plan.model} {plan.fallbacks} {plan.effort}")
    assert outcomes[0] == outcomes[1]


def test_planning_reads_no_clock_and_no_chance() -> None:
    """No module of the room but those that translate names something of the machine (the linter checks imports too)."""
    found = importlib.util.find_spec("prefrontal.plan")
    assert found is not None
    assert found.submodule_search_locations is not None
    for file in Path(found.submodule_search_locations[0]).glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not any(f"import {word}" in text for word in ("time", "random", "os", "asyncio", "sqlite3")), file.name
