"""What really leaves for an upstream: the bytes received by mock upstreams equal tables written by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import msgspec
import pytest
import yaml
from pydantic import TypeAdapter

from prefrontal.testing.upstream import MockUpstream

HERE = Path(__file__).parent
EFFORTS = yaml.safe_load((HERE.parent / "providers" / "effort" / "golden.yaml").read_text(encoding="utf-8"))
BODIES = yaml.safe_load((HERE / "golden_bodies.yaml").read_text(encoding="utf-8"))
WIRES = {"anthropic": "anthropic", "gemini": "gemini", "ollama": "ollama"}
OWN_ROUTES = ("lmstudio_native", "openai_responses_effort")
"""Dialects of routes this gateway does not call yet: their effort fields are checked, their whole bodies mean nothing."""

REFUTED = {
    *("max_steps", "thinking_budget_per_step", "enable_reasoning", "reasoning_budget", "extended_thinking"),
    *("guided_json", "guided_regex", "guided_choice", "guided_grammar", "x_prefrontal"),
}
"""Parameters that circulate and that no provider has, and our own, which is nobody else's business."""

CONTEXT = 8192
"""The window the registry gives the Ollama models, which is asked of the engine with every request."""

PLAIN = [{"role": "user", "content": "Say hello."}]


FIXED = {"pondering": "moonshot/kimi-k2-thinking", "plain": "vllm/meta-llama/Llama-3.1-8B-Instruct"}
"""Channels with an output cap of 2,000 tokens, and the model without any control of effort that each leads to."""


class Case(msgspec.Struct, kw_only=True):
    """One request through the gateway: what was asked, what came back, and what the upstream received."""

    name: str
    ask: dict[str, Any]
    status: int = 0
    headers: dict[str, str] = {}
    answer: dict[str, Any] = {}
    record: dict[str, Any] = {}
    sent: dict[str, Any] = {}
    sent_headers: dict[str, str] = {}
    path: str = ""


def row_id(row: dict[str, Any]) -> str:
    """Return the registry's name for a row of the effort table."""
    return "/".join([row["profile"], row["name"], *([row["dialect"]] if "dialect" in row else [])])


def entry_of(row: dict[str, Any], up: MockUpstream) -> dict[str, Any]:
    """Return the registry entry of a model at the mock upstream."""
    base = up.root_url if row["profile"] in WIRES else up.base_url
    entry: dict[str, Any] = {"profile": row["profile"], "endpoint": base, "key": "secret", "model": row["name"]}
    if row["profile"] == "ollama":
        entry["context_tokens"] = CONTEXT
    return entry | ({"effort": {"dialect": row["dialect"]}} if "dialect" in row else {})


def all_cases() -> list[Case]:
    """Return every request that is made, in the order it is made."""
    cases = []
    for row in EFFORTS["models"]:
        name = row_id(row)
        for score in EFFORTS["efforts"]:
            ask = {"messages": PLAIN, "max_tokens": EFFORTS["cap"], "x_prefrontal": {"effort": score}}
            cases.append(Case(name=f"plain {name} {score}", ask={"model": name, **ask}))
    for number, row in enumerate(BODIES["sent"]):
        name = f"{row['model']['profile']}/{row['model']['model']}"
        ask = {**BODIES["ask"][row["ask"]], "x_prefrontal": {"effort": row["effort"]}}
        cases.append(Case(name=f"rich {number}", ask={"model": name, **ask}))
    for name in BODIES["sampling_dropped"]:
        for score in (0, 0.8):
            ask = {"messages": PLAIN, "max_tokens": 4096, "temperature": 0.3, "top_p": 0.9, "x_prefrontal": {"effort": score}}
            cases.append(Case(name=f"sampling {name} {score}", ask={"model": name, **ask}))
    for name in ("anthropic/claude-sonnet-4-5", "gemini/gemini-3.5-flash", "vllm/Qwen/Qwen3-4B", "ollama/qwen3:4b"):
        ask = {"messages": PLAIN, "max_tokens": EFFORTS["cap"], "reasoning_effort": "high"}
        cases.append(Case(name=f"word {name}", ask={"model": name, **ask}))
    for channel in FIXED:
        ask = {"model": f"auto/{channel}", "messages": PLAIN, "x_prefrontal": {"effort": 0.8}}
        cases.append(Case(name=channel, ask=ask))
    return cases


