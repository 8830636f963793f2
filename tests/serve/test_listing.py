"""What the list of models and the gate say: no more than is known, and to whom."""

from __future__ import annotations

from typing import Any

import prefrontal
from prefrontal.app.compose import compose
from prefrontal.clock import SystemClock
from prefrontal.config.schema_service import Server
from prefrontal.machine.context import CallContext
from prefrontal.machine.run import extension
from prefrontal.serve.access import Gate
from prefrontal.serve.heads import dropped_header, whole_headers
from prefrontal.serve.listing import list_models
from prefrontal.testing.scripted import SCRIPTED_URL, ScriptedTransport, scripted_config


async def listed(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the list's entries by name."""
    clock = SystemClock()
    async with prefrontal.open(config, env={}, clock=clock, transport=ScriptedTransport(clock=clock)) as pf:
        return {entry["id"]: entry for entry in list_models(pf)["data"]}


async def test_a_role_given_by_a_list_is_a_role_of_the_model() -> None:
    """`roles: {router: [beta]}` and `models.beta.roles` come to the same, each role named once."""
    models = {"alpha": {}, "beta": {"roles": ["coding"]}}
    shown = await listed(scripted_config(models, roles={"router": ["beta"], "coding": ["beta", "alpha"]}))
    assert shown["beta"]["roles"] == ["coding", "router"]
    assert shown["alpha"]["roles"] == ["coding"]


async def test_no_thinking_range_is_shown_where_nobody_knows_that_the_model_thinks() -> None:
    """The profile's usual way to steer would be a guess; a model known to think has its range."""
    models = {
        "unknown": {"profile": "vllm", "endpoint": SCRIPTED_URL},
        "known": {"profile": "vllm", "endpoint": SCRIPTED_URL, "capabilities": {"thinking": True}},
    }
    shown = await listed(scripted_config(models))
    assert shown["unknown"]["thinking"] is None
    assert shown["known"]["thinking"] is not None


async def test_callers_hear_of_their_own_wishes_only() -> None:
    """That a computed effort was not sent is in the record and in `effort_sent`; one that was asked for is in the header."""
    clock = SystemClock()
    config = scripted_config({"m": {"profile": "vllm", "endpoint": SCRIPTED_URL}})
    async with prefrontal.open(config, env={}, clock=clock, transport=ScriptedTransport(clock=clock)) as pf:
        own = await pf.chat("Why is the sky blue, and why is it red in the evening?")
        asked = await pf.chat("Why is the sky blue?", model="m", reasoning_effort="high", temperature=3)
        found = await pf.explain("Why is the sky blue, and why is it red in the evening?")
    assert [one.field for one in own.record.dropped] == ["effort"]
    assert b"x-prefrontal-dropped" not in dict(whole_headers(own.record, None))
    ours = extension(own.record)
    assert "dropped" not in ours
    assert ours["effort_sent"] is False
    assert found.told is not None
    assert not found.told.fields
    assert "not known" in found.told.notes[0].reason
    assert "effort_sent" not in extension(asked.record)
    headers: list[tuple[bytes, bytes]] = []
    dropped_header(asked.record.dropped, headers)
    assert bool(headers) == bool(asked.record.dropped)


async def test_an_explanation_says_why_a_reflex_stood_aside() -> None:
    """A question about the host from elsewhere goes to a model, and the reasons name the tool and whom it answers."""
    clock = SystemClock()
    async with prefrontal.open(scripted_config(), env={}, clock=clock, transport=ScriptedTransport(clock=clock)) as pf:
        request = compose("cpu usage", {}, stream=False)
        far = await pf.machine.explain(request, CallContext(allow_host=False), pf.world())
        near = await pf.machine.explain(request, CallContext(allow_host=True), pf.world())
        other = await pf.machine.explain(compose("Write a poem.", {}, stream=False), CallContext(), pf.world())
    assert [r.effect for r in far.plan.reasons if r.rule == "reflex"] == [
        "the reflex 'system' knows this question and answers only callers on this machine and admin keys"
    ]
    assert near.plan.tool == "system"
    assert not [r for r in other.plan.reasons if r.rule == "reflex"]


async def test_a_cap_below_zero_means_none_for_auto() -> None:
    """Engines that know -1 mean 'no limit' by it, so it neither counts as room for the answer nor leaves none for thinking."""
    clock = SystemClock()
    transport = ScriptedTransport(clock=clock)
    async with prefrontal.open(scripted_config(), env={}, clock=clock, transport=transport) as pf:
        without = (await pf.chat("Write a poem.")).record.plan
        below = (await pf.chat("Write a poem.", max_tokens=-1)).record.plan
    assert without is not None
    assert below is not None
    assert below.estimate == without.estimate
    assert not {"max_tokens", "max_completion_tokens"} & transport.requests[-1].json.keys()


async def test_an_ordinary_key_on_this_machine_may_see_the_host_also_beside_admin_keys() -> None:
    """Sitting on the machine is what counts, as the guide says; the same key from elsewhere may not."""
    clock = SystemClock()
    async with prefrontal.open(scripted_config(), env={}, clock=clock, transport=ScriptedTransport(clock=clock)) as pf:
        gate = Gate(Server(api_keys=("plain",), admin_keys=("boss",)), pf.money.keys)
    headers = {b"authorization": b"Bearer plain"}
    here, there = gate.admit(headers, "127.0.0.1"), gate.admit(headers, "192.0.2.7")
    assert here is not None
    assert there is not None
    assert (here.trusted, here.admin, there.trusted) == (True, False, False)
