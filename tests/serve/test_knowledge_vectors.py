"""Vectors over HTTP: made in the background by the encoder of the configuration, used by searches, and their failures said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.encoders import Encoders
from prefrontal.chat.embeddings import EmbeddingsRequest, EmbeddingsResponse
from prefrontal.errors import EgressDenied, PrefrontalError
from prefrontal.knowledge.dense import pinned
from prefrontal.knowledge.dense.learn import learn
from prefrontal.knowledge.ingest.run import ingest_bytes
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.store.engram import create
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.machine.context import CallContext
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.site import Site
from prefrontal.testing.clock import FakeClock

TEXTS = ("grease the seal of the pump", "oil the bearing of the pump", "bake the bread in the oven", "salt the bread well")


async def call(site: Site, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Ask the site, in process; return status and document."""
    head = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    ends = {"client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 4123)}
    scope = {**head, **ends, "scheme": "http", "headers": [], "extensions": {}}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"" if body is None else json.dumps(body).encode(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await site(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with an engram, and an encoder that was learnt from it."""
    path = tmp_path / "engrams" / "work.engram"
    create(path, clock=FakeClock())
    for n, text in enumerate(TEXTS * 3):
        ingest_bytes(path, f"{n}.txt", f"{text} ({n})".encode(), clock=FakeClock())
    with Searcher(path) as searcher:
        pinned.keep_terms(tmp_path / "encoders", "own", learn(searcher.index, dim=4), source="work")
    return tmp_path


Open = Callable[[dict[str, Any]], Any]


@pytest.fixture
async def opened(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    running: list[Any] = []

    async def made(knowledge: dict[str, Any]) -> Site:
        config = {"discovery": {"enabled": False}, "knowledge": knowledge}
        context = prefrontal.open(config, env={"PREFRONTAL_HOME": str(home)}, ledger=MemoryLedger())
        pf = await context.__aenter__()
        running.append(context)
        return Site(pf, Metrics(pf), instance="pf_test")

    yield made
    for context in running:
        await context.__aexit__(None, None, None)


async def filled(site: Site) -> Any:
    """Return what the engram says of its vectors, once they are there."""
    for _ in range(400):
        _, found = await call(site, "GET", "/v1/knowledge/work")
        if found["dense"] and not found["dense"][0]["missing"] and found["dense"][0]["calibration"] is not None:
            return found["dense"][0]
        await asyncio.sleep(0.01)
    raise AssertionError("the vectors never came")


async def test_vectors_are_made_in_the_background_and_used(opened: Open) -> None:
    """The configured encoder fills the engram by itself; a search then says by which mode, ranks and share it went."""
    site = await opened({"encoder": "own"})
    stands = await filled(site)
    assert (stands["encoder"], stands["passages"], stands["precision"]) == ("own", 12, "int8")
    for mode in ("hybrid", "dense"):
        status, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": "seal of a pump", "mode": mode, "k": 3})
        assert (status, found["mode"]) == (200, mode)
        assert all(one["blend"]["dense_rank"] >= 1 for one in found["results"])
        assert found["results"][0]["text"].startswith(TEXTS[0])
    _, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": "seal", "mode": "lexical"})
    assert found["mode"] == "lexical"
    assert "blend" not in found["results"][0]
    status, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": "seal", "mode": "best"})
    assert (status, found["error"]["param"]) == (400, "mode")


async def test_without_vectors_words_answer(opened: Open) -> None:
    """With no encoder `auto` goes by words, and who asks for vectors is told what is missing."""
    site = await opened({})
    _, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": "seal"})
    assert (found["mode"], len(found["results"])) == ("lexical", 3)
    status, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": "seal", "mode": "dense"})
    assert status == 400
    assert "no vectors" in found["error"]["message"]


async def test_an_encoder_that_fails_leaves_words_and_is_said(opened: Open) -> None:
    """An unknown encoder stops no search by `auto`: the answer has a note; asked for by name the error is its own."""
    site = await opened({"encoder": "lost"})
    _, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": "seal"})
    assert found["mode"] == "lexical"
    assert "lost" in found["note"]
    status, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": "seal", "mode": "hybrid"})
    assert status == 404
    _, found = await call(site, "GET", "/v1/knowledge/work")
    assert found["dense"] == []


async def test_an_engram_may_go_without(opened: Open) -> None:
    """`none` for one engram keeps it to words whatever holds for all."""
    site = await opened({"encoder": "own", "engrams": {"work": {"encoder": "none"}}})
    _, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": "seal"})
    assert (found["mode"], found.get("note")) == ("lexical", None)


async def test_a_model_is_asked_as_any_request_is(tmp_path: Path) -> None:
    """Texts go through the gateway with the class of the engram's data; what refuses them there refuses here."""
    asked: list[tuple[tuple[Any, ...], tuple[str, ...]]] = []

    async def embed(request: EmbeddingsRequest, context: CallContext) -> Any:
        asked.append((request.inputs, context.data_classes))
        if "secret" in context.data_classes:
            raise EgressDenied("not there")
        return type("Done", (), {"response": EmbeddingsResponse(vectors=tuple([(3.0, 4.0)] * len(request.inputs)))})

    encoders = Encoders(tmp_path)
    encoders.attach(embed)
    found = await encoders.get("model:some/embedder", "internal")
    rows = await asyncio.to_thread(found.encode, ["a", "", "c"])
    assert rows.tolist() == [pytest.approx([0.6, 0.8])] * 3
    assert {classes for _, classes in asked} == {("internal",)}
    assert await encoders.get("model:some/embedder", "internal") is found
    with pytest.raises(EgressDenied):
        await encoders.get("model:some/embedder", "secret")
    with pytest.raises(PrefrontalError):
        await Encoders(tmp_path).get("model:some/embedder")
