"""Real engines: xllamacpp in child processes, on tiny models."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from prefrontal.errors import NotFound, ProviderUnreachable, ShuttingDown
from prefrontal.execute.engine.spec import EngineSpec, scan_models, spec_for
from prefrontal.execute.engine.supervisor import EngineSupervisor
from prefrontal.testing.engines import running_engine
from prefrontal.testing.gguf import build_embedding

Supervise = Callable[..., EngineSupervisor]


def post(url: str, route: str, body: dict[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST", route, json.dumps(body), {"content-type": "application/json"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


async def ask(url: str, prompt: str) -> str:
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 8}
    answer = await asyncio.to_thread(post, url, "/v1/chat/completions", body)
    content: str = answer["choices"][0]["message"]["content"]
    return content


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - seen from outside, as a status page would
            await asyncio.sleep(0.005)


def copy_start(source: Path, target: Path, size: int) -> Path:
    target.write_bytes(source.read_bytes()[:size])
    return target


def is_gone(pid: int) -> bool:
    """No such process, or one that ended and was only not yet collected."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_it_starts_on_demand_answers_and_stops(supervise: Supervise, rules_gguf: Path) -> None:
    """Nothing runs before the first call; then the right answers come; after the stop the process is gone."""
    engines = supervise(spec_for(rules_gguf))
    assert [(status.state, status.pid) for status in engines.status()] == [("stopped", None)]
    url = await engines.ensure("rules")
    assert [await ask(url, prompt) for prompt in ("my login", "hello")] == ["C", "A"]
    [status] = engines.status()
    assert status.state == "ready"
    assert status.pid
    assert url == f"http://127.0.0.1:{status.port}"
    assert status.rss_bytes
    assert status.rss_bytes > 10_000_000
    assert status.load_time_s
    assert 0 < status.load_time_s < 10
    [status] = engines.status()
    assert any("model loaded" in line for line in status.stderr_tail)
    assert not any("my login" in line for line in status.stderr_tail)  # the log holds no prompts
    await engines.stop("rules")
    assert not psutil.pid_exists(status.pid)
    assert engines.status()[0].state == "stopped"


async def test_a_killed_engine_is_replaced(supervise: Supervise, rules_gguf: Path) -> None:
    """After kill -9 the death is noticed without a request and the next caller gets a fresh engine that answers."""
    engines = supervise(spec_for(rules_gguf))
    await engines.ensure("rules")
    old = engines.status()[0].pid
    assert old
    os.kill(old, signal.SIGKILL)
    await until(lambda: engines.status()[0].pid != old)
    url = await engines.ensure("rules")
    assert await ask(url, "my login") == "C"
    [status] = engines.status()
    assert status.pid != old
    assert status.restarts == 1
    assert status.last_error == "It was killed by SIGKILL (out of memory?)."


async def test_two_models_run_side_by_side(supervise: Supervise, rules_gguf: Path, tmp_path: Path) -> None:
    """Each model has its own process, started at the same time; one gives vectors."""
    vectors = build_embedding(tmp_path / "vectors.gguf")
    engines = supervise(spec_for(rules_gguf), *scan_models(tmp_path))
    chat_url, vector_url = await asyncio.gather(engines.ensure("rules"), engines.ensure(vectors.stem))
    assert await ask(chat_url, "login") == "C"
    answer = await asyncio.to_thread(post, vector_url, "/v1/embeddings", {"input": ["one", "two"]})
    assert [len(entry["embedding"]) for entry in answer["data"]] == [64, 64]
    assert len({status.pid for status in engines.status()}) == 2


async def test_callers_at_the_same_time_start_one_process(supervise: Supervise, rules_gguf: Path) -> None:
    """Eight callers get one URL and there is one child."""
    before = {child.pid for child in psutil.Process().children()}
    engines = supervise(spec_for(rules_gguf))
    urls = await asyncio.gather(*[engines.ensure("rules") for _ in range(8)])
    assert len(set(urls)) == 1
    assert len({child.pid for child in psutil.Process().children()} - before) == 1


@pytest.mark.parametrize("keep", [9, 20_000])
async def test_a_damaged_model_fails_with_the_reason(supervise: Supervise, rules_gguf: Path, tmp_path: Path, keep: int) -> None:
    """A file cut in its header or in its weights fails at the first try, and the engine's own words say why."""
    cut = copy_start(rules_gguf, tmp_path / "cut.gguf", keep)
    engines = supervise(EngineSpec(model_id="cut", path=str(cut)))
    with pytest.raises(ProviderUnreachable, match=r"could not load the model\. \S+") as problem:
        await engines.ensure("cut")
    assert str(tmp_path) not in problem.value.message
    assert problem.value.details["stderr"]
    assert engines.status()[0].restarts == 0


