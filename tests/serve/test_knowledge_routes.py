"""The routes of engrams: what is listed, found and cited over HTTP, and what is refused."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import prefrontal
from prefrontal.app.money import KeyDraft
from prefrontal.knowledge import installed
from prefrontal.knowledge.cache import EngramCache
from prefrontal.knowledge.ingest.run import ingest_bytes
from prefrontal.knowledge.store.engram import create
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.site import Site
from prefrontal.testing.clock import FakeClock

PUMPS = b"# Pumps\n\nGrease the seal of the pump each spring.\n"
PAGE = b"<h1>Turbines</h1>\n<p>Blades wear out.</p>"


async def call(site: Site, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Ask the site, in process; return status and document."""
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 4123),
        "extensions": {},
    }
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await site(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def engrams(tmp_path: Path) -> Path:
    """A home with one engram of a text and a page, and one that is damaged."""
    folder = tmp_path / "engrams"
    clock = FakeClock()
    create(folder / "work.engram", clock=clock)
    ingest_bytes(folder / "work.engram", "manual/pumps.md", PUMPS, clock=clock, tags=("manual",))
    ingest_bytes(folder / "work.engram", "page.html", PAGE, clock=clock)
    (folder / "bad.engram").write_bytes(b"no database" * 1000)
    return folder


@pytest.fixture
async def site(engrams: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    env = {"PREFRONTAL_HOME": str(engrams.parent)}
    async with prefrontal.open({"discovery": {"enabled": False}}, env=env, ledger=MemoryLedger()) as pf:
        yield Site(pf, Metrics(pf), instance="pf_test")


async def test_engrams_are_listed_with_what_is_wrong(site: Site) -> None:
    """Each has its version and passages; a damaged one is listed, not hidden."""
    status, found = await call(site, "GET", "/v1/knowledge")
    assert (status, found["object"]) == (200, "list")
    bad, work = found["data"]
    assert bad["id"] == "bad"
    assert bad["problem"] == "The engram bad.engram cannot be opened: file is not a database."
    assert work == {"id": "work", "object": "engram", "version": 2, "passages": 2, "problem": None}


async def test_one_engram_says_what_it_holds(site: Site) -> None:
    """Files by type, bytes, and how its vectors are made."""
    status, found = await call(site, "GET", "/v1/knowledge/work")
    assert status == 200
    assert (found["files"], found["passages"], found["types"]) == (3, 2, {"html": 2, "markdown": 1})
    assert found["vectors"] == {"dim": 65536, "nonzeros": 200, "mode": "int8", "seed": 0}


async def test_a_search_cites_what_it_found(site: Site, engrams: Path) -> None:
    """A result has its place, its text, the words that matched, and bytes whose hash is that of the file."""
    status, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": "how often is the seal greased", "k": 1})
    assert status == 200
    (result,) = found["results"]
    assert (result["path"], result["lines"], result["heading"]) == ("manual/pumps.md", [1, 3], "Pumps")
    assert {match["term"] for match in result["matches"]} >= {"seal", "greas"}
    start, end = result["citation"]["bytes"]
    assert PUMPS[start:end].decode() == result["text"]
    assert 0 < found["evidence"] <= 1
    assert found["version"] == 2
    _, page = await call(site, "POST", "/v1/knowledge/work/search", {"query": "blades"})
    assert (page["results"][0]["path"], page["results"][0]["lines"]) == ("page.html", [1, 2])
    _, bare = await call(site, "POST", "/v1/knowledge/work/search", {"query": "blades", "text": False})
    assert bare["results"][0]["text"] == ""


@pytest.mark.parametrize(
    ("narrowing", "count"),
    [
        ({}, 1),
        ({"scope": "manual"}, 1),
        ({"scope": "man"}, 0),
        ({"filters": {"paths": ["*.md"]}}, 1),
        ({"filters": {"exclude": ["*.md"]}}, 0),
        ({"filters": {"types": ["html"]}}, 0),
        ({"filters": {"tags": ["manual"]}}, 1),
        ({"filters": {"symbols": ["x*"]}}, 0),
        ({"filters": {"since_s": 1e10}}, 0),
    ],
)
async def test_a_search_can_be_narrowed(narrowing: dict[str, Any], count: int, site: Site) -> None:
    """Scope and each filter leave only what they name."""
    status, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": "pump", **narrowing})
    assert (status, len(found["results"])) == (200, count)


async def test_a_search_for_nothing_finds_nothing(site: Site) -> None:
    """Stop words alone, unknown words and ten thousand words are answered."""
    for query in ("the of and", "zzzz", "pump " * 10_000):
        status, found = await call(site, "POST", "/v1/knowledge/work/search", {"query": query})
        assert (status, len(found["results"])) == (200, int("pump" in query))


@pytest.mark.parametrize("name", ["nope", "..", "work.engram", "%2e%2e"])
async def test_an_unknown_engram_is_not_found(name: str, site: Site, engrams: Path) -> None:
    """404, in words that name no folder of this machine."""
    for method, path in (("GET", f"/v1/knowledge/{name}"), ("POST", f"/v1/knowledge/{name}/search")):
        status, found = await call(site, method, path, {"query": "x"})
        assert (status, found["error"]["code"]) == (404, "not_found")
        assert str(engrams) not in json.dumps(found)


async def test_a_damaged_engram_is_our_fault_and_leaves_the_rest(site: Site) -> None:
    """503 for it, 200 for its neighbour."""
    status, found = await call(site, "POST", "/v1/knowledge/bad/search", {"query": "x"})
    assert (status, found["error"]["code"]) == (503, "store_error")
    assert found["error"]["message"].startswith("The engram bad.engram cannot be opened")
    assert (await call(site, "POST", "/v1/knowledge/work/search", {"query": "pump"}))[0] == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[1]", None),
        (b"\xff", None),
        ({"k": 1}, None),
        ({"query": ""}, "query"),
        ({"query": 7}, "query"),
        ({"query": "x", "k": 0}, "k"),
        ({"query": "x", "k": 1001}, "k"),
        ({"query": "x", "limit": 3}, None),
        ({"query": "x", "filters": {"paths": "a"}}, "filters.paths"),
        ({"query": "x", "filters": {"paths": [""]}}, "glob"),
        ({"query": "x" * 100_001}, "query"),
    ],
)
async def test_a_wrong_search_names_its_field(body: Any, param: str | None, site: Site) -> None:
    """400 with the path of what is wrong."""
    status, found = await call(site, "POST", "/v1/knowledge/work/search", body)
    assert (status, found["error"]["param"]) == (400, param), found


