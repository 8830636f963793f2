"""Profiles of models: what they answer follows from the seed, how long they take also from how busy they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from prefrontal.config.schema_decisions import Decisions
from prefrontal.contracts.wire import WireRequest
from prefrontal.decisions.types import Types
from prefrontal.errors import ProviderTimeout
from prefrontal.execute.transport.base import Timeouts
from prefrontal.simulate.profile import ProfileTransport
from prefrontal.simulate.schema import Scenario
from prefrontal.simulate.types import types_of
from prefrontal.simulate.virtual import VirtualClock

Office = Callable[..., Scenario]
LONG = Timeouts(total_s=600)


def engine(scenario: Scenario, *, seed: int = 1, scripted: bool = False) -> tuple[ProfileTransport, VirtualClock]:
    clock = VirtualClock(0.0)
    types = Types(msgspec.convert({"types": types_of(scenario)}, Decisions))
    return ProfileTransport(scenario, types, clock, seed=seed, scripted=scripted), clock


def body(scenario: Scenario, name: str, state: dict[str, Any], model: str = "small") -> WireRequest:
    said = types_of(scenario)[name]
    options = said.get("options", [])
    kind = {"yes_no": "noul"}.get(said.get("kind", "choice"), said.get("kind", "choice"))
    question: dict[str, Any] = {"type": kind, "instructions": said["instructions"]}
    if kind != "noul":
        question["criteria"] = options if kind == "score" else dict.fromkeys(options)
    sent = {"model": model, "state": state, "questions": {"0": question}}
    return WireRequest(url="http://small.invalid/v1/systemone", body=msgspec.json.encode(sent))


async def told(transport: ProfileTransport, request: WireRequest, timeouts: Timeouts = LONG) -> Any:
    reply = await transport.send(request, timeouts)
    return msgspec.json.decode(reply.body)


def test_a_sure_profile_answers_as_the_rule(office: Office) -> None:
    """With accuracy 1 every kind of question gets the rule's answer; with 0 never."""
    right = office(engines={"small": {"accuracy": 1.0}})
    wrong = office(engines={"small": {"accuracy": 0.0}})

    async def chosen(scenario: Scenario, name: str, state: dict[str, Any]) -> Any:
        transport, clock = engine(scenario)
        answer = (await clock.run(told(transport, body(scenario, name, state))))["answers"]["0"]
        return answer.get("choice", answer.get("noul", answer.get("score")))

    queue = {"priority": "urgent", "deadline_days": 9}
    assert asyncio.run(chosen(right, "queue_position", queue)) == "front"
    assert asyncio.run(chosen(wrong, "queue_position", queue)) != "front"
    review = {"priority": "urgent", "waiting": 9}
    assert asyncio.run(chosen(right, "accept_reject", review)) > 0.5
    assert asyncio.run(chosen(wrong, "accept_reject", review)) < 0.5
    assert asyncio.run(chosen(right, "quality_assessment", {"findings": 0})) > 2


def test_answers_follow_from_the_seed_and_the_state(office: Office) -> None:
    """The same state gets the same distribution again, whatever the time; another seed may give another."""
    scenario = office(engines={"small": {"accuracy": 0.5}})

    async def shares(seed: int, hours: int) -> list[Any]:
        transport, clock = engine(scenario, seed=seed)
        found = []
        for n in range(20):
            state = {"status": "working", "progress": n, "queue": 0, "time": f"{hours}:00"}
            reply = await clock.run(told(transport, body(scenario, "next_action", state)))
            found.append(reply["answers"]["0"]["probabilities"])
        return found

    assert asyncio.run(shares(1, 9)) == asyncio.run(shares(1, 17))
    assert asyncio.run(shares(1, 9)) != asyncio.run(shares(2, 9))


def test_slots_make_a_queue(office: Office) -> None:
    """Six answers of 100 ms on two slots take three times as long as two, and a timeout ends the wait at its moment."""
    scenario = office(engines={"small": {"latency_ms": 100, "cv": 0, "slots": 2}})
    request = body(scenario, "next_action", {"status": "idle", "queue": 0, "others": 0, "progress": 0})

    async def together(count: int) -> float:
        transport, clock = engine(scenario)

        async def all_of_them() -> None:
            await asyncio.gather(*[told(transport, request) for _ in range(count)])

        await clock.run(all_of_them())
        return clock.monotonic()

    assert asyncio.run(together(2)) == pytest.approx(0.1)
    assert asyncio.run(together(6)) == pytest.approx(0.3)

    async def impatient() -> float:
        transport, clock = engine(scenario)
        short = msgspec.structs.replace(LONG, total_s=0.05)
        with pytest.raises(ProviderTimeout):
            await clock.run(told(transport, request, short))
        return clock.monotonic()

    assert asyncio.run(impatient()) == pytest.approx(0.05)


def test_a_script_says_what_is_answered(office: Office) -> None:
    """The first line that fits holds: by type, and by what the state says; anything else is answered as the rule does."""
    lines = [{"answer": "idle", "type": "next_action", "where": {"queue": 3}}, {"answer": False, "type": "accept_reject"}]
    scenario = office(script=lines)

    async def chosen(name: str, state: dict[str, Any]) -> Any:
        transport, clock = engine(scenario, scripted=True)
        answer = (await clock.run(told(transport, body(scenario, name, state))))["answers"]["0"]
        assert clock.monotonic() == 0.0
        return answer.get("choice", answer.get("noul"))

    busy = {"status": "working", "progress": 5, "queue": 3}
    assert asyncio.run(chosen("next_action", busy)) == "idle"
    assert asyncio.run(chosen("next_action", {**busy, "queue": 2})) == "continue"
    assert asyncio.run(chosen("accept_reject", {"priority": "urgent", "waiting": 0})) < 0.5


def test_unknown_models_and_failures_are_answers_of_a_server(office: Office) -> None:
    """A model without a profile is 404, and a profile that fails is 503."""
    scenario = office(engines={"small": {"failures": 1.0}})
    state = {"status": "idle", "queue": 0, "others": 0, "progress": 0}

    async def status(model: str) -> int:
        transport, clock = engine(scenario)
        return (await clock.run(transport.send(body(scenario, "next_action", state, model), LONG))).status

    assert asyncio.run(status("other")) == 404
    assert asyncio.run(status("small")) == 503
