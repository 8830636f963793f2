"""The life of one engine with a child process made of Python objects: no operating system, exact control of each event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from prefrontal.app.engines import OnDemand
from prefrontal.clock import Chance, SystemClock
from prefrontal.errors import NoModelAvailable, ProviderUnreachable
from prefrontal.execute.engine.exits import EXIT_CANNOT_LOAD
from prefrontal.execute.engine.local import EngineSettings, LocalEngine
from prefrontal.execute.engine.policy import RestartPolicy
from prefrontal.execute.engine.process import end_child, http_get, read_lines, without_secrets
from prefrontal.execute.engine.spec import EngineSpec
from prefrontal.execute.engine.supervisor import EngineSupervisor

SETTINGS = EngineSettings(
    restart=RestartPolicy(base_delay_s=0.01, max_quick_crashes=3, failed_rest_s=0.05), start_timeout_s=0.4, stop_grace_s=0.1
)


class FakeChild:
    """A child that announces a port, and ends when told to."""

    def __init__(self, *, port: int | None = None, stubborn: bool = False) -> None:
        self.pid = 2**30  # no process has it
        self.returncode: int | None = None
        self.stdout: asyncio.StreamReader | None = asyncio.StreamReader()
        self.stderr: asyncio.StreamReader | None = asyncio.StreamReader()
        self.signals: list[str] = []
        self._ended = asyncio.Event()
        self._stubborn = stubborn
        if port is not None:
            self.stdout.feed_data(b'noise\n{"port": %d}\n' % port)

    def end(self, code: int, *, words: str = "") -> None:
        if self.returncode is None:
            assert self.stdout
            assert self.stderr
            self.stderr.feed_data(words.encode())
            self.stdout.feed_eof()
            self.stderr.feed_eof()
            self.returncode = code
            self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        self.signals.append("terminate")
        if not self._stubborn:
            self.end(0)

    def kill(self) -> None:
        self.signals.append("kill")
        self.end(-9)


class Nursery:
    """The spawn seam: hands out the prepared children in turn, then healthy ones, and keeps them all."""

    def __init__(self, port: int, *prepared: FakeChild) -> None:
        self.port = port
        self.children: list[FakeChild] = []
        self.environments: list[Mapping[str, str]] = []
        self._prepared = list(prepared)

    async def __call__(self, flags: Sequence[str], environ: Mapping[str, str]) -> FakeChild:
        self.environments.append(environ)
        child = self._prepared.pop(0) if self._prepared else FakeChild(port=self.port)
        self.children.append(child)
        return child


@asynccontextmanager
async def health(*statuses: int, slots: str = "[]") -> AsyncIterator[int]:
    """Answer GET /health with each status in turn (the last one for ever) on a free port."""
    left = list(statuses)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        status, body = (left.pop(0) if len(left) > 1 else left[0], "{}") if request == b"/health" else (200, slots)
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def engine(
    nursery: Nursery, settings: EngineSettings = SETTINGS, *, idle_s: float | None = None, pinned: bool = False
) -> LocalEngine:
    spec = EngineSpec(model_id="tiny", path="/models/tiny.gguf", idle_s=idle_s, pinned=pinned)
    return LocalEngine(spec, settings, clock=SystemClock(), chance=Chance(1), spawn=nursery)


async def until(engine: LocalEngine, state: str) -> None:
    async with asyncio.timeout(2):
        while engine.state != state:  # noqa: ASYNC110 - seen from outside, as a status page would
            await asyncio.sleep(0.001)


async def test_loading_is_not_down() -> None:
    """While the engine answers 503 it is starting; the caller waits and gets the URL when it answers 200."""
    async with health(503, 503, 503, 200) as port:
        tiny = engine(Nursery(port))
        waiting = asyncio.create_task(tiny.ensure())
        await asyncio.sleep(0.02)
        assert (tiny.state, waiting.done()) == ("starting", False)
        assert await waiting == f"http://127.0.0.1:{port}"
        await tiny.stop()
        assert tiny.state == "stopped"


async def test_callers_at_the_same_time_share_one_start() -> None:
    """Twenty callers, one child, one URL; a caller who leaves does not take it from the others."""
    async with health(503, 200) as port:
        nursery = Nursery(port)
        tiny = engine(nursery)
        callers = [asyncio.create_task(tiny.ensure()) for _ in range(20)]
        await asyncio.sleep(0)
        callers[0].cancel()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert set(answers[1:]) == {f"http://127.0.0.1:{port}"}
        assert len(nursery.children) == 1
        await tiny.stop()


async def test_a_crash_is_followed_by_a_fresh_process(caplog: pytest.LogCaptureFixture) -> None:
    """The end of the process is noticed without a request, and the next caller gets the new one."""
    async with health(200) as port:
        nursery = Nursery(port)
        tiny = engine(nursery)
        await tiny.ensure()
        nursery.children[0].end(-11, words="0.1 E srv: something broke\n0.2 I srv: bye\n")
        await until(tiny, "restarting")
        await tiny.ensure()
        status = tiny.status()
        assert (len(nursery.children), status.restarts, status.state) == (2, 1, "ready")
        assert status.last_error == "It was killed by SIGSEGV. srv: something broke"
        assert "something broke" in caplog.text
        await tiny.stop()


async def test_crashing_again_and_again_fails_with_the_reason_and_recovers_after_a_rest() -> None:
    """After the allowed crashes callers get the reason at once; after the rest one of them makes it try again."""
    async with health(200) as port:
        broken = [FakeChild() for _ in range(3)]
        for child in broken:
            child.end(-6, words="0.0 I hm\n0.1 E ggml: cannot open /models/tiny.gguf\n")
        nursery = Nursery(port, *broken)
        tiny = engine(nursery)
        for _ in range(2):
            with pytest.raises(ProviderUnreachable, match=r"SIGABRT.*3 in a row.*cannot open tiny\.gguf") as problem:
                await tiny.ensure()
        assert (len(nursery.children), tiny.state) == (3, "failed")
        assert problem.value.details["stderr"][0] == "0.0 I hm"
        assert problem.value.retry_after_s is not None
        assert 0 < problem.value.retry_after_s <= 0.05
        await asyncio.sleep(0.06)
        assert await tiny.ensure() == f"http://127.0.0.1:{port}"
        await tiny.stop()


async def test_a_model_that_cannot_load_fails_without_a_second_try() -> None:
    """The child's exit code says that trying again does not help."""
    broken = FakeChild()
    broken.end(EXIT_CANNOT_LOAD)
    nursery = Nursery(1, broken)
    tiny = engine(nursery)
    with pytest.raises(ProviderUnreachable, match="could not load the model"):
        await tiny.ensure()
    assert len(nursery.children) == 1
    await tiny.stop()
    assert tiny.state == "stopped"


