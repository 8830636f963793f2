"""What is found at the local ports, and what is left alone."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
import pytest

from prefrontal.config.schema import Discovery as Settings
from prefrontal.contracts.wire import WireRequest
from prefrontal.execute.discovery import visit
from prefrontal.execute.discovery.local import LocalProbe, expected_ports
from prefrontal.providers.openai.provider import OpenAIProvider
from prefrontal.providers.registry import Providers
from prefrontal.testing.engines import running_engine
from prefrontal.testing.gguf import build_rules
from prefrontal.testing.upstream import MockUpstream

INSTANCE = {"x-prefrontal-instance": "pf-1"}


def openai_list(*names: str, **fields: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model", "created": 1, **fields} for name in names]}


def ollama_routes(**models: dict[str, Any]) -> dict[str, Any]:
    """Ollama with models by name → what `/api/show` says of them."""

    async def show(request):
        return 200, models[request.json["model"].replace(":", "_")]

    tags = [{"name": name.replace("_", ":"), "model": name.replace("_", ":"), "size": 5} for name in models]
    return {"/api/tags": {"models": tags}, "POST /api/show": show}


def shown(*capabilities: str, context: int = 20480) -> dict[str, Any]:
    return {"capabilities": [*capabilities], "model_info": {"general.architecture": "qwen3", "qwen3.context_length": context}}


async def test_ollama_models_come_with_what_the_engine_says_of_them(serve, at_ports, make_probe, quick):
    """Name, address, context and capabilities are the engine's own, and an embedding model is no chat model."""
    server = await serve(ollama_routes(qwen3_4b=shown("completion", "tools", "thinking"), nomic_v1=shown("embedding")))
    report = await make_probe(at_ports(ollama=server.port)).probe(quick)
    chat, vectors = report.cards
    assert (chat.id, chat.base_url, chat.profile) == ("qwen3:4b", f"http://127.0.0.1:{server.port}", "ollama")
    assert (chat.origin, chat.context_tokens, chat.context_origin) == ("discovered", 20480, "engine")
    assert (chat.can("tools"), chat.can("thinking"), chat.price.input_usd) == (True, True, 0.0)
    assert (vectors.can("embedding"), vectors.can("chat"), chat.can("chat")) == (True, False, chat.can("chat"))
    assert chat.can("chat") is not False
    assert report.seen[0].models == ("qwen3:4b", "nomic:v1")


async def test_the_shipped_mock_upstream_is_found_as_ollama_and_as_a_common_server(at_ports, make_probe, quick):
    """The same server is read through Ollama's routes at Ollama's port, and as OpenAI-compatible elsewhere."""
    async with MockUpstream(models=("one", "two")) as up:
        port = int(up.root_url.rpartition(":")[2])
        native = await make_probe(at_ports(ollama=port)).probe(quick)
        common = await make_probe(at_ports(vllm=port)).probe(quick)
    assert [(card.id, card.profile, card.base_url) for card in native.cards] == [
        ("one", "ollama", up.root_url),
        ("two", "ollama", up.root_url),
    ]
    assert [(card.profile, card.base_url, card.self_hosted) for card in common.cards] == [
        ("openai-compatible", up.base_url, True)
    ] * 2


@pytest.mark.parametrize(
    ("listed", "headers", "profile"),
    [
        (openai_list("Qwen/Qwen3-4B", owned_by="vllm", max_model_len=32768), {}, "vllm"),
        (openai_list("Qwen/Qwen3-4B", owned_by="sglang"), {}, "sglang"),
        (openai_list("Qwen/Qwen3-4B", owned_by="Qwen"), {}, "transformers"),
        (openai_list("q.gguf", owned_by="llamacpp"), {}, "llamacpp"),
        (openai_list("q.gguf", owned_by="me"), {"server": "llama.cpp"}, "llamacpp"),
        (openai_list("Qwen/Qwen3-4B", owned_by="somebody"), {}, "openai-compatible"),
        (openai_list("local-model"), {}, "openai-compatible"),
    ],
)
async def test_an_engine_on_a_shared_port_is_told_by_its_list(serve, at_ports, make_probe, quick, listed, headers, profile):
    """Port 8000 belongs to vLLM and to transformers serve, and other engines are moved to it: the owner decides."""
    server = await serve({"/v1/models": listed}, headers)
    report = await make_probe(at_ports(vllm=server.port, transformers=server.port)).probe(quick)
    assert [(card.id, card.profile) for card in report.cards] == [(listed["data"][0]["id"], profile)]
    assert (report.seen[0].profile, report.seen[0].state) == (profile, "ready")
    if profile == "vllm":
        assert report.cards[0].context_tokens == 32768


