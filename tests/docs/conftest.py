"""The world in which the examples of the documentation run: a real gateway on a free port, in front of a mock upstream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from prefrontal.clock import SystemClock
from prefrontal.knowledge.ingest.run import ingest_bytes
from prefrontal.knowledge.store.engram import create
from prefrontal.serve.server import serve
from prefrontal.testing.upstream import MockUpstream

HERE = Path(__file__).parent
DEEP = {
    "computational": {"activation": 0.3, "note": "none"},
    "scientific": {"activation": 0.4, "note": "what is known of insight"},
    "cultural": {"activation": 0.7, "note": "what people call depth"},
    "experiential": {"activation": 0.95, "note": "what it is like"},
}
ANSWERS = {
    "<request>What does it feel like": msgspec.json.encode(DEEP).decode(),
    "capital of France": "Paris.",
    "one word": "Fine.",
    "charged twice": '{"answer": "billing"}',
    "haiku": "Cold rain on the roof. / A server hums in its sleep. / Packets find their way.",
}
OLLAMA = {
    ("POST", "/api/show"): (200, {"capabilities": ["completion", "tools", "thinking"], "model_info": {}}),
    ("POST", "/api/embed"): (200, {"model": "qwen3:4b", "embeddings": [[0.25, -0.5, 0.75]], "prompt_eval_count": 1}),
}
"""What the mock does not say of itself."""


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """url: where it listens. env: what commands and the library need to meet the same models."""

    url: str
    upstream: str
    env: dict[str, str]


class Running:
    """The gateway and its upstream on an event loop in a thread of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.lines: list[str] = []
        self.upstream = ""
        self.failure: BaseException | None = None
        self.task: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Serve until the task is cancelled."""
        asyncio.set_event_loop(self.loop)
        self.task = self.loop.create_task(self.main())
        try:
            self.loop.run_until_complete(self.task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # shown by the fixture, on the thread that waits
            self.failure = error
        finally:
            self.ready.set()
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    async def main(self) -> None:
        """Start the upstream, then the gateway."""
        async with MockUpstream(ANSWERS, models=("gpt-5.6", "qwen3:4b"), routes=OLLAMA) as upstream:
            self.upstream = upstream.root_url
            await serve(self.config(), env=self.env(), say=self.said)

    def said(self, line: str) -> None:
        """Take the ready line."""
        self.lines.append(line)
        self.ready.set()

    def config(self) -> Path:
        """Write the configuration with the upstream's address in it, and the engram of the examples."""
        handbook = self.home / "engrams" / "handbook.engram"
        create(handbook, clock=SystemClock())
        ingest_bytes(handbook, "pumps.md", b"# Pumps\n\nGrease the seal of the pump each spring.\n", clock=SystemClock())
        path = self.home / "prefrontal.yaml"
        path.write_text((HERE / "gateway.yaml").read_text().replace("${MOCK}", self.upstream))
        return path

    def env(self) -> dict[str, str]:
        """Return the environment of the gateway, of commands and of the library."""
        return {
            "HOME": str(self.home),
            "PREFRONTAL_HOME": str(self.home),
            "PREFRONTAL_CONFIG": str(self.home / "prefrontal.yaml"),
        }

    def stop(self) -> None:
        """End it from another thread."""
        if self.task is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.task.cancel)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The running gateway; one for all examples."""
    running = Running(tmp_path_factory.mktemp("gateway"))
    thread = threading.Thread(target=running.run, name="gateway of the examples")
    thread.start()
    try:
        assert running.ready.wait(20), "the gateway did not start"
        if running.failure is not None:
            raise running.failure
        yield Gateway(url=running.lines[0], upstream=running.upstream, env=running.env())
    finally:
        running.stop()
        thread.join(20)
    assert not thread.is_alive()