async def test_a_start_that_takes_too_long_is_ended() -> None:
    """A child that never announces itself is killed and counts as a crash."""
    nursery = Nursery(1, *[FakeChild() for _ in range(3)])
    quick = EngineSettings(restart=SETTINGS.restart, start_timeout_s=0.02, stop_grace_s=0.1)
    tiny = engine(nursery, quick)
    with pytest.raises(ProviderUnreachable, match="not become ready in time"):
        await tiny.ensure()
    assert [child.signals for child in nursery.children] == [["terminate"]] * 3


async def test_a_crash_while_loading_is_noticed_at_once() -> None:
    """A child that announced its port and dies before it is healthy does not use up the start timeout."""
    async with health(503) as port:
        dying = FakeChild(port=port)
        nursery = Nursery(port, dying)
        tiny = engine(nursery, EngineSettings(restart=SETTINGS.restart, start_timeout_s=30, stop_grace_s=0.1))
        tiny.start()
        await asyncio.sleep(0.02)
        dying.end(-9)
        await until(tiny, "restarting")
        await tiny.stop()


async def test_a_child_that_ignores_the_request_is_killed() -> None:
    """Stopping takes the grace and then uses force."""
    async with health(200) as port:
        stubborn = FakeChild(port=port, stubborn=True)
        tiny = engine(Nursery(port, stubborn))
        await tiny.ensure()
        await tiny.stop()
        assert stubborn.signals == ["terminate", "kill"]


@pytest.mark.parametrize("wait_s", [0.0, 0.02])
async def test_stopping_while_starting_frees_the_callers(wait_s: float) -> None:
    """Whoever waits for an engine that is stopped meanwhile gets an error, and no child is left."""
    nursery = Nursery(1, FakeChild())
    tiny = engine(nursery)
    waiting = asyncio.create_task(tiny.ensure())
    await asyncio.sleep(wait_s)
    await asyncio.gather(tiny.stop(), tiny.stop())
    if wait_s:
        with pytest.raises(ProviderUnreachable, match="was stopped"):
            await waiting
    else:
        waiting.cancel()
    assert all(child.returncode is not None for child in nursery.children)


async def test_a_caller_during_the_stop_gets_a_new_process() -> None:
    """The call waits for the end of the old process and starts another."""
    async with health(200) as port:
        nursery = Nursery(port, FakeChild(port=port, stubborn=True))
        tiny = engine(nursery)
        await tiny.ensure()
        stopping = asyncio.create_task(tiny.stop())
        await until(tiny, "stopping")
        assert await tiny.ensure() == f"http://127.0.0.1:{port}"
        await stopping
        assert len(nursery.children) == 2
        await tiny.stop()


async def test_a_closed_engine_never_starts_again() -> None:
    """A caller who waited for the end of the old process finds the door closed."""
    async with health(200) as port:
        nursery = Nursery(port, FakeChild(port=port, stubborn=True))
        tiny = engine(nursery)
        await tiny.ensure()
        closing = asyncio.create_task(tiny.close())
        await until(tiny, "stopping")
        with pytest.raises(ProviderUnreachable):
            await tiny.ensure()
        await closing
        assert len(nursery.children) == 1


