"""Lenses on a request's way: what they cost those who do not use them, where their answers go, and every way they may fail."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from prefrontal.app.compose import compose
from prefrontal.app.library import Prefrontal
from prefrontal.errors import InvalidRequest
from prefrontal.machine.context import LIBRARY
from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault
from prefrontal.testing.http_server import Recorded

SEED = "What does it feel like to understand deeply?"
LARGE = "The answer of the large model."


def domains(computational: Any = 0.3, scientific: Any = 0.4, cultural: Any = 0.7, experiential: Any = 0.95, **more: Any) -> str:
    """A reply of the small model."""
    values = {"computational": computational, "scientific": scientific, "cultural": cultural, "experiential": experiential}
    return json.dumps({**{name: {"activation": v, "note": f"it says {SEED}"} for name, v in values.items()}, **more})


def is_lens(request: Recorded) -> bool:
    return "Its fields:" in json.dumps(request.json)


class Two:
    """A large and a small model behind one upstream; `small` is what the small one says, an answer a call."""

    def __init__(self, house: Any) -> None:
        self.house = house
        self.small: list[Any] = []
        house.up.answers = self._answer

    def _answer(self, request: Recorded) -> Any:
        if request.json["model"] == "large":
            return LARGE
        found = self.small[0] if len(self.small) == 1 else self.small.pop(0)
        return found(request) if callable(found) else found

    async def open(self, *small: Any, lens: dict[str, Any] | None = None, **tree: Any) -> Prefrontal:
        self.small = list(small)
        large = self.house.model(model="large", price={"input_usd": 2.0, "output_usd": 10.0})
        entry = self.house.model(model="small", auto=False, price={"input_usd": 0.1, "output_usd": 0.4})
        settings = {"model": "small", "preset": "fast", **(lens or {})}
        limits = {"retries": {"base_s": 0.0}, **tree.pop("limits", {})}
        lenses = dict.fromkeys(("task", "risk", "domains"), settings)
        models = {"large": large, "small": entry, **tree.pop("models", {})}
        pf: Prefrontal = await self.house.open(models, lenses=lenses, limits=limits, **tree)
        return pf

    def asked(self, model: str) -> list[Any]:
        return [one.json for one in self.house.asked if one.json["model"] == model]


@pytest.fixture
def two(house: Any) -> Two:
    return Two(house)


async def ask(pf: Prefrontal, text: Any = SEED, *, model: str = "auto", **hints: Any) -> Any:
    options: dict[str, Any] = {"model": model}
    if hints:
        options["x_prefrontal"] = hints
    return await pf.answer(compose(text, options, stream=False), LIBRARY)


def shown(answer: Any) -> Any:
    from prefrontal.machine.run import extension

    return extension(answer.record).get("lens")


async def test_without_a_lens_nothing_changes(two: Two) -> None:
    """A configured lens nobody asks for: the same bytes upstream, the same states, no call of the small model."""
    bodies = []
    for wish in ({}, {"lens": False}):
        for model in ("auto", "large"):
            pf = await two.open(domains())
            answer = await ask(pf, model=model, **wish)
            assert "LENS" not in answer.record.states
            bodies.append((model, two.house.asked[-1].body))
    plain = await two.house.open({"large": two.house.model(model="large")})
    for model in ("auto", "large"):
        await ask(plain, model=model)
        assert {body for name, body in bodies if name == model} == {two.house.asked[-1].body}
    assert two.asked("small") == []


async def test_what_the_lens_sees_reaches_the_prompt_the_plan_and_the_record(two: Two) -> None:
    """Its numbers stand in the large model's prompt, in the reasons and in the answer's extension; the answer is clean."""
    pf = await two.open(domains())
    answer = await ask(pf, lens="domains")
    record = answer.record
    assert answer.response.text == LARGE
    (large,) = two.asked("large")
    assert "[reading" in large["messages"][-1]["content"]
    assert '"activation":0.95' in large["messages"][-1]["content"]
    assert large["messages"][-1]["content"].endswith(SEED)
    assert "Never mention it" in large["messages"][0]["content"]
    assert large["messages"][0]["role"] == "system"
    assert "it says" not in large["messages"][-1]["content"]  # notes are for people
    (reason,) = [one for one in record.plan.reasons if one.rule == "lens domains"]
    assert "'small' in" in reason.effect
    assert "experiential 0.95" in reason.effect
    lens = shown(answer)["domains"]
    assert (lens["source"], lens["model"], lens["attempts"]) == ("model", "small", 1)
    assert lens["latency_ms"] > 0
    assert lens["state"]["domains"]["experiential"]["activation"] == 0.95
    assert lens["state"]["boundaries"]["cultural_experiential"] == {"permeability": 0.815, "status": "transcendent"}
    assert record.states[:4] == ("INIT", "ROUTING_DECISION", "LENS", "MODEL_SELECTION")
    assert [one.reason for one in record.attempts] == ["lens", None]
    assert record.cost_usd == sum([one.cost_usd for one in record.attempts])


async def test_the_record_keeps_numbers_and_drops_words(two: Two) -> None:
    """Where content is not stored, the notes a model wrote are not either; the caller still sees them."""
    pf = await two.open(domains(), records={"content": False})
    answer = await ask(pf, lens="domains")
    assert shown(answer)["domains"]["state"]["domains"]["cultural"]["note"] == f"it says {SEED}"
    (kept,) = two.house.records
    assert kept.assessment.lens[0].state["domains"]["cultural"] == {"activation": 0.7}
    assert SEED not in msgspec.json.encode(kept.assessment).decode()
    pf = await two.open(domains(), records={"content": True})
    answer = await ask(pf, lens="domains")
    assert "note" in two.house.records[-1].assessment.lens[0].state["domains"]["cultural"]


async def test_a_named_model_is_told_too(two: Two) -> None:
    """There is no plan for a named model; its prompt and the record have the reading, and no other model is considered."""
    pf = await two.open(domains())
    answer = await ask(pf, model="large", lens=["domains", "risk"])
    assert answer.record.model == "large"
    assert answer.record.plan is None
    assert answer.record.states[:3] == ("INIT", "LENS", "LLM_CALL")
    assert [(one.name, one.source) for one in answer.record.assessment.lens] == [("domains", "model"), ("risk", "fallback")]
    assert two.asked("large")[0]["messages"][-1]["content"].count("[reading") == 2


async def test_lenses_wait_beside_each_other(two: Two) -> None:
    """Three lenses of 0.1 s take the time of one, which counts as waiting and not as our own."""
    pf = await two.open(Answer(text=domains(), delay_s=0.1), lens={"retries": 0})
    record = (await ask(pf, lens=["domains", "risk", "task"])).record
    spans = [(one.started_ms, one.ended_ms) for one in record.attempts if one.reason == "lens"]
    assert len(spans) == 3
    assert max([begun for begun, _ in spans]) < min([ended for _, ended in spans])
    assert record.duration_ms - record.overhead_ms >= 100


async def test_effort_follows_what_lenses_see(two: Two) -> None:
    """Risk and what lies between domains raise the score; the plan says by how much."""
    pf = await two.open("{}")
    scores = {}
    for name, said in (
        ("calm", domains(0.9, 0.05, 0.05, 0.05)),
        ("joined", domains(0.9, 0.9, 0.9, 0.9)),
    ):
        two.small[:] = [said]
        scores[name] = (await ask(pf, f"{name}: {SEED}", lens="domains")).record.effort_score
    for level in (0.0, 1.0):
        two.small[:] = [json.dumps({"level": level, "kind": "health", "note": "n"})]
        answer = await ask(pf, f"{level}: {SEED}", lens="risk")
        scores[level] = answer.record.effort_score
    assert scores["joined"] == pytest.approx(scores["calm"] * 1.3, abs=2e-3)
    assert scores[1.0] == pytest.approx(scores[0.0] * 1.5, abs=2e-3)
    (reason,) = [one for one in answer.record.plan.reasons if one.rule == "effort"]
    assert "risk 1.00: ×1.50" in reason.effect


async def test_the_task_lens_refines_the_assessment(two: Two) -> None:
    """A model's word replaces that of the rules; what the request itself holds stays."""
    said = {"type": "math", "complexity": 0.77, "needs": {"thinking": True, "long_answer": True}}
    pf = await two.open(json.dumps(said))
    plain = (await ask(pf)).record.assessment
    found = (await ask(pf, lens="task")).record.assessment
    assert (found.task_type, found.complexity, found.origin) == ("math", 0.77, "lens")
    assert found.needs.output_tokens >= 2048
    assert found.needs.input_tokens == plain.needs.input_tokens
    two.small[:] = ["prose"]
    plain = (await ask(pf, f"{SEED}?")).record.assessment
    fallen = (await ask(pf, f"{SEED}?", lens="task")).record.assessment
    assert (fallen.task_type, fallen.complexity, fallen.origin) == (plain.task_type, plain.complexity, "rules")


