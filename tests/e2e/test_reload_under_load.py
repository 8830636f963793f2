"""Editing the configuration under load: 500 requests in flight, 20 saves, 3 of them broken."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

IN_FLIGHT = 500
SAVES = 20
BROKEN = {4: "models: [", 10: "modles: {}", 16: "unset"}
"""Save number → what is wrong: no YAML, a key misspelt, a variable that does not exist."""

SERVES_WITHIN_S = 2.0
"""From the save to the first answer by it (specified)."""

ANSWER_S = 1.5
TEXT = "an answer that takes its time"


class Served:
    """A gateway whose file is edited, and a light client: 500 of the SDK's own would measure the SDK."""

    def __init__(self, up: MockUpstream, gateway: Any, http: aiohttp.ClientSession) -> None:
        self.up, self.gateway, self.http = up, gateway, http

    def tree(self, number: int) -> dict[str, Any]:
        """Return the configuration of save `number`: always `m`, and a model and a limit of its own."""
        entry = {"profile": "openai-compatible", "endpoint": self.up.base_url}
        return {
            "models": {"m": {**entry, "tags": [f"save{number}"]}, f"v{number}": entry},
            "limits": {"concurrency": 4000, "concurrency_per_model": 2000 + number},
            "discovery": {"enabled": False},
        }

    def save(self, number: int) -> None:
        """Write the file as an editor does: beside it, then in its place."""
        text = yaml.safe_dump(self.tree(number))
        if BROKEN.get(number) == "unset":
            text = text.replace(f"tags:\n    - save{number}", "key: ${NOBODY_SET_THIS}")
            assert "NOBODY" in text
        elif number in BROKEN:
            text = BROKEN[number]
        beside = self.gateway.config.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.gateway.config)

    async def get(self, path: str) -> Any:
        async with self.http.get(path) as answer:
            return await answer.json()

    async def chat(self, model: str, *, stream: bool) -> tuple[int, str, str]:
        """Return status, trace and the text of an answer."""
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Go on"}]}
        async with self.http.post("/v1/chat/completions", json=body) as answer:
            text = await answer.text()
            if stream and answer.status == 200:
                ended = text.rstrip().endswith("data: [DONE]") and '"error"' not in text
                text = TEXT if ended else text
            elif answer.status == 200:
                text = (await answer.json())["choices"][0]["message"]["content"]
            return answer.status, answer.headers.get("x-prefrontal-trace", ""), text


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any]) -> AsyncIterator[Served]:
    """A gateway with the tree of save 0 over an upstream that takes 1.5 s."""
    async with MockUpstream(lambda _: Answer(text=TEXT)) as up:
        up.fail(Fault(kind="slow_headers", delay_s=ANSWER_S, times=None, when=lambda r: r.path.endswith("completions")))
        made = Served(up, None, None)  # type: ignore[arg-type]  # completed below: the tree needs the upstream's address
        made.gateway = start_gateway(tmp_path_factory.mktemp("reload"), made.tree(0))
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(made.gateway.url, connector=connector) as http:
            made.http = http
            yield made
        assert made.gateway.stop() == 0, made.gateway.errors()
        assert "Traceback" not in made.gateway.errors()


async def until(served: Served, done: Callable[[dict[str, Any]], bool]) -> tuple[dict[str, Any], float]:
    """Wait until the status fulfils `done`; return it and how long that took."""
    begun = time.monotonic()
    while True:
        status = await served.get("/v1/config/status")
        took_s = time.monotonic() - begun
        if done(status) or took_s > 10.0:
            return status, took_s
        await asyncio.sleep(0.02)


async def test_no_request_fails_for_a_reload(served: Served) -> None:
    """500 in flight all the time: every request is answered in full; good saves serve within 2 s, broken ones say why."""
    outcomes: Counter[tuple[int, str]] = Counter()
    stop = asyncio.Event()

    async def client(number: int) -> None:
        await asyncio.sleep(ANSWER_S * number / IN_FLIGHT)  # spread out, as callers are
        while not stop.is_set():
            status, _, text = await served.chat("m", stream=bool(number % 2))
            outcomes[status, text] += 1

    clients = [asyncio.create_task(client(number)) for number in range(IN_FLIGHT)]
    await asyncio.sleep(ANSWER_S)
    took: list[float] = []
    for number in range(1, SAVES + 1):
        before = await served.get("/v1/config/status")
        served.save(number)
        if number in BROKEN:
            status, _ = await until(served, lambda status, old=before: status["failures"] > old["failures"])
            check_refused(served, number, before, status)
        else:
            status, waited = await until(served, lambda status, old=before: status["generation"] > old["generation"])
            took.append(waited)
            assert status["ok"], status
            assert f"v{number}" in [model["id"] for model in (await served.get("/v1/models"))["data"]]
    stop.set()
    await asyncio.gather(*clients)
    assert set(outcomes) == {(200, TEXT)}, outcomes
    assert sum(outcomes.values()) >= 2 * IN_FLIGHT
    assert max(took) <= SERVES_WITHIN_S, took


def check_refused(served: Served, number: int, before: dict[str, Any], status: dict[str, Any]) -> None:
    """Fail unless the status names file, place, rule and a way out, and the generation before goes on serving."""
    assert (status["ok"], status["generation"], status["hash"]) == (False, before["generation"], before["hash"])
    problem = status["last_error"][0]
    assert problem["file"].endswith("prefrontal.yaml")
    assert problem["message"]
    if BROKEN[number] == "unset":
        assert problem["path"] == "models.m.key"
        assert "NOBODY_SET_THIS" in problem["message"] + (problem["hint"] or "")
    elif "modles" in BROKEN[number]:
        assert problem["path"] == "modles"
        assert "models" in problem["hint"]
    assert problem["message"] in served.gateway.errors()


async def test_a_request_finishes_on_the_tree_it_started_with(served: Served) -> None:
    """Its model is taken out of the file while it runs: it is answered, and its record names the generation it began under."""
    before = await served.get("/v1/config/status")
    served.save(30)
    begun, _ = await until(served, lambda status: status["generation"] > before["generation"])
    running = [asyncio.create_task(served.chat("v30", stream=stream)) for stream in (False, True)]
    await asyncio.sleep(0.3)
    served.save(31)
    after, took_s = await until(served, lambda status: status["generation"] > begun["generation"])
    assert took_s < ANSWER_S, "the reload must happen while the requests run"
    assert (await served.chat("v30", stream=False))[0] == 404
    for task in running:
        status, trace, text = await task
        assert (status, text) == (200, TEXT)
        record = await served.get(f"/v1/traces/{trace}")
        assert (record["config_hash"], record["model"]) == (begun["hash"], "v30")
    assert after["hash"] != begun["hash"]
    _, trace, _ = await served.chat("v31", stream=False)
    assert (await served.get(f"/v1/traces/{trace}"))["config_hash"] == after["hash"]


async def test_a_mended_file_clears_the_error(served: Served) -> None:
    """After a broken save the next good one serves, and the status says that all is well again."""
    served.gateway.config.write_text("models: [", encoding="utf-8")
    status, _ = await until(served, lambda status: not status["ok"])
    assert status["last_error_at_s"] is not None
    served.save(40)
    status, took_s = await until(served, lambda status: status["ok"])
    assert (status["last_error"], took_s <= SERVES_WITHIN_S) == ([], True)