async def test_a_new_version_is_seen_by_the_next_search(site: Site, engrams: Path) -> None:
    """An engram that is open follows its file."""
    ask = {"query": "bearing"}
    assert (await call(site, "POST", "/v1/knowledge/work/search", ask))[1]["results"] == []
    ingest_bytes(engrams / "work.engram", "new.md", b"Oil the bearing.", clock=FakeClock())
    found = (await call(site, "POST", "/v1/knowledge/work/search", ask))[1]
    assert (found["version"], found["results"][0]["path"]) == (3, "new.md")


async def test_searches_do_not_hold_up_the_loop(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one waits for its engram, everything else is served."""
    asked, go = threading.Event(), threading.Event()
    taken = EngramCache._taken

    def slow(self: EngramCache, name: str) -> Any:
        asked.set()
        go.wait(10)
        return taken(self, name)

    monkeypatch.setattr(EngramCache, "_taken", slow)
    waiting = asyncio.create_task(call(site, "POST", "/v1/knowledge/work/search", {"query": "pump"}))
    assert await asyncio.to_thread(asked.wait, 10)
    assert (await call(site, "GET", "/v1/config/status"))[0] == 200
    assert not waiting.done()
    go.set()
    assert (await waiting)[0] == 200


async def test_without_the_extra_it_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway runs without numpy; these routes name the command that helps."""
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "numpy" else object())
    for method, path in (("GET", "/v1/knowledge"), ("POST", "/v1/knowledge/work/search")):
        status, found = await call(site, method, path, {"query": "x"})
        assert (status, found["error"]["code"]) == (400, "capability_missing")
        assert "pip install 'prefrontal[knowledge]'" in found["error"]["message"]


async def test_a_virtual_key_sees_the_engrams_it_names(site: Site) -> None:
    """For a key there are no engrams but its own: not in the list, and a 404 that is the same as for one that is not there."""
    drafts = {"none": (), "work": ("work",), "other": ("other",), "all": ("*",)}
    seen = {}
    for name, engrams in drafts.items():
        secret = (await site.pf.money.issue(KeyDraft(name=name, engrams=engrams), "test")).secret
        key = {"authorization": f"Bearer {secret}"}
        found = [await call(site, "POST", "/v1/knowledge/work/search", {"query": "pump"}, **key)]
        found += [await call(site, "GET", path, **key) for path in ("/v1/knowledge/work", "/v1/knowledge")]
        seen[name] = ([status for status, _ in found], [one["id"] for one in found[2][1]["data"]])
        _, missing = await call(site, "GET", "/v1/knowledge/nope", **key)
        if name == "none":
            assert found[1][1]["error"]["message"].replace("work", "nope") == missing["error"]["message"]
    refused, allowed = [404, 404, 200], [200, 200, 200]
    assert seen == {"none": (refused, []), "work": (allowed, ["work"]), "other": (refused, []), "all": (allowed, ["bad", "work"])}


async def test_a_key_is_needed_where_one_is_configured(engrams: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the key nothing is told, not even which engrams there are."""
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    config = {"discovery": {"enabled": False}, "server": {"api_keys": ["a-key-of-this-test"]}}
    async with prefrontal.open(config, env={"PREFRONTAL_HOME": str(engrams.parent)}, ledger=MemoryLedger()) as pf:
        site = Site(pf, Metrics(pf), instance="pf_test")
        assert (await call(site, "GET", "/v1/knowledge"))[0] == 401
        assert (await call(site, "GET", "/v1/knowledge", authorization="Bearer a-key-of-this-test"))[0] == 200