async def test_a_channel_has_lenses_of_its_own(two: Two) -> None:
    """Its requests are read without asking, but the answer shows it only to those who ask; `false` keeps lenses away."""
    pf = await two.open(domains(), routing={"channels": {"deep": {"lens": ["domains"]}}})
    quiet = await ask(pf, model="auto/deep")
    assert quiet.record.assessment.lens[0].source == "model"
    assert shown(quiet) is None
    assert shown(await ask(pf, model="auto/deep", lens=True))["domains"]["source"] == "cache"
    assert (await ask(pf, model="auto/deep", lens=False)).record.assessment.lens == ()
    assert (await ask(pf, lens=True)).record.assessment.lens == ()


# -- how it may fail -----------------------------------------------------------------------------------------------------

BAD = {
    "prose": ("I think it is mostly cultural.", "no JSON object"),
    "not a number": (domains().replace("0.95", "NaN"), "malformed"),
    "out of range": (domains(experiential=1.5), "experiential.activation"),
    "below": (domains(computational=-0.1), "computational.activation"),
    "endless": (domains().replace("0.95", "1e999"), "experiential"),
    "a word": (domains(cultural="high"), "cultural.activation"),
    "missing": (json.dumps({"computational": {"activation": 0.1, "note": "n"}}), "scientific"),
    "no note": (domains(cultural=0.5).replace(f'"note": "it says {SEED}"', '"note": ""', 1), "note"),
    "boundary": (domains(boundaries={"computational_scientific": 2}), "boundaries"),
    "cut off": (domains()[:40], "no JSON object"),
    "empty": ("", "no JSON object"),
    "nested": ("[" * 5000 + "{}" + "]" * 5000, "missing required field"),
}


@pytest.mark.parametrize("kind", list(BAD))
async def test_a_wrong_reply_is_asked_again_with_its_error_then_the_formula_stands_in(two: Two, kind: str) -> None:
    """The second call says what was wrong in words; after the last, the formula answers and the finding says why."""
    said, why = BAD[kind]
    pf = await two.open(said)
    answer = await ask(pf, lens="domains")
    lens = shown(answer)["domains"]
    assert answer.response.text == LARGE
    assert (lens["source"], lens["finding"], lens["attempts"]) == ("fallback", "invalid", 2)
    assert why in lens["detail"]
    first, second = two.asked("small")
    assert len(second["messages"]) == len(first["messages"]) + 2
    assert why in second["messages"][-1]["content"]
    values = [one["activation"] for one in lens["state"]["domains"].values()]
    assert all(0.0 <= value <= 1.0 for value in values)
    assert len(values) == 4


async def test_a_second_try_may_succeed(two: Two) -> None:
    """Told what was wrong, the model mends it; also a reply in a fence with prose around it is read."""
    pf = await two.open(domains(experiential=7), f"Here:\n```json\n{domains()}\n```\nDone.")
    lens = shown(await ask(pf, lens="domains"))["domains"]
    assert (lens["source"], lens["attempts"]) == ("model", 2)


async def test_a_slow_model_is_not_waited_for(two: Two) -> None:
    """At the preset's deadline the formula answers."""
    pf = await two.open(Answer(text=domains(), delay_s=5), lens={"timeout_s": 0.1, "deadline_s": 0.15})
    lens = shown(await ask(pf, lens="domains"))["domains"]
    assert (lens["source"], lens["finding"]) == ("fallback", "timeout")
    assert 90 <= lens["latency_ms"] < 1000


async def test_half_of_the_callers_time_is_left_to_the_large_model(two: Two) -> None:
    """A deadline of the request bounds the lens by half of it."""
    pf = await two.open(Answer(text=domains(), delay_s=5))
    lens = shown(await ask(pf, lens="domains", deadline_s=0.6))["domains"]
    assert lens["finding"] == "timeout"
    assert lens["latency_ms"] < 500


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (Fault(kind="status", status=500), 2),
        (Fault(kind="status", status=401), 1),
        (Fault(kind="drop"), 2),
        (Fault(kind="garbage"), None),
    ],
)
async def test_an_engine_that_fails_leaves_the_formula(two: Two, fault: Fault, calls: int | None) -> None:
    """Errors that may pass are repeated as the preset says, those that cannot are not; the large model answers in any case."""
    pf = await two.open(fault)
    answer = await ask(pf, lens="domains")
    lens = shown(answer)["domains"]
    assert (answer.response.text, lens["source"]) == (LARGE, "fallback")
    assert lens["finding"].startswith("upstream") or lens["finding"] in ("provider_error", "authentication")
    assert calls is None or lens["attempts"] == calls


async def test_a_killed_engine_leaves_the_formula(two: Two, house: Any) -> None:
    """Nobody listens at the small model's address."""
    gone = {**house.model(model="x", auto=False), "endpoint": "http://127.0.0.1:9/v1"}
    pf = await two.open(domains(), models={"gone": gone}, lens={"model": "gone"})
    lens = shown(await ask(pf, lens="domains"))["domains"]
    assert (lens["source"], lens["finding"]) == ("fallback", "upstream_unreachable")


async def test_the_secondary_model_stands_in(two: Two, house: Any) -> None:
    """Of another provider with another wire: it answers when the first is gone, and the reading names it."""
    second = house.model("anthropic", model="small", auto=False)
    gone = {**house.model(model="x", auto=False), "endpoint": "http://127.0.0.1:9/v1"}
    pf = await two.open(domains(), models={"gone": gone, "claude": second}, lens={"model": "gone", "secondary": "claude"})
    lens = shown(await ask(pf, lens="domains"))["domains"]
    assert (lens["source"], lens["model"]) == ("model", "claude")
    assert house.asked[-2].path.endswith("/messages")


async def test_a_model_that_gives_no_readings_rests(two: Two) -> None:
    """After five in a row it is not asked for a while, whatever its HTTP status."""
    pf = await two.open("prose", lens={"retries": 0})
    for number in range(5):
        await ask(pf, f"{number} {SEED}", lens="domains")
    assert len(two.asked("small")) == 5
    lens = shown(await ask(pf, lens="domains"))["domains"]
    assert (lens["finding"], lens["attempts"], len(two.asked("small"))) == ("breaker_open", 0, 5)


async def test_no_money_for_the_small_model_leaves_the_formula(two: Two) -> None:
    """A budget that holds the large model's answer and not the lens's."""
    dear = {"price": {"input_usd": 90.0, "output_usd": 90_000.0}}
    models = {"dear": {**two.house.model(model="small", auto=False), **dear}}
    budgets = [{"name": "b", "window": "day", "usd": 1.0}]
    pf = await two.open(domains(), models=models, lens={"model": "dear"}, budgets=budgets)
    answer = await ask(pf, lens="domains", max_cost_usd=None)
    lens = shown(answer)["domains"]
    assert (lens["source"], lens["finding"], answer.response.text) == ("fallback", "budget", LARGE)
    assert two.asked("small") == []


async def test_without_any_model_for_it_the_formula_answers(two: Two) -> None:
    """A role that nobody fills."""
    pf = await two.open(domains(), lens={"model": "role/nobody"}, roles={"nobody": []})
    assert shown(await ask(pf, lens="domains"))["domains"]["finding"] == "no_model"


async def test_a_client_that_leaves_says_nothing_of_the_model(two: Two) -> None:
    """The request ends as cancelled, and the breaker counts nothing."""
    pf = await two.open(Answer(text=domains(), delay_s=5))
    for _ in range(6):
        task = asyncio.create_task(ask(pf, lens="domains"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert two.house.records[-1].status == "cancelled"
    two.small[:] = [domains()]
    assert shown(await ask(pf, lens="domains"))["domains"]["source"] == "model"


async def test_a_question_without_words_is_not_asked_about(two: Two) -> None:
    """There is nothing to read in an image alone."""
    pf = await two.open(domains())
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
    answer = await ask(pf, [{"role": "user", "content": image}], model="large", lens="domains")
    assert answer.record.assessment.lens[0].finding == "no_text"
    assert two.asked("small") == []


# -- memory --------------------------------------------------------------------------------------------------------------


async def test_an_equal_request_is_read_once(two: Two) -> None:
    """The reading is used again until its time is over, or where the request or the entry wants none."""
    pf = await two.open(domains())
    sources = [shown(await ask(pf, lens="domains", **more))["domains"]["source"] for more in ({}, {}, {"cache": "refresh"})]
    assert sources == ["model", "cache", "model"]
    assert shown(await ask(pf, f"{SEED} ", lens="risk"))["risk"]["source"] == "fallback"  # another lens, another reading
    pf = await two.open(domains(), lens={"cache": False})
    assert [shown(await ask(pf, lens="domains"))["domains"]["source"] for _ in range(2)] == ["model", "model"]


async def test_explain_calls_nobody(two: Two) -> None:
    """The formula stands in the explanation, and says that nobody was asked."""
    pf = await two.open(domains())
    found = await pf.explain(SEED, x_prefrontal={"lens": "domains"})
    (reason,) = [one for one in found.plan.reasons if one.rule == "lens domains"]
    assert "not_asked" in reason.effect
    assert two.house.asked == []


@pytest.mark.parametrize("wish", ["domain", ["domains", "domains"], ["x"]])
async def test_a_lens_that_is_not_there_is_refused(two: Two, wish: Any) -> None:
    """Before anything is called; the hint names the nearest."""
    pf = await two.open(domains())
    with pytest.raises(InvalidRequest) as refused:
        await ask(pf, lens=wish)
    assert refused.value.param == "x_prefrontal.lens"
    assert two.house.asked == []


async def test_streams_carry_the_reading_in_their_last_chunk(two: Two) -> None:
    """The text is the large model's alone."""
    pf = await two.open(domains())
    request = compose(SEED, {"model": "auto", "x_prefrontal": {"lens": "domains"}}, stream=True)
    source = await pf.open_stream(request, LIBRARY)
    text = ""
    while batch := await source.read():
        text += "".join([chunk.text for chunk in batch])
    await source.aclose()
    assert text == LARGE
    assert source.record is not None
    assert source.record.assessment.lens[0].source == "model"
    assert source.record.first_token_ms > source.record.attempts[0].ended_ms  # the first token of the answer, not of the lens
