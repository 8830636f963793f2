"""`prefrontal ask`: answers on stdout, remarks on stderr."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.chat.usage import Usage
from prefrontal.cli.answers import Ending, Part, summary
from prefrontal.cli.ask import show
from prefrontal.cli.screen import DIM, PLAIN
from prefrontal.testing.answers import Answer, ScriptedCall
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

Run = Callable[..., Any]
SUM = "what is 17.5% of 2,340?"
POEM = "write a poem about autumn rain"


def chats(upstream: MockUpstream) -> list[dict[str, Any]]:
    return [request.json for request in upstream.requests if request.path.endswith("/chat/completions")]


def test_a_sum_is_answered_without_any_model(process: Run, folder: Path) -> None:
    """On an empty machine a real process prints the answer alone on stdout and says that no model was needed."""
    done = process("ask", SUM, PREFRONTAL__DISCOVERY__ENABLED="false")
    assert (done.returncode, done.stdout) == (0, "17.5% of 2340 is 409.5\n")
    assert "no model needed (answered by: tool)" in done.stderr


def test_a_model_answers_and_one_line_tells_how(run: Run, registry: Path, upstream: MockUpstream) -> None:
    """Stdout holds the answer; the last line of stderr has model, tokens, cost and time."""
    result = run("ask", "--model", "parrot", POEM)
    assert result.stdout == f"You said: {POEM}\n"
    model, effort, tokens, cost, took = result.stderr.strip().split(" · ")
    assert model == "parrot"
    assert effort == "effort: model's default"
    assert tokens == "6 in + 11 out (3 thinking) tokens"
    assert cost == "$0.000028"  # 6 in at $1 and 11 out at $2 a million
    assert took.endswith("s")
    assert chats(upstream)[0]["stream"] is True


def test_thinking_stays_off_a_pipe(run: Run, registry: Path) -> None:
    """What the model thought is not part of the answer."""
    assert "Let me see" not in run("ask", POEM).stdout


def test_json_is_one_document(run: Run, registry: Path, upstream: MockUpstream) -> None:
    """`--json` gives text, thinking, usage with its source, cost and trace, and asks without streaming."""
    found = json.loads(run("ask", "--json", "-m", "parrot", POEM).stdout)
    assert found["text"] == f"You said: {POEM}"
    assert found["thinking"] == "Let me see."
    assert found["usage"]["output_tokens"] == 11
    assert found["usage"]["source"] == "reported"
    assert found["cost_usd"] == pytest.approx(28e-6)
    assert found["trace"].startswith("req_")
    assert not chats(upstream)[0].get("stream")


def test_json_with_stream_is_json_lines(run: Run, registry: Path) -> None:
    """Each piece is one object a line; the last one is the ending."""
    lines = [json.loads(line) for line in run("ask", "--json", "--stream", "-m", "parrot", POEM).stdout.splitlines()]
    assert "".join(line.get("text", "") for line in lines if line["kind"] == "content") == f"You said: {POEM}"
    assert {line["kind"] for line in lines} == {"thinking", "content", "end"}
    assert lines[-1]["ending"]["model"] == "parrot"


def test_raw_writes_the_text_and_nothing_else(run: Run, registry: Path) -> None:
    """`--raw` leaves stderr empty."""
    result = run("ask", "--raw", "-m", "parrot", POEM)
    assert (result.stdout, result.stderr) == (f"You said: {POEM}\n", "")


def test_no_stream_shows_the_same(run: Run, registry: Path, upstream: MockUpstream) -> None:
    """`--no-stream` asks for the whole answer and shows the same text and line."""
    result = run("ask", "--no-stream", "-m", "parrot", POEM)
    assert result.stdout == f"You said: {POEM}\n"
    assert "parrot · " in result.stderr
    assert not chats(upstream)[0].get("stream")


def test_what_is_piped_in_comes_below_the_prompt(run: Run, registry: Path, upstream: MockUpstream) -> None:
    """`cat file | prefrontal ask QUESTION` sends both; `-` sends the pipe alone."""
    run("ask", "-m", "parrot", "Summarise this:", input="the text\n")
    run("ask", "-m", "parrot", "-", input="only the pipe")
    assert [body["messages"][-1]["content"] for body in chats(upstream)] == ["Summarise this:\n\nthe text\n", "only the pipe"]


def test_everything_given_reaches_the_model(run: Run, registry: Path, upstream: MockUpstream, folder: Path) -> None:
    """System text, images and the cap travel in the request."""
    image = folder / "dot.png"
    image.write_bytes(b"\x89PNG not really")
    result = run("ask", "-m", "parrot", "--system", "Be brief.", "--image", str(image), "--max-tokens", "77", "what is it?")
    assert result.exit_code == 0, result.stderr
    body = chats(upstream)[0]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    url = next(part["image_url"]["url"] for part in body["messages"][1]["content"] if part["type"] == "image_url")
    assert url == "data:image/png;base64," + base64.b64encode(b"\x89PNG not really").decode()
    assert 77 in (body.get("max_tokens"), body.get("max_completion_tokens"))


@pytest.mark.parametrize(("given", "score"), [("low", 0.3), ("0.8", 0.8)])
def test_effort_is_a_level_or_a_score(run: Run, registry: Path, given: str, score: float) -> None:
    """Both forms end as the record's effort."""
    assert json.loads(run("ask", "--json", "-m", "parrot", "--effort", given, POEM).stdout)["effort"] == pytest.approx(score)