async def run_all(start_gateway: Callable[..., Any], home: Path) -> dict[str, Case]:
    """Send every request through one gateway, one after another, so that each belongs to one received body."""
    shown = {"capabilities": ["completion", "tools", "thinking"]}
    async with MockUpstream({"": "Hello."}, routes={("POST", "/api/show"): (200, shown)}) as up:
        models = {row_id(row): entry_of(row, up) for row in EFFORTS["models"]}
        channels = {name: {"models": [model], "max_output_tokens": 2000} for name, model in FIXED.items()}
        # the mock's answer fits no schema, and what is looked at here is what was sent
        unchecked = {"structured_output": {"validate": False}}
        config = {"models": models, "routing": {"channels": channels}, "discovery": {"enabled": False}, **unchecked}
        gateway = await asyncio.to_thread(start_gateway, home, config)
        cases = all_cases()
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
            for case in cases:
                await send(case, client, up)
        await asyncio.to_thread(gateway.stop)
    return {case.name: case for case in cases}


async def send(case: Case, client: httpx.AsyncClient, up: MockUpstream) -> None:
    """Make one request and note everything about it."""
    before = len(up.requests)
    reply = await client.post("/v1/chat/completions", json=case.ask)
    case.status, case.headers, case.answer = reply.status_code, dict(reply.headers), reply.json()
    chats = [r for r in up.requests[before:] if r.method == "POST" and r.path != "/api/show"]
    assert len(chats) == 1, (case.name, case.answer, [r.path for r in chats])
    case.sent, case.sent_headers, case.path = parsed(chats[0].body), dict(chats[0].headers), chats[0].path
    case.record = (await client.get(f"/v1/traces/{reply.headers['x-prefrontal-trace']}")).json()


