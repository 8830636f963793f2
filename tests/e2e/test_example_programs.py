"""The example programs run as they stand: on a real engine what a tiny model can do, the rest against an upstream that can."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.testing.answers import Answer, ScriptedCall
from prefrontal.testing.gguf import build_rules
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.upstream import MockUpstream

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = ("openai_client.py", "anthropic_client.py")
RULES = {"refund": "The refund is on its way.", "parcel": "The parcel left today."}
PICTURE = "iVBORw0KGgo"


def run(program: str, url: str, *arguments: str) -> str:
    """Run a program in a process of its own; return what it printed. Fails with its errors."""
    env = {"PATH": os.environ["PATH"], "PREFRONTAL_URL": url, "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(EXAMPLES / program), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def engine_url(start_gateway: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A gateway without a configuration file, with one tiny model that llama.cpp runs."""
    home = tmp_path_factory.mktemp("examples")
    (home / "models").mkdir()
    build_rules(home / "models" / "rules.gguf", RULES)
    found: str = start_gateway(home, env={"PREFRONTAL__DISCOVERY__PORTS": "{}"}).url
    return found


@pytest.mark.parametrize("program", PROGRAMS)
def test_chat_stream_and_structured_output_on_a_real_engine(program: str, engine_url: str) -> None:
    """The engine's own words, in pieces with their count, and an object of the class that was asked for."""
    shown = run(program, engine_url, "--model", "rules", "chat", "stream", "structured")
    words, _, form = shown.partition("== structured\n")
    assert words.count(RULES["refund"]) == 2
    assert " tokens)" in words
    assert form.startswith("topic=")
    assert "urgent=" in form


def test_state_on_a_real_engine(engine_url: str) -> None:
    """The second turn goes on from the first, which the gateway kept."""
    shown = run("openai_client.py", engine_url, "--model", "rules", "state").splitlines()
    assert shown == ["== state", RULES["refund"], RULES["parcel"]]


def test_counting_on_a_real_engine(engine_url: str) -> None:
    """The engine's own tokenizer counts."""
    assert int(run("anthropic_client.py", engine_url, "--model", "rules", "count").split()[2]) > 3


def script(request: Recorded) -> Answer:
    """Calls the tool, then tells its result; of a picture it says that it came."""
    said = request.body.decode()
    if "RAIN-RESULT" in said:
        return Answer(text="Take an umbrella to Oslo.")
    if '"weather"' in said:
        return Answer(text="Let me look.", tool_calls=(ScriptedCall(name="weather", arguments={"city": "Oslo"}),))
    return Answer(text="One pixel." if PICTURE in said else "No picture came.")


@pytest.mark.parametrize("program", PROGRAMS)
async def test_tools_and_vision(program: str, start_gateway: Callable[..., Any], tmp_path: Path) -> None:
    """The tool is called with what the model said, its result reaches the model, and so does the picture."""
    async with MockUpstream(script) as up:
        able = {"capabilities": {"tools": True, "vision": True}}
        models = {"able": {"profile": "openai-compatible", "endpoint": up.base_url, **able}}
        gateway = start_gateway(tmp_path, {"models": models, "discovery": {"enabled": False}})
        shown = await asyncio.to_thread(run, program, gateway.url, "--model", "able", "tools", "vision")
        assert shown.splitlines() == ["== tools", "Take an umbrella to Oslo.", "== vision", "One pixel."]
        asked = [json.loads(request.body) for request in up.requests if request.method == "POST"]
        assert any("It rains in Oslo" in json.dumps(body) for body in asked)
        assert gateway.stop() == 0, gateway.errors()