@pytest.mark.parametrize("given", ["banana", "1.5", "nan"])
def test_a_wrong_effort_says_which_are_right(run: Run, registry: Path, given: str) -> None:
    """The levels and the range are in the hint, and nothing is called."""
    result = run("ask", "--effort", given, POEM)
    assert result.exit_code == 1
    assert "A number from 0 to 1, or one of: none, minimal, low" in result.stderr


def test_an_unknown_model_names_its_neighbours(run: Run, registry: Path) -> None:
    """A typing mistake is answered with the right name."""
    result = run("ask", "-m", "parot", POEM)
    assert result.exit_code == 1
    assert "parrot" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_failing_upstream_is_a_message(run: Run, registry: Path, upstream: MockUpstream) -> None:
    """The upstream's refusal ends with status 1 and one message; no answer appears."""
    upstream.fail(Fault(kind="status", status=400, message="no such thing"))
    result = run("ask", "-m", "parrot", POEM)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert "sk-a-secret" not in result.stderr


def test_no_question_is_an_error(run: Run) -> None:
    """An empty prompt with nothing piped in is refused before anything is loaded."""
    result = run("ask", "")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "There is no question." in result.stderr


def test_a_file_that_is_no_image_is_refused(run: Run, folder: Path) -> None:
    """The file's name is in the message."""
    (folder / "notes.txt").write_text("x")
    assert "notes.txt is not an image" in run("ask", "--image", "notes.txt", "what?").stderr


def test_asking_a_running_gateway(run: Run, gateway: Any) -> None:
    """With --url or $PREFRONTAL_URL the gateway answers: same text, same line, with and without streaming."""
    url = gateway.url
    streamed = run("ask", "--url", url, "-m", "parrot", POEM)
    assert streamed.stdout == f"You said: {POEM}\n"
    assert "parrot · " in streamed.stderr
    assert " · $0.000028 · " in streamed.stderr
    whole = json.loads(run("ask", "--json", "-m", "parrot", POEM, env={"PREFRONTAL_URL": f"{url}/v1"}).stdout)
    assert (whole["text"], whole["thinking"], whole["usage"]["reasoning_tokens"]) == (f"You said: {POEM}", "Let me see.", 3)
    reflex = json.loads(run("ask", "--url", url, "--json", "--stream", SUM).stdout.splitlines()[-1])
    assert (reflex["ending"]["answered_by"], reflex["ending"]["tool"]) == ("tool", "calculator")
    wrong = run("ask", "--url", url, "-m", "parot", POEM)
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "parrot" in wrong.stderr


