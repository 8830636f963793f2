"""`explain` on twenty prompts of different kinds: what is chosen, why, and why every other model is not.

docs/explain.md shows them to readers; `python tests/e2e/test_explain.py` writes it anew.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import prefrontal
from prefrontal.app.explain import explanation
from prefrontal.cli.explain import show_explanation
from prefrontal.cli.screen import Screen
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.scripted import ScriptedTransport

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "explain.md"
DATA = yaml.safe_load((HERE / "explain_prompts.yaml").read_text(encoding="utf-8"))
PROMPTS: list[dict[str, Any]] = DATA["prompts"]
INTRODUCTION = """\
# What `explain` tells

`prefrontal explain "…"` and `POST /v1/explain` say what would be done with a prompt and why, without calling anything. Below are
twenty prompts of different kinds over one registry: eight hosted models, one small model and an embedding model on this
machine, and one model that takes no automatic work. The output is what the command prints; a test keeps it current.

How to read it:

- **answered by**: a reflex (a tool, no model), or the first model that would be asked; **then**: who is asked if it fails.
- **Why**: the rules that applied, in order, each with its effect.
- **Candidates**: every model with its score, or the reason why it could not take the request. A score is the weighted sum of
  its parts, each from 0 to 1: *quality* of its answers, *fit* for this kind of task, *cost*, *latency* and *load*; for the last
  three, higher is cheaper, quicker and idler. A configured `priority` is added.

The registry is that of `tests/e2e/explain_prompts.yaml`; see [configuration](configuration.md) for what each field means.
"""


def messages_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a prompt."""
    text = case["prompt"]
    if "repeat" in case:
        words, times = case["repeat"]
        text += words * times
    if not case.get("image"):
        return [{"role": "user", "content": text}]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    return [{"role": "user", "content": [{"type": "text", "text": text}, image]}]


async def explain_all() -> list[dict[str, Any]]:
    """Return the explanation of each prompt, in order, at a fixed moment."""
    clock = FakeClock()
    transport = ScriptedTransport(clock=clock)
    found = []
    async with prefrontal.open(DATA["registry"], env={}, clock=clock, transport=transport) as pf:
        for case in PROMPTS:
            options = dict(case.get("request", {}))
            found.append(explanation(await pf.explain(messages_of(case), **options)))
    assert not [r for r in transport.requests if b"messages" in r.body], "explain called a model"
    return found


def page(found: list[dict[str, Any]]) -> str:
    """Return docs/explain.md."""
    parts = [INTRODUCTION]
    for number, (case, item) in enumerate(zip(PROMPTS, found, strict=True), start=1):
        prompt = case["prompt"].strip()
        if "repeat" in case:
            prompt += f" … (a text of {len(case['repeat'][0]) * case['repeat'][1]:,} characters)"
        if case.get("image"):
            prompt += " (with an image)"
        with_fields = f"\n\nwith `{json.dumps(case['request'])}`" if "request" in case else ""
        out = io.StringIO()
        show_explanation(item, Screen(out=out, err=out, env={}))
        parts.append(f"## {number}. {case['title']}\n\n> {prompt}{with_fields}\n\n```text\n{out.getvalue().rstrip()}\n```\n")
    return "\n".join(parts)


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    """The explanation of each prompt."""
    return asyncio.run(explain_all())


CASES = [pytest.param(number, id=case["title"]) for number, case in enumerate(PROMPTS)]
RULED_OUT = re.compile(r"^(it |its |about |not needed, because )")
"""How a reason begins, so that it follows the model's name like a sentence."""


def test_there_are_twenty_prompts_of_different_kinds() -> None:
    """Tools, all kinds of task, channels, roles, preferences, limits and a name are among them."""
    assert len(PROMPTS) == 20
    tasks = {case["expect"]["task"] for case in PROMPTS if "task" in case["expect"]}
    assert tasks >= {"chat_writing", "knowledge_qa", "code", "math", "reasoning", "multilingual", "summarization"}
    assert tasks >= {"document_qa", "vision", "tool_call"}


@pytest.mark.parametrize("number", CASES)
def test_the_path_and_the_kind_of_model_are_those_expected(number: int, found: list[dict[str, Any]]) -> None:
    """A tool where a tool can answer, else a model of the class the prompt calls for."""
    expect, item = PROMPTS[number]["expect"], found[number]
    if "tool" in expect:
        assert (item["path"], item["tool"], item["model"]) == ("tool", expect["tool"], None)
    else:
        assert item["path"] == "model"
        assert item["model"] in expect["models"]
    if "task" in expect:
        assert item["assessment"]["task_type"] == expect["task"]


@pytest.mark.parametrize("number", CASES)
def test_every_candidate_has_a_score_or_a_reason(number: int, found: list[dict[str, Any]]) -> None:
    """All models are listed; the chosen one has lost nothing, every other says in a sentence why it is not the first."""
    expect, item = PROMPTS[number]["expect"], found[number]
    candidates = item["candidates"]
    if expect.get("named"):
        assert candidates == []
        return
    assert {c["model"] for c in candidates} == set(DATA["registry"]["models"])
    for candidate in candidates:
        if candidate["eligible"]:
            assert candidate["score"] > 0
            assert set(candidate["parts"]) >= {"quality", "fit", "cost", "latency", "load"}
        if candidate["model"] == item["model"]:
            assert candidate["lost"] is None
        else:
            assert RULED_OUT.match(candidate["lost"]) or candidate["lost"].startswith("the rule "), candidate["lost"]
    assert item["fallbacks"] == [] or set(item["fallbacks"]) < {c["model"] for c in candidates if c["eligible"]}


@pytest.mark.parametrize("number", CASES)
def test_the_reasons_are_sentences_without_machine_words(number: int, found: list[dict[str, Any]]) -> None:
    """No null, no empty reason, no long number without separators; each rule is named once."""
    item = found[number]
    assert item["reasons"]
    rules = [reason["rule"] for reason in item["reasons"]]
    assert len(rules) == len(set(rules))
    for text in [reason["effect"] for reason in item["reasons"]] + [c["lost"] for c in item["candidates"] if c["lost"]]:
        assert text.strip()
        assert "None" not in text
        assert not re.search(r"(?<![\d.,])\d{5,}", text), text
    if item["path"] == "model" and item["candidates"]:
        assert {"assessment", "effort", "fallback", f"policy {item['policy']}"} <= set(rules)


def test_another_preference_or_limit_changes_the_choice(found: list[dict[str, Any]]) -> None:
    """The same prompt goes to a cheap or a good model; the same code over two channels gives two plans."""
    by_title = {case["title"]: item for case, item in zip(PROMPTS, found, strict=True)}
    cheap, good = by_title["As cheap as possible"], by_title["As good as possible"]
    assert cheap["model"] != good["model"]
    assert cheap["effort"]["score"] < good["effort"]["score"]
    usual, coding = by_title["Code"], by_title["Code, over the channel for code"]
    assert (usual["channel"], coding["channel"]) == ("chat", "code")
    assert usual["effort"]["score"] != coding["effort"]["score"]
    assert sum(c["eligible"] for c in usual["candidates"]) > sum(c["eligible"] for c in coding["candidates"])


def test_the_http_route_tells_the_same(found: list[dict[str, Any]], start_gateway: Callable[..., Any], tmp_path: Path) -> None:
    """`POST /v1/explain` of a running gateway gives the path, the model and the reasons of the page."""
    gateway = start_gateway(tmp_path, DATA["registry"])
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        for case, item in zip(PROMPTS, found, strict=True):
            ask = {"model": "auto", "messages": messages_of(case), **case.get("request", {})}
            told = client.post("/v1/explain", json=ask).json()
            for field in ("path", "tool", "model", "channel", "policy", "fallbacks", "reasons"):
                assert told[field] == item[field], (case["title"], field)
    assert gateway.stop() == 0


def test_the_page_is_current(found: list[dict[str, Any]]) -> None:
    """docs/explain.md shows what is printed today; write it anew with `python tests/e2e/test_explain.py`."""
    assert PAGE.read_text(encoding="utf-8") == page(found)


if __name__ == "__main__":
    PAGE.write_text(page(asyncio.run(explain_all())), encoding="utf-8")