async def test_a_wrong_flag_fails_with_the_reason(supervise: Supervise, rules_gguf: Path) -> None:
    """What the child refuses is told, and not tried again."""
    engines = supervise(EngineSpec(model_id="m", path=str(rules_gguf), extra_args=("--no-such-flag",)))
    with pytest.raises(ProviderUnreachable, match="no-such-flag"):
        await engines.ensure("m")


async def test_pinned_models_start_without_a_request(supervise: Supervise, rules_gguf: Path) -> None:
    """Only what is pinned starts at launch; what is added twice takes the new settings at its next start."""
    pinned = EngineSpec(model_id="pinned", path=str(rules_gguf), pinned=True)
    engines = supervise(pinned, EngineSpec(model_id="lazy", path=str(rules_gguf)))
    engines.start_pinned()
    await until(lambda: engines.status()[0].state == "ready")
    assert engines.status()[1].state == "stopped"
    engines.add(EngineSpec(model_id="lazy", path=str(rules_gguf), context_tokens=300, slots=3))
    url = await engines.ensure("lazy")
    props = await asyncio.to_thread(get, url, "/props")
    assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (3, 512)  # rounded up by the engine
    await engines.remove("lazy")
    with pytest.raises(NotFound, match="lazy"):
        await engines.ensure("lazy")


async def test_close_stops_everything_even_in_the_middle_of_an_answer(supervise: Supervise, random_gguf: Path) -> None:
    """A long answer under way does not keep the process; afterwards nothing is started."""
    engines = supervise(spec_for(random_gguf))
    url = await engines.ensure("random")
    pid = engines.status()[0].pid
    assert pid
    body = {"prompt": "x", "max_tokens": 8000, "grammar": "root ::= [a-z]*", "logit_bias": [[3, False]]}
    asking = asyncio.create_task(asyncio.to_thread(post, url, "/v1/completions", body))
    await asyncio.sleep(0.2)
    assert not asking.done()
    await engines.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(ShuttingDown):
        await engines.ensure("random")
    await asyncio.gather(asking, return_exceptions=True)


async def test_web_pages_may_not_call_the_engine(rules_gguf: Path) -> None:
    """A browser is not told that foreign pages may read the answers; the socket is on loopback only."""
    async with running_engine(rules_gguf) as url:
        address = url.removeprefix("http://")

        def preflight() -> str | None:
            connection = http.client.HTTPConnection(address, timeout=5)
            try:
                connection.request("OPTIONS", "/v1/chat/completions", headers={"Origin": "https://evil.example"})
                return connection.getresponse().headers.get("access-control-allow-origin")
            finally:
                connection.close()

        assert await asyncio.to_thread(preflight) in (None, "http://127.0.0.1")
        alive = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
        [child] = [child for child in alive if "prefrontal.execute.engine.child" in child.cmdline()]
        listening = {entry.laddr.ip for entry in child.net_connections() if entry.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}


PARENT = """
import asyncio, sys
from prefrontal.clock import Chance, SystemClock
from prefrontal.execute.engine.spec import spec_for
from prefrontal.execute.engine.supervisor import EngineSupervisor

async def main():
    engines = EngineSupervisor([spec_for(sys.argv[1])], clock=SystemClock(), chance=Chance())
    await engines.ensure("rules")
    print(engines.status()[0].pid, flush=True)
    await SystemClock().sleep(60)

asyncio.run(main())
"""


def test_the_engine_dies_with_its_parent(rules_gguf: Path) -> None:
    """A gateway that is killed leaves no engine behind."""
    with subprocess.Popen([sys.executable, "-c", PARENT, str(rules_gguf)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        engine = int(parent.stdout.readline())
        assert not is_gone(engine)
        parent.kill()
    give_up_s = time.monotonic() + 5
    while not is_gone(engine) and time.monotonic() < give_up_s:
        time.sleep(0.01)
    assert is_gone(engine)


def test_the_end_of_standard_input_ends_the_child(rules_gguf: Path) -> None:
    """The second way to notice a dead parent works without Linux's help."""
    command = [sys.executable, "-m", "prefrontal.execute.engine.child", f"--model={rules_gguf}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin
        assert child.stdout
        assert json.loads(child.stdout.readline())["port"] > 0
        child.stdin.close()
        assert child.wait(5) == 0


def test_a_missing_engine_is_one_line_and_a_code(rules_gguf: Path, tmp_path: Path) -> None:
    """Without xllamacpp the child says what to install and leaves with its own exit code."""
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('not here')")
    command = [sys.executable, "-m", "prefrontal.execute.engine.child", f"--model={rules_gguf}"]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as child:
        assert child.stdout
        assert child.stderr
        assert child.stderr.read().splitlines() == ["The local engine is not installed (not here). Install prefrontal[local]."]
        assert child.stdout.read() == ""
        assert child.wait(10) == 3


def get(url: str, route: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", route)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()