async def test_llama_cpp_is_told_by_its_properties_and_they_fill_the_card(serve, at_ports, make_probe, quick):
    """A list without an owner at 8080 is llama.cpp only if `/props` is; context and template then come from there."""
    props = {"default_generation_settings": {"n_ctx": 4096}, "chat_template": "{% if tools %}", "modalities": {"vision": True}}
    routes = {"/v1/models": openai_list("tiny")}
    real = await serve({**routes, "/props": props})
    other = await serve({**routes, "/props": {"name": "a shop"}})
    report = await make_probe(at_ports(llamacpp=(real.port, other.port))).probe(quick)
    first, second = report.cards
    assert (first.profile, first.context_tokens, first.can("vision"), first.can("tools")) == ("llamacpp", 4096, True, True)
    assert (second.profile, second.id) == ("openai-compatible", "openai-compatible/tiny")


async def test_lm_studio_is_told_by_its_native_list(serve, at_ports, make_probe, quick):
    """Its native list gives context and kind; one question there tells of all models."""
    rows = [
        {"type": "llm", "key": "qwen/qwen3-4b", "max_context_length": 32768, "capabilities": {"trained_for_tool_use": True}},
        {"type": "embedding", "key": "text-embedding-nomic"},
    ]
    listed = openai_list("qwen/qwen3-4b", "text-embedding-nomic", owned_by="organization_owner")
    server = await serve({"/v1/models": listed, "/api/v1/models": {"models": rows}})
    report = await make_probe(at_ports(lmstudio=server.port)).probe(quick)
    chat, vectors = report.cards
    assert (chat.profile, chat.context_tokens, chat.can("tools")) == ("lmstudio", 32768, True)
    assert (vectors.can("embedding"), vectors.can("chat")) == (True, False)
    assert server.asked.count("GET /api/v1/models") == 1


async def test_ports_of_the_settings_replace_the_defaults_and_are_believed(serve, at_ports, make_probe, quick):
    """An anonymous server at a port that the settings give to SGLang is SGLang; the default ports are not asked."""
    told, default = await serve({"/v1/models": openai_list("m")}), await serve({"/v1/models": openai_list("n")})
    settings = msgspec.structs.replace(quick, ports={"sglang": (told.port,)})
    report = await make_probe(at_ports(vllm=default.port)).probe(settings)
    assert [(card.id, card.profile) for card in report.cards] == [("m", "sglang")]
    assert default.asked == []


def test_the_default_ports_are_those_of_the_issue(tables):
    """Every engine's usual port is looked at once, also when two engines share it."""
    places = {place.port: [profile.name for profile in place.profiles] for place in expected_ports(Settings(), tables.profiles)}
    assert {11434, 1234, 8080, 9931, 8000, 30000} <= set(places)
    assert places[8000] == ["vllm", "transformers"]


@pytest.mark.parametrize("where", ["/v1/models", "/props"])
async def test_a_prefrontal_is_never_listed(serve, at_ports, make_probe, quick, where):
    """One answer with the instance header is enough, whichever it is; it is seen, and said whether it is us."""
    server = await serve({"/v1/models": openai_list("auto", "gpt-5.1", owned_by="llamacpp"), "/props": {}})

    async def marked(request):
        server.headers.update(INSTANCE if request.path == where else {})
        return 200, openai_list("auto", "gpt-5.1", owned_by="llamacpp")

    server.routes.update({"/v1/models": marked, "/props": marked})
    probe = make_probe(at_ports(llamacpp=server.port))
    for own, detail in (("pf-1", "this process, left alone"), ("pf-2", "another Prefrontal, left alone")):
        server.headers.clear()
        report = await probe.probe(quick, own_instance=own, fresh=True)
        assert (report.cards, report.seen[0].state, report.seen[0].detail) == ((), "prefrontal", detail)