async def test_a_process_that_cannot_be_made_fails_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    """An error of the spawn itself reaches the caller."""

    async def refuse(flags: Sequence[str], environ: Mapping[str, str]) -> FakeChild:
        raise OSError("no more processes")

    tiny = LocalEngine(EngineSpec(model_id="t", path="t"), SETTINGS, clock=SystemClock(), chance=Chance(1), spawn=refuse)
    with caplog.at_level(logging.CRITICAL), pytest.raises(ProviderUnreachable, match="no more processes"):
        await tiny.ensure()


async def test_an_idle_engine_is_unloaded_unless_leased_busy_or_pinned() -> None:
    """Only an engine nobody uses goes; the next caller loads it again."""
    async with health(200) as port, health(200, slots='[{"id":0,"is_processing": true}]') as busy_port:
        nursery = Nursery(port)
        tiny = engine(nursery, idle_s=0.03)
        async with tiny.lease() as url:
            assert url.endswith(str(port))
            await asyncio.sleep(0.08)
            assert (tiny.state, tiny.status().in_flight) == ("ready", 1)
        await until(tiny, "stopped")
        await tiny.ensure()
        assert len(nursery.children) == 2
        await tiny.stop()
        for kept in (engine(Nursery(busy_port), idle_s=0.03), engine(Nursery(port), idle_s=0.03, pinned=True)):
            await kept.ensure()
            await asyncio.sleep(0.1)
            assert kept.state == "ready"
            await kept.stop()


async def test_the_log_is_bounded() -> None:
    """The last 200 lines are kept, however many, long or undecodable."""
    async with health(200) as port:
        chatty = FakeChild(port=port)
        assert chatty.stderr
        chatty.stderr.feed_data(b"".join(b"line %d \xff\n" % n for n in range(1000)) + b"x" * 100_000 + b"\nlast\n")
        tiny = engine(Nursery(port, chatty))
        await tiny.ensure()
        await asyncio.sleep(0.02)
        tail = tiny.status().stderr_tail
        assert len(tail) == 20
        assert tail[-1] == "last"
        assert len(tail[-2]) <= 2000
        assert len(tiny._stderr) == 200
        await tiny.stop()


async def test_lines_without_an_end_are_read_too() -> None:
    """The last words of a crashing process often lack a line feed."""
    pipe = asyncio.StreamReader()
    pipe.feed_data(b"one\ntwo")
    pipe.feed_eof()
    assert [line async for line in read_lines(pipe)] == ["one", "two"]


async def test_probing_nothing_is_no_error() -> None:
    """A closed port gives None; ending a process that ended does nothing."""
    async with health(200) as port:
        assert await http_get(port, "/health", SystemClock()) == (200, b"{}")
    assert await http_get(port, "/health", SystemClock()) is None
    child = FakeChild()
    child.end(0)
    await end_child(child, SystemClock(), grace_s=0.1)
    assert child.signals == []


def test_children_get_no_secrets() -> None:
    """Keys and tokens of hosted models are not passed to the engine."""
    environ = {"OPENAI_API_KEY": "x", "HF_TOKEN": "x", "PATH": "/bin", "DB_PASSWORD": "x", "CUDA_VISIBLE_DEVICES": "0"}
    assert without_secrets(environ) == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0"}


async def test_a_model_that_is_forgotten_finishes_what_it_is_working_on() -> None:
    """A reload takes the model away while it answers: no new request reaches it, its process ends with the last answer."""
    async with health(200) as port:
        nursery = Nursery(port)
        spec = EngineSpec(model_id="tiny", path="/models/tiny.gguf")
        engines = EngineSupervisor([spec], clock=SystemClock(), chance=Chance(1), settings=SETTINGS, spawn=nursery)
        async with engines.lease("tiny"):
            assert engines.ready() == {"tiny": True}
            leaving = asyncio.create_task(engines.remove("tiny"))
            await asyncio.sleep(0.15)
            assert (nursery.children[0].signals, engines.status(), engines.ready()) == ([], [], {})
            with pytest.raises(NoModelAvailable, match="out of service"):
                OnDemand(engines, lambda: True).lease("tiny")
        await leaving
        assert nursery.children[0].signals == ["terminate"]


async def test_closing_does_not_wait_for_a_model_that_is_leaving() -> None:
    """The process stops: what a forgotten model is working on ends with everything else."""
    async with health(200) as port:
        nursery = Nursery(port)
        spec = EngineSpec(model_id="tiny", path="/models/tiny.gguf")
        engines = EngineSupervisor([spec], clock=SystemClock(), chance=Chance(1), settings=SETTINGS, spawn=nursery)
        async with engines.lease("tiny"):
            leaving = asyncio.create_task(engines.remove("tiny"))
            await asyncio.sleep(0)
            await engines.close()
            assert nursery.children[0].signals == ["terminate"]
        await leaving