@pytest.mark.parametrize(("url", "said"), [("http://127.0.0.1:9", "No gateway answers at"), ("ftp://x", "is not the address")])
def test_a_gateway_that_is_not_there(run: Run, url: str, said: str) -> None:
    """A wrong address is said in words, at once."""
    result = run("ask", "--url", url, POEM)
    assert result.exit_code == 1
    assert said in result.stderr


def test_an_interrupt_cancels_the_upstream(registry: Path, upstream: MockUpstream, folder: Path) -> None:
    """Ctrl-C inside an answer ends with 130, keeps what was shown on its own line, and closes the upstream's connection."""
    upstream.answers = lambda _request: Answer(text="one two three four five six", pace_s=0.5)
    command = [sys.executable, "-m", "prefrontal", "ask", "-m", "parrot", POEM]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    ) as started:
        assert started.stdout is not None
        assert started.stdout.read(3) == "one"
        started.send_signal(signal.SIGINT)
        rest, said = started.communicate(timeout=10)
    assert started.returncode == 130
    assert "six" not in rest
    assert rest.endswith("\n")
    assert "interrupted" in said
    assert "Traceback" not in said


async def shown(*parts: Part) -> AsyncIterator[Part]:
    for part in parts:
        yield part


END = Part(kind="end", ending=Ending(model="m", duration_ms=5))


def test_thinking_is_dimmed_on_a_terminal(screen_of: Run) -> None:
    """A person sees the thinking, dimmed, and the answer on a line of its own below it."""
    screen, out, err = screen_of(tty=True)
    text = asyncio.run(show(shown(Part(kind="thinking", text="hm"), Part(kind="content", text="Yes."), END), screen))
    assert text == "Yes."
    assert out.getvalue() == f"{DIM}hm{PLAIN}\nYes.\n"
    assert err.getvalue().startswith(f"{DIM}m · ")


def test_tool_calls_are_shown_whole(run: Run, registry: Path, upstream: MockUpstream) -> None:
    """Nobody here can run a tool, so the call is told on stderr, and is an object with --json."""
    upstream.answers = lambda _request: Answer(tool_calls=(ScriptedCall(name="look", arguments={"at": "sky"}),))
    assert 'tool call: look({"at":"sky"})' in run("ask", "-m", "parrot", POEM).stderr
    for option in ("--no-stream", "--stream"):
        lines = run("ask", "--json", option, "-m", "parrot", POEM).stdout
        assert '"look"' in lines.replace(" ", "")


def test_the_summary_says_what_is_not_known() -> None:
    """Unknown and estimated numbers are marked as such."""
    assert "tokens unknown · unknown cost" in summary(Ending(model="m"))
    usage = Usage(uncached_input_tokens=3, output_tokens=4, source="estimated")
    assert (
        summary(Ending(model="m", effort=0.5, usage=usage, cost_usd=0.1, attempts=2, duration_ms=2000))
        == "m · effort 0.50 · ~3 in + ~4 out tokens · $0.1 · 2 attempts · 2.0 s"
    )


def test_a_gateway_that_runs_here_is_pointed_to(run: Run, registry: Path, gateway: Any) -> None:
    """Asking beside a running gateway loads models again: that is said, with what asks the gateway; `--raw` says nothing."""
    port = gateway.url.rsplit(":", 1)[1]
    beside = {"PREFRONTAL__SERVER__PORT": port}
    result = run("ask", SUM, env=beside)
    assert result.stdout == "17.5% of 2340 is 409.5\n"
    assert f"A gateway runs at {gateway.url}" in result.stderr
    assert f"--url {gateway.url}" in result.stderr
    assert "A gateway runs" not in run("ask", "--raw", SUM, env=beside).stderr
    assert "A gateway runs" not in run("ask", "--url", gateway.url, SUM).stderr