async def test_own_ports_are_not_contacted(serve, at_ports, make_probe, quick):
    """Not even a question goes to a port that is ours, such as a local engine's."""
    server = await serve({"/v1/models": openai_list("m")})
    report = await make_probe(at_ports(vllm=server.port)).probe(quick, own_ports=frozenset({server.port}))
    assert (report.cards, report.seen, server.asked) == ((), (), [])


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((404, {"detail": "Not Found"}), "foreign"),
        ((200, {"hello": "world"}), "foreign"),
        ((200, ["a", "list"]), "foreign"),
        ((200, {"data": [{"name": 7}, {"id": None}]}), "foreign"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "foreign"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nshort", "foreign"),
        ((401, {"error": "no key"}), "locked"),
        ((503, {"error": {"message": "Loading model"}}), "loading"),
        ((200, {"data": []}), "empty"),
    ],
)
async def test_whatever_listens_is_reported_and_nothing_is_fatal(serve, at_ports, make_probe, quick, answer, state):
    """Garbage, other people's servers and locked engines give a line for people, and the good server beside them its model."""
    bad, good = await serve({"/v1/models": answer}), await serve({"/v1/models": openai_list("m", owned_by="vllm")})
    report = await make_probe(at_ports(sglang=bad.port, vllm=good.port)).probe(quick)
    states = {server.port: server.state for server in report.seen}
    assert states == {bad.port: state, good.port: "ready"}
    assert [card.id for card in report.cards] == ["m"]
    assert all(server.detail for server in report.seen if server.state != "ready")


async def test_a_port_where_nothing_listens_is_not_mentioned(at_ports, make_probe, quick):
    """The common case costs one refused connection and no line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        report = await make_probe(at_ports(vllm=taken.getsockname()[1])).probe(quick)
    assert (report.cards, report.seen) == ((), ())


async def test_a_silent_server_costs_one_timeout(serve, at_ports, make_probe, quick):
    """A server that accepts and never answers is silent after the time of the settings."""

    async def never(_request):
        await asyncio.sleep(30)

    server = await serve({"/v1/models": never})
    async with asyncio.timeout(3):
        report = await make_probe(at_ports(vllm=server.port)).probe(quick)
    assert (report.seen[0].state, report.seen[0].detail) == ("silent", "no answer within 0.4 s")
    assert len(server.asked) == 1


async def test_cancelling_a_round_ends_its_requests(serve, at_ports, make_probe):
    """Cancellation comes through at once and closes the connection to the server."""
    begun = asyncio.Event()

    async def never(_request):
        begun.set()
        await asyncio.sleep(30)

    server = await serve({"/v1/models": never})
    task = asyncio.create_task(make_probe(at_ports(vllm=server.port)).probe(Settings(timeout_s=20)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(2):
        await server.http.requests[0].over()
    assert server.http.requests[0].closed_early


async def test_a_redirect_is_not_followed(serve, at_ports, make_probe, quick):
    """A server cannot send the probe elsewhere."""
    other = await serve({"/v1/models": openai_list("far", owned_by="vllm")})
    server = await serve({"/v1/models": (307, {})}, {"location": f"http://127.0.0.1:{other.port}/v1/models"})
    report = await make_probe(at_ports(vllm=server.port)).probe(quick)
    assert (report.cards, other.asked) == ((), [])


async def test_a_plug_in_cannot_make_a_probe_leave_the_machine(serve, at_ports, transport, quick):
    """A provider that renders another address gets no answer from there."""
    away = await serve({"/v1/models": openai_list("far", owned_by="vllm")})

    class Astray(OpenAIProvider):
        def render_models(self, target):
            return WireRequest(method="GET", url=f"http://localhost:{away.port}/v1/models")

    sources = at_ports(vllm=1)
    probe = LocalProbe(transport=transport, providers=Providers({"openai": Astray()}), sources=sources)
    assert (await probe.probe(quick)).cards == ()
    assert away.asked == []


async def test_many_models_are_bounded_and_asked_a_few_at_a_time(serve, at_ports, make_probe, quick):
    """Of 60 models 50 are taken, and never more than four questions are open at once."""
    open_now, most = 0, 0

    async def show(_request):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.002)
        open_now -= 1
        return 200, shown("completion")

    tags = [{"name": f"m{i}", "model": f"m{i}"} for i in range(60)]
    server = await serve({"/api/tags": {"models": tags}, "POST /api/show": show})
    report = await make_probe(at_ports(ollama=server.port)).probe(quick)
    assert (len(report.cards), report.seen[0].detail) == (visit.MAX_MODELS, "the first 50 of 60 models")
    assert 2 <= most <= visit.MAX_ASKED_AT_ONCE


async def test_details_are_asked_again_only_when_the_list_changed_or_on_demand(serve, at_ports, make_probe, quick):
    """A quiet round costs one question; a model that was pulled anew is looked at again, and `fresh` looks at all."""
    server = await serve(ollama_routes(a=shown("completion"), b=shown("completion")))
    probe = make_probe(at_ports(ollama=server.port))

    async def questions(*, fresh: bool = False) -> int:
        before = server.asked.count("POST /api/show")
        report = await probe.probe(quick, fresh=fresh)
        assert [card.context_tokens for card in report.cards] == [20480, 20480]
        return server.asked.count("POST /api/show") - before

    assert await questions() == 2
    assert await questions() == 0
    server.routes["/api/tags"]["models"][0]["digest"] = "new"
    assert await questions() == 1
    assert await questions(fresh=True) == 2


async def test_a_development_server_is_not_bothered_every_round(serve, at_ports, make_probe, quick):
    """After a 404 the port rests for ten rounds and is still reported; a look on demand asks at once."""
    server = await serve({})
    probe = make_probe(at_ports(vllm=server.port))
    for _ in range(10):
        assert (await probe.probe(quick)).seen[0].state == "foreign"
    assert len(server.asked) == 1
    server.routes["/v1/models"] = openai_list("m", owned_by="vllm")
    assert [card.id for card in (await probe.probe(quick, fresh=True)).cards] == ["m"]


async def test_a_model_whose_details_fail_is_kept_and_marked(serve, at_ports, make_probe, quick):
    """The list is enough for a card; the report says that the rest is owed."""
    server = await serve({"/api/tags": {"models": [{"name": "m", "model": "m"}]}, "POST /api/show": (500, {"error": "busy"})})
    report = await make_probe(at_ports(ollama=server.port)).probe(quick)
    assert [card.id for card in report.cards] == ["m"]
    assert report.partial == {(f"http://127.0.0.1:{server.port}", "m")}


async def test_what_an_unknown_server_passes_on_is_not_called_free(serve, at_ports, make_probe, quick):
    """Local weights cost nothing; a hosted model behind a local proxy, or in Ollama's cloud, has no known price."""
    proxy = await serve({"/v1/models": openai_list("claude-opus-5", "qwen3-4b")})
    tags = [{"name": "big-cloud", "model": "big-cloud", "remote_host": "https://ollama.com"}]
    cloud = await serve({"/api/tags": {"models": tags}, "POST /api/show": shown("completion")})
    report = await make_probe(at_ports(vllm=proxy.port, ollama=cloud.port)).probe(quick)
    by_id = {card.id: card for card in report.cards}
    assert (by_id["qwen3-4b"].self_hosted, by_id["qwen3-4b"].price.output_usd) == (True, 0.0)
    assert (by_id["claude-opus-5"].self_hosted, by_id["claude-opus-5"].price.output_usd) == (False, None)
    assert (by_id["big-cloud"].self_hosted, by_id["big-cloud"].auto, by_id["big-cloud"].price.input_usd) == (False, False, None)


