"""What the tests of the command line share: a runner, a mock upstream beside the loop, and real processes that always end."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from prefrontal.cli.app import app
from prefrontal.cli.screen import Screen
from prefrontal.testing.answers import Answer
from prefrontal.testing.upstream import MockUpstream

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Run one command in this process: ``run("ask", "hello", input="piped")``."""

    def invoke(*arguments: str, **options: Any) -> Result:
        result = CliRunner().invoke(app, list(arguments), **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@contextmanager
def beside(upstream: MockUpstream) -> Iterator[MockUpstream]:
    """Serve `upstream` from a thread of its own, because commands run their own event loop in the test's thread."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    done = asyncio.Event()

    async def serve() -> None:
        async with upstream:
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.close()


def answers(recorded: Any) -> Answer:
    """Think first, then repeat the last message."""
    content = recorded.json["messages"][-1]["content"]
    text = content if isinstance(content, str) else next(part["text"] for part in content if part["type"] == "text")
    return Answer(text=f"You said: {text}", reasoning="Let me see.")


@pytest.fixture
def upstream() -> Iterator[MockUpstream]:
    """A hosted model that repeats what it was asked."""
    with beside(MockUpstream(answers)) as up:
        yield up


@pytest.fixture
def registry(folder: Path, upstream: MockUpstream) -> Path:
    """A configuration in the working directory with that model, at one dollar a million tokens in and two out."""
    return write_registry(folder, upstream.base_url)


def write_registry(folder: Path, endpoint: str, extra: str = "") -> Path:
    file = folder / "prefrontal.yaml"
    file.write_text(
        f"""\
models:
  parrot:
    profile: openai-compatible
    endpoint: {endpoint}
    model: mock-model
    key: sk-a-secret-of-the-upstream
    capabilities: {{thinking: true, vision: true}}
    context_tokens: 32768
    price: {{input_usd: 1.0, output_usd: 2.0}}
    roles: [coding]
discovery: {{enabled: false}}
{"" if "server:" in extra else "server: {port: 0}"}
{extra}"""
    )
    return file


class Served:
    """A real ``prefrontal serve``. `url` is its first line on stdout."""

    def __init__(self, process: subprocess.Popen[str], url: str, said: Path) -> None:
        self.process = process
        self.url = url
        self._said = said

    @property
    def said(self) -> str:
        """Everything on stderr by now."""
        return self._said.read_text()

    def waits_to_say(self, text: str) -> str:
        """Return stderr once it holds `text`."""
        pause = threading.Event()
        for _ in range(200):
            if text in self.said:
                return self.said
            pause.wait(0.05)
        raise AssertionError(f"{text!r} was not said: {self.said}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(15)


Serve = Callable[..., Served]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One real gateway for all tests that only ask it something: the model `parrot` on an upstream of its own."""
    folder = tmp_path_factory.mktemp("gateway")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFRONTAL", "XDG_"))}
    with beside(MockUpstream(answers)) as up, (folder / "stderr.txt").open("w") as err:
        write_registry(folder, up.base_url)
        env |= {"HOME": str(folder), "PREFRONTAL_HOME": str(folder / "home")}
        process = subprocess.Popen(
            command("serve", "--port", "0"), stdout=subprocess.PIPE, stderr=err, text=True, cwd=folder, env=env
        )
        try:
            assert process.stdout is not None
            yield Served(process, process.stdout.readline().strip(), folder / "stderr.txt")
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    """Start ``prefrontal serve`` with the given options; what still runs at the end of the test is stopped."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Served:
        said = folder / f"stderr-{len(started)}.txt"
        with said.open("w") as err:
            process = subprocess.Popen(command("serve", *options), stdout=subprocess.PIPE, stderr=err, text=True, cwd=folder)
        started.append(process)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), said.read_text()
        return Served(process, url, said)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def command(*arguments: str) -> Sequence[str]:
    """Return the command line of a real process."""
    return [sys.executable, "-m", "prefrontal", *arguments]


@pytest.fixture
def process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command as a real process to its end; keywords but `stdin` are environment variables."""

    def run_process(*arguments: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, **env},
            check=False,
        )

    return run_process


@pytest.fixture
def write_config(folder: Path) -> Callable[..., Path]:
    """Write the registry of one model: endpoint, and more YAML below it."""
    return lambda endpoint, extra="": write_registry(folder, endpoint, extra)


@pytest.fixture
def screen_of() -> Callable[..., tuple[Screen, io.StringIO, io.StringIO]]:
    """Give a function that makes a screen on two buffers, a terminal or not."""

    def make(*, tty: bool, env: dict[str, str] | None = None) -> tuple[Screen, io.StringIO, io.StringIO]:
        out, err = Buffer(tty), Buffer(tty)
        return Screen(out, err, env or {}), out, err

    return make


class Buffer(io.StringIO):
    """Text in memory that says whether it is a terminal."""

    def __init__(self, tty: bool) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty
