"""The pages for people: what they show, that nothing in them can run, and who may see them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import prefrontal
from prefrontal.chat.usage import Usage
from prefrontal.contracts.assessment import Assessment, Needs
from prefrontal.contracts.plan import Candidate, Plan, Reason
from prefrontal.contracts.record import Attempt, RequestRecord
from prefrontal.contracts.wire import Dropped
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.site import Site
from prefrontal.serve.ui.timeline import duration, timeline_of
from prefrontal.serve.ui.view import money

VOID = {"meta", "input", "rect", "link", "br", "img", "hr"}
EVIL = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """A parsed page: elements as (tag, attributes), text, and whether every element was closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


class Got(SimpleNamespace):
    """An answer: status, headers by name, text."""

    @property
    def page(self) -> Page:
        return Page(self.text)


async def call(site: Site, path: str, *, method: str = "GET", **headers: str) -> Got:
    """Ask the site, in process."""
    url, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": url,
        "raw_path": url.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 4123),
        "extensions": {},
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await site(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Got(status=sent[0]["status"], headers=found, text=body.decode())


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


@pytest.fixture
async def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Sites over a ledger in memory: awaiting it with settings gives the site and the ledger."""
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    async with AsyncExitStack() as stack:

        async def one(**tree: Any) -> tuple[Site, MemoryLedger]:
            ledger = MemoryLedger()
            config = {"discovery": {"enabled": False}, **tree}
            env = {"PREFRONTAL_HOME": str(tmp_path)}
            pf = await stack.enter_async_context(prefrontal.open(config, env=env, ledger=ledger))
            return Site(pf, Metrics(pf), instance="pf_test"), ledger

        yield one


def full_record(**fields: Any) -> RequestRecord:
    """Return a record with something in every part of the page."""
    usage = Usage(uncached_input_tokens=1200, cache_read_tokens=300, output_tokens=90, reasoning_tokens=40, source="reported")
    dropped = (Dropped(field="temperature", reason="this model takes none"),)
    plain: dict[str, Any] = {
        "id": "req_00000000000000000000000001",
        "started_s": 1_790_000_000.0,
        "route": "/v1/chat/completions",
        "dialect": "chat",
        "requested_model": "auto",
        "status": "ok",
        "answered_by": "model",
        "model": "big",
        "stream": True,
        "duration_ms": 2000.0,
        "overhead_ms": 0.4,
        "first_token_ms": 1500.0,
        "usage": usage,
        "cost_usd": 0.00125,
        "states": ("INIT", "ROUTING_DECISION", "MODEL_SELECTION", "LLM_CALL", "SYNTHESIS", "COMPLETED"),
        "attempts": (
            Attempt(
                model="small", provider="local", ended_ms=500.0, outcome="error", error_code="provider_overloaded", error="busy"
            ),
            Attempt(
                model="big",
                provider="openai",
                started_ms=500.0,
                queued_ms=250.0,
                first_token_ms=1500.0,
                ended_ms=2000.0,
                finish_reason="stop",
                response_model="big-2026",
                chunks=30,
                effort_fields={"reasoning_effort": "low"},
                usage=usage,
                cost_usd=0.00125,
                dropped=dropped,
            ),
        ),
        "assessment": Assessment(task_type="code", complexity=0.4, needs=Needs(tools=True), confidence=0.9, signals=("fence",)),
        "plan": Plan(
            path="model",
            model="small",
            policy="balanced",
            fallbacks=("big",),
            reasons=(Reason(rule="channel", effect="the channel prefers cost"),),
            candidates=(
                Candidate(model="small", score=0.9, eligible=True, parts={"cost": 0.5}),
                Candidate(model="huge", score=0.1, eligible=False, lost="its window is too small"),
            ),
        ),
        "effort_score": 0.35,
        "dropped": dropped,
        "metadata": {"team": "blue"},
        "content": {
            "messages": [{"role": "user", "blocks": [{"type": "text", "text": "Reverse a list."}]}],
            "choices": [{"blocks": [{"type": "reasoning", "text": "Slices."}, {"type": "text", "text": "x[::-1]"}]}],
        },
    }
    return RequestRecord(**{**plain, **fields})


async def test_a_page_shows_everything_of_a_request(opened: Any) -> None:
    """Facts, states, reasons, candidates with why they lost, attempts, usage with its source, cost, dropped fields, words."""
    site, ledger = await opened()
    ledger.put(full_record())
    got = await call(site, "/ui/traces/req_00000000000000000000000001")
    assert got.status == 200
    text = got.page.text
    for expected in (
        "auto → big",
        "$0.00125",
        "1,500 in, 90 out (reported)",
        "MODEL_SELECTION",
        "the channel prefers cost",
        "its window is too small",
        "provider_overloaded: busy",
        "big-2026",
        "reasoning_effort = low",
        "this model takes none",
        "Reverse a list.",
        "Slices.",
        "x[::-1]",
        "complexity 0.40",
        "2026-09-21",
        '"team": "blue"',
    ):
        assert expected in text, expected


async def test_a_page_is_well_formed_and_can_be_read_aloud(opened: Any) -> None:
    """One h1, headings without a leap, each table with headers that have a scope, each picture with words, a language."""
    site, ledger = await opened()
    ledger.put(full_record())
    for path in ("/ui/traces", "/ui/traces/req_00000000000000000000000001", "/ui/traces/none"):
        page = (await call(site, path)).page
        levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        assert page.tags("html")[0]["lang"] == "en"
        assert all("scope" in header for header in page.tags("th"))
        assert all("aria-label" in picture or picture.get("aria-hidden") == "true" for picture in page.tags("svg"))
        assert page.tags("meta")[1]["content"] == "width=device-width, initial-scale=1"
        assert len(page.tags("main")) == 1


async def test_nothing_in_a_page_can_run_or_load(opened: Any) -> None:
    """No script, no handler, no inline style, no address of another origin; and the policy forbids all of it."""
    site, ledger = await opened()
    ledger.put(full_record())
    for path in ("/ui/traces", "/ui/traces/req_00000000000000000000000001", "/ui/nothing"):
        got = await call(site, path)
        for tag, attributes in got.page.elements:
            assert tag not in ("script", "img", "link", "iframe", "object")
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            assert all(
                (attributes.get(name) or "/").startswith(("/ui", "/docs"))
                for name in ("href", "src", "action")
                if name in attributes
            )
        policy = got.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        style = got.text.split("<style>")[1].split("</style>")[0]
        assert f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" in policy
        assert "frame-ancestors 'none'" in policy
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["cache-control"] == "no-store"


async def test_what_clients_and_upstreams_wrote_is_escaped_everywhere(opened: Any) -> None:
    """A model, an error, a reason, a header and words that are HTML stay words."""
    site, ledger = await opened()
    blocks = [{"type": "text", "text": EVIL}, {"type": EVIL, "x": EVIL}]
    dropped = (Dropped(field=EVIL, reason=EVIL),)
    ledger.put(
        full_record(
            requested_model=EVIL,
            model=EVIL,
            error_code=EVIL,
            error=EVIL,
            status="error",
            session=EVIL,
            request_id=EVIL,
            channel=EVIL,
            route=EVIL,
            tool=EVIL,
            states=(EVIL,),
            dropped=dropped,
            metadata={EVIL: EVIL},
            attempts=(
                Attempt(model=EVIL, provider=EVIL, error=EVIL, effort_fields={EVIL: EVIL}, dropped=dropped, response_model=EVIL),
            ),
            plan=Plan(
                path="model",
                policy=EVIL,
                fallbacks=(EVIL,),
                reasons=(Reason(rule=EVIL, effect=EVIL),),
                candidates=(Candidate(model=EVIL, score=1.0, eligible=True, lost=EVIL, parts={EVIL: 1.0}),),
            ),
            content={"messages": [{"role": EVIL, "blocks": blocks}], "choices": [{"blocks": blocks}]},
        )
    )
    for path in (
        "/ui/traces/req_00000000000000000000000001",
        "/ui/traces?model=%3Cscript%3E%22",
        "/ui/traces",
        "/ui/traces/<script>",
    ):
        got = await call(site, path)
        assert "<script" not in got.text
        assert not got.page.tags("script")
    shown = (await call(site, "/ui/traces/req_00000000000000000000000001")).page.text
    assert shown.count("alert(1)") > 20


async def test_where_keys_are_asked_for_the_browser_is_asked_for_one(opened: Any) -> None:
    """401 with a challenge and a page; the key as the password opens it; not in the address."""
    site, ledger = await opened(server={"api_keys": ["secret-key-1"]})
    ledger.put(full_record())
    refused = await call(site, "/ui/traces")
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Basic realm=")
    assert refused.headers["content-type"].startswith("text/html")
    assert "req_0000" not in refused.text
    assert (await call(site, "/ui/traces?key=secret-key-1")).status == 401
    assert (await call(site, "/ui/traces", authorization=basic("wrong"))).status == 401
    assert (await call(site, "/ui/traces", authorization="Basic %%%")).status == 401
    assert (await call(site, "/ui/traces", authorization=basic("secret-key-1"))).status == 200
    assert (await call(site, "/ui/traces", authorization="Bearer secret-key-1")).status == 200


async def test_the_browsers_password_is_no_key_for_the_api(opened: Any) -> None:
    """Else any site could make a browser that knows it post to the API."""
    site, _ = await opened(server={"api_keys": ["secret-key-1"]})
    assert (await call(site, "/v1/traces", authorization=basic("secret-key-1"))).status == 401
    assert (await call(site, "/v1/chat/completions", method="POST", authorization=basic("secret-key-1"))).status == 401
    assert (await call(site, "/ui/traces", method="POST", authorization=basic("secret-key-1"))).status == 401


async def test_without_keys_this_machine_sees_the_pages(opened: Any) -> None:
    """The same rule as for the API."""
    site, _ = await opened()
    assert (await call(site, "/ui/traces")).status == 200


async def test_a_request_that_is_not_there_is_a_page_with_404(opened: Any) -> None:
    """People get words, not JSON."""
    site, _ = await opened()
    got = await call(site, "/ui/traces/req_none")
    assert got.status == 404
    assert "There is no trace 'req_none'" in got.page.text


async def test_the_list_filters_and_leads_to_older_requests(opened: Any) -> None:
    """Fifty to a page; the filters stay in the link and in the form."""
    site, ledger = await opened()
    for number in range(60):
        ledger.put(
            full_record(id=f"req_{number:03}", status="ok" if number % 2 else "error", error_code=None if number % 2 else "oops")
        )
    page = (await call(site, "/ui/traces")).page
    links = [a["href"] for a in page.tags("a") if (a["href"] or "").startswith("/ui/traces/")]
    assert links == [f"/ui/traces/req_{number:03}" for number in range(59, 9, -1)]
    (older,) = [a["href"] for a in page.tags("a") if a.get("rel") == "next"]
    assert older == "/ui/traces?before=req_010"
    rest = (await call(site, older)).page
    assert len([a for a in rest.tags("a") if (a["href"] or "").startswith("/ui/traces/")]) == 10
    failed = (await call(site, "/ui/traces?status=error")).page
    assert len([a for a in failed.tags("a") if (a["href"] or "").startswith("/ui/traces/")]) == 30
    assert next(o for o in failed.tags("option") if "selected" in o)["value"] == "error"


async def test_an_empty_list_says_so(opened: Any) -> None:
    """And a query that is not one is refused in words."""
    site, _ = await opened()
    assert "No request matches" in (await call(site, "/ui/traces")).page.text


async def test_a_real_request_has_its_page(opened: Any) -> None:
    """From the question to the page, through the machine."""
    site, _ = await opened()
    reply = await site.pf.chat("What is 17.5% of 2,340?")
    text = (await call(site, f"/ui/traces/{reply.record.id}")).page.text
    assert "tool calculator" in text
    assert "No model was called." in text
    assert "were not kept" in text


def test_the_bars_lie_where_the_times_say() -> None:
    """The second attempt starts at a quarter, waits to three eighths, answers from three quarters to the end."""
    timeline = timeline_of(full_record())
    own, failed, good = timeline.rows
    assert (own.parts[0].x, own.parts[0].width, own.mark) == (0.0, 1000.0, 750.0)
    assert [(part.kind, part.x, part.width) for part in failed.parts] == [("wait", 0.0, 250.0)]
    assert [(part.kind, part.x, part.width) for part in good.parts] == [
        ("queue", 250.0, 125.0),
        ("wait", 375.0, 375.0),
        ("answer", 750.0, 250.0),
    ]
    assert timeline.ticks == ("0 ms", "500 ms", "1.00 s", "1.50 s", "2.00 s")
    assert "waited 250 ms in the queue" in good.spoken


def test_a_part_of_no_length_is_still_seen_and_inside() -> None:
    """A call that ended at once at the very end does not stick out of the picture."""
    attempts = (Attempt(model="m", started_ms=1000.0, ended_ms=1000.0, outcome="error"),)
    (_, row) = timeline_of(full_record(duration_ms=1000.0, first_token_ms=None, attempts=attempts)).rows
    (part,) = row.parts
    assert part.width > 0
    assert part.x + part.width <= 1000.0
    assert timeline_of(full_record(duration_ms=0.0, first_token_ms=None, attempts=())).rows[0].parts


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, "–"), (0, "0 ms"), (0.42, "0.4 ms"), (35.4, "35 ms"), (1240, "1.24 s"), (61000, "61.0 s"), (200_000, "3 min 20 s")],
)
def test_times_are_written_for_people(milliseconds: float | None, text: str) -> None:
    """Units follow the size."""
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("usd", "text"), [(None, "unknown"), (0, "$0"), (12.345, "$12.35"), (0.00125, "$0.00125"), (4e-8, "$4e-08")]
)
def test_costs_are_written_for_people(usd: float | None, text: str) -> None:
    """Unknown is not zero, and a small cost is not zero either."""
    assert money(usd) == text