async def test_the_second_of_one_name_is_called_after_its_profile(serve, at_ports, make_probe, quick):
    """Three servers with one model name give three names, in the order of the ports."""
    same = {"/v1/models": openai_list("m", owned_by="vllm")}
    one, two, three = [await serve(same) for _ in range(3)]
    report = await make_probe(at_ports(vllm=(one.port, two.port, three.port))).probe(quick)
    assert [(card.id, card.wire_name) for card in report.cards] == [
        ("m", "m"),
        ("vllm/m", "m"),
        (f"vllm:{three.port}/m", "m"),
    ]


async def test_a_real_llama_cpp_is_found_with_its_context_and_kind(at_ports, make_probe, tmp_path):
    """The engine we ship, asked over its own routes, is recognised whatever the port is usually for."""
    path = build_rules(tmp_path / "rules.gguf", {"login": "C"}, context_length=2048)
    async with running_engine(path) as base_url:
        port = int(base_url.rpartition(":")[2])
        report = await make_probe(at_ports(vllm=port, transformers=port)).probe(Settings(timeout_s=5))
    (card,) = report.cards
    assert (card.id, card.profile, card.context_tokens, card.context_origin) == ("rules", "llamacpp", 2048, "engine")
    assert (report.partial, card.can("vision"), card.self_hosted) == (frozenset(), False, True)