def parsed(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`, which may not name a field twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), names
        return dict(pairs)

    found = json.loads(raw.decode("utf-8"), object_pairs_hook=once)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def cases(start_gateway: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Every request of this file, made once."""
    return asyncio.run(run_all(start_gateway, tmp_path_factory.mktemp("golden")))


def dropped_of(case: Case) -> list[str]:
    """Return the header x-prefrontal-dropped as a sorted list."""
    text = case.headers.get("x-prefrontal-dropped", "")
    return sorted(text.split(", ")) if text else []


def plain_body(row: dict[str, Any], sent: dict[str, Any], suffix: str | None) -> dict[str, Any]:
    """Return the whole body of the plain request, from the hand-written parts."""
    text = f"Say hello. {suffix}" if suffix else "Say hello."
    cap, profile = EFFORTS["cap"], row["profile"]
    if profile == "gemini":
        config = {"maxOutputTokens": cap, **sent["generationConfig"]}
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": config}
    body: dict[str, Any] = {"model": row["name"], "messages": [{"role": "user", "content": text}], **sent}
    if profile == "anthropic":
        return body | {"max_tokens": cap}
    if profile == "ollama":
        return body | {"stream": False, "options": {"num_ctx": CONTEXT, "num_predict": cap}}
    fields = BODIES["cap_fields"]
    body[fields.get(row_id(row)) or fields.get(profile) or fields["default"]] = cap
    if profile == "dashscope" and sent["enable_thinking"]:  # its engine thinks only in streams
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


ROWS = [pytest.param(row, id=row_id(row)) for row in EFFORTS["models"]]


def test_the_registry_holds_every_family() -> None:
    """Kimi, DeepSeek, Qwen, Llama, Mistral, Claude, GPT and Gemini are all among the models asked."""
    names = " ".join(row["name"].lower() for row in EFFORTS["models"])
    for family in ("kimi", "deepseek", "qwen", "llama", "mistral", "claude", "gpt", "gemini"):
        assert family in names


@pytest.mark.parametrize("row", ROWS)
def test_each_effort_reaches_the_model_as_the_table_says_and_nothing_else_does(
    row: dict[str, Any], cases: dict[str, Case]
) -> None:
    """The body received is the prompt, the cap and the effort fields of the hand-written table, whole."""
    for number, score in enumerate(EFFORTS["efforts"]):
        case = cases[f"plain {row_id(row)} {score}"]
        sent, suffix = row["sent"][number], (row.get("suffix") or [None] * 5)[number]
        assert case.status == 200, case.answer
        if row.get("dialect") in OWN_ROUTES:
            assert {name: case.sent[name] for name in sent} == sent
        else:
            assert case.sent == plain_body(row, sent, suffix)
        assert case.headers["x-prefrontal-effort"] == f"{score:g}"
        assert case.record["effort_score"] == score


@pytest.mark.parametrize("number", range(len(BODIES["sent"])))
def test_a_request_with_everything_reaches_each_wire_whole(number: int, cases: dict[str, Case]) -> None:
    """System prompt, image, tools, schema, stops and sampling arrive in the wire's own form; what it lacks is reported."""
    row, case = BODIES["sent"][number], cases[f"rich {number}"]
    assert case.status == 200, case.answer
    assert case.sent == row["body"]
    assert dropped_of(case) == row["dropped"]


def test_keys_travel_in_each_wires_own_header(cases: dict[str, Case]) -> None:
    """The registry's key reaches every upstream, and the caller's headers none."""
    for case in cases.values():
        name = {"/v1/messages": "x-api-key"}.get(case.path, "authorization" if "gemini" not in case.path else "x-goog-api-key")
        assert case.sent_headers[name] == ("Bearer secret" if name == "authorization" else "secret"), case.name
        assert not any(header.startswith("x-prefrontal") for header in case.sent_headers)


def test_paths_are_those_of_the_wires(cases: dict[str, Case]) -> None:
    """Each wire is called at its own route; Gemini names the model there."""
    paths = {case.path for case in cases.values()}
    gemini = {f"/v1beta/models/{row['name']}:generateContent" for row in EFFORTS["models"] if row["profile"] == "gemini"}
    assert paths == {"/v1/chat/completions", "/v1/messages", "/api/chat"} | gemini


def test_no_refuted_parameter_is_sent_to_anyone(cases: dict[str, Case]) -> None:
    """None of the parameters that do not exist, in any body, at any depth; and thinking is never a bare boolean."""

    def names(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(names, value.values()))
        return set().union(*map(names, value)) if isinstance(value, list) else set()

    for case in cases.values():
        assert not names(case.sent) & REFUTED, case.name
        assert not isinstance(case.sent.get("thinking"), bool), case.name
        if "temperature" in case.sent:
            assert case.sent["temperature"] == case.ask["temperature"], case.name


@pytest.mark.parametrize("name", BODIES["sampling_dropped"])
def test_sampling_a_thinking_model_refuses_is_left_out_and_listed(name: str, cases: dict[str, Case]) -> None:
    """Header, body and record list exactly what the table says was dropped; what is not dropped is sent as given."""
    for score, expected in zip((0, 0.8), BODIES["sampling_dropped"][name], strict=True):
        case = cases[f"sampling {name} {score}"]
        listed = [item["field"] for item in case.answer["x_prefrontal"].get("dropped", ())]
        assert sorted(set(listed) & {"temperature", "top_p"}) == expected
        recorded = [item["field"] for item in case.record["dropped"]]
        assert recorded == listed
        assert {part.split("=")[0] for part in dropped_of(case)} == set(listed)
        assert [d["field"] for d in case.record["attempts"][0]["dropped"]] == listed
        text = json.dumps(case.sent)
        assert ("0.3" in text, "0.9" in text) == ("temperature" not in expected, "top_p" not in expected)


def test_a_word_of_the_openai_dialect_is_translated_for_every_wire(cases: dict[str, Case]) -> None:
    """`reasoning_effort: high` is 0.8: a budget for Claude 4.5 and Qwen on vLLM, a level for Gemini 3, a word for Ollama."""
    cap = EFFORTS["cap"]
    assert cap == 16384
    assert cases["word anthropic/claude-sonnet-4-5"].sent["thinking"] == {"type": "enabled", "budget_tokens": 13107}
    gemini = cases["word gemini/gemini-3.5-flash"].sent["generationConfig"]["thinkingConfig"]
    assert gemini == {"thinkingLevel": "HIGH", "includeThoughts": True}
    qwen = cases["word vllm/Qwen/Qwen3-4B"].sent
    assert (qwen["chat_template_kwargs"], qwen["thinking_token_budget"]) == ({"enable_thinking": True}, 13107)
    assert cases["word ollama/qwen3:4b"].sent["think"] == "high"
    for name, case in cases.items():
        if name.startswith("word "):
            assert "reasoning_effort" not in case.sent
            assert case.headers["x-prefrontal-effort"] == "0.8"


def test_a_model_without_control_gets_only_the_cap_and_that_is_said(cases: dict[str, Case]) -> None:
    """Of a cap that is ours, a model that always thinks gets enough for its trace; both say that effort had no say."""
    kimi, llama = cases["pondering"], cases["plain"]
    assert kimi.sent == {"model": "kimi-k2-thinking", "messages": PLAIN, "max_tokens": 16000}
    assert llama.sent == {"model": "meta-llama/Llama-3.1-8B-Instruct", "messages": PLAIN, "max_tokens": 2000}
    for case in (kimi, llama):
        assert dropped_of(case) == ["x_prefrontal.effort=dropped"]
        (said,) = case.record["dropped"]
        assert "only its output cap can be set" in said["reason"]
        assert case.record["attempts"][0]["effort_dialect"] == "fixed"


# -- the official SDKs' own request types -------------------------------------------------------------------------------------


def fits(kind: Any, body: dict[str, Any], *, extra: frozenset[str] = frozenset()) -> None:
    """Every field exists in the SDK's request type and its value validates; `extra` are those its users pass in extra_body."""
    hints = get_type_hints(kind, include_extras=False)
    for name, value in body.items():
        if name in extra:
            continue
        assert name in hints, name
        adapter(hints[name]).validate_python(value)


def adapter(kind: Any, cache: dict[str, TypeAdapter[Any]] = {}) -> TypeAdapter[Any]:  # noqa: B006  # a cache for the test run
    """One adapter a type: building them is slow."""
    return cache.setdefault(repr(kind), TypeAdapter(kind))


def bodies_for(cases: dict[str, Case], profile: str) -> list[dict[str, Any]]:
    """Return the bodies sent to the models of a profile, but for dialects of other routes."""
    chosen = [
        case.sent
        for case in cases.values()
        if case.ask["model"].startswith(f"{profile}/") and not case.ask["model"].endswith(OWN_ROUTES)
    ]
    assert len(chosen) >= 5, profile
    return chosen


EXTRA_BODY = {
    "openai": frozenset[str](),
    "xai": frozenset[str](),
    "moonshot": frozenset({"thinking"}),
    "deepseek": frozenset({"thinking"}),
    "vllm": frozenset({"chat_template_kwargs", "thinking_token_budget"}),
    "sglang": frozenset({"chat_template_kwargs", "custom_params"}),
    "llamacpp": frozenset({"chat_template_kwargs", "thinking_budget_tokens", "reasoning_budget_tokens"}),
    "dashscope": frozenset({"enable_thinking", "thinking_budget"}),
    "openrouter": frozenset({"reasoning"}),
    "tgi": frozenset[str](),
}
"""What users of these endpoints pass in the OpenAI SDK's `extra_body`, by profile; everything else is the SDK's own."""


@pytest.mark.parametrize("profile", EXTRA_BODY)
def test_bodies_fit_the_openai_sdk(profile: str, cases: dict[str, Case]) -> None:
    """Whole bodies validate against the openai package's request type."""
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming

    for body in bodies_for(cases, profile):
        kind = CompletionCreateParamsStreaming if body.get("stream") else CompletionCreateParamsNonStreaming
        fits(kind, body, extra=EXTRA_BODY[profile])


def test_bodies_fit_the_anthropic_sdk(cases: dict[str, Case]) -> None:
    """Whole bodies validate against the anthropic package's request type."""
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    versions = {case.sent_headers["anthropic-version"] for case in cases.values() if case.path == "/v1/messages"}
    assert versions == {"2023-06-01"}  # this version of the API still takes sampling fields, which the SDK's newest does not
    for body in bodies_for(cases, "anthropic"):
        fits(MessageCreateParamsNonStreaming, body, extra=frozenset({"temperature", "top_p", "top_k"}))
        budget = body["thinking"].get("budget_tokens")
        assert budget is None or 1024 <= budget < body["max_tokens"]


def test_bodies_fit_the_google_sdk(cases: dict[str, Case]) -> None:
    """Contents, tools and configuration validate against google-genai's models, which refuse unknown fields."""
    from google.genai import types

    for body in bodies_for(cases, "gemini"):
        assert set(body) <= {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"}
        for content in [*body["contents"], *([body["systemInstruction"]] if "systemInstruction" in body else [])]:
            types.Content.model_validate(content)
        for tool in body.get("tools", ()):
            types.Tool.model_validate(tool)
        if "toolConfig" in body:
            types.ToolConfig.model_validate(body["toolConfig"])
        types.GenerationConfig.model_validate(body["generationConfig"])


def test_bodies_fit_the_mistral_sdk(cases: dict[str, Case]) -> None:
    """Whole bodies are of the mistralai package's request model, and no field is one it does not have."""
    from mistralai.client.models.chatcompletionrequest import ChatCompletionRequest

    for body in bodies_for(cases, "mistral"):
        ChatCompletionRequest.model_validate(body)
        assert set(body) <= set(ChatCompletionRequest.model_fields)


def test_bodies_fit_the_groq_sdk(cases: dict[str, Case]) -> None:
    """Whole bodies validate against the groq package's request type."""
    from groq.types.chat.completion_create_params import CompletionCreateParams

    for body in bodies_for(cases, "groq"):
        fits(CompletionCreateParams, body)
