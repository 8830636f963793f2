"""`prefrontal chat`: a conversation with memory."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.cli.answers import Ending, Part
from prefrontal.cli.ask import Question
from prefrontal.cli.chat import Conversation
from prefrontal.errors import NoModelAvailable
from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

Run = Callable[..., Any]


class Echo:
    """Answers with the number of messages, and remembers what it was given."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[dict[str, Any]], dict[str, Any]]] = []
        self.explained: list[list[dict[str, Any]]] = []
        self.fails = False

    async def stream(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> AsyncIterator[Part]:
        self.asked.append((messages, options))
        if self.fails:
            raise NoModelAvailable("Nobody is here.", hint="Come back.")
        yield Part(kind="content", text=f"answer {len(messages)}")
        yield Part(kind="end", ending=Ending(model="echo"))

    async def whole(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> list[Part]:
        raise AssertionError("a chat streams")

    async def explain(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
        self.explained.append(messages)
        return {"path": "model", "model": "echo"}


@pytest.fixture
def talk(screen_of: Run) -> Run:
    """A conversation with an echo, and its two streams."""

    def make(**question: Any) -> Any:
        who = Echo()
        screen, out, err = screen_of(tty=False)
        return Conversation(who, screen, question=Question(prompt="", **question)), who, out, err

    return make


async def test_each_turn_carries_the_whole_conversation(talk: Run) -> None:
    """The second question is sent with the first one and its answer, below the system text."""
    conversation, who, out, _ = talk(system="Be kind.")
    await conversation.line("first")
    await conversation.line("second")
    assert [(m["role"], m["content"]) for m in who.asked[1][0]] == [
        ("system", "Be kind."),
        ("user", "first"),
        ("assistant", "answer 2"),
        ("user", "second"),
    ]
    assert out.getvalue() == "answer 2\nanswer 4\n"


async def test_model_and_effort_hold_until_changed(talk: Run) -> None:
    """/model and /effort change what the following questions ask for; `auto` gives the choice back."""
    conversation, who, _, err = talk()
    for line in ("/model big", "/effort high", "x", "/effort 0.25", "x", "/effort auto", "/model auto", "x"):
        assert await conversation.line(line)
    assert [options for _, options in who.asked] == [
        {"model": "big", "reasoning_effort": "high"},
        {"model": "big", "x_prefrontal": {"effort": 0.25}},
        {"model": "auto"},
    ]
    assert "model: big\neffort: high\n" in err.getvalue()


async def test_a_wrong_effort_changes_nothing(talk: Run) -> None:
    """The old effort stays, and the right words are said."""
    conversation, who, _, err = talk(effort="low")
    await conversation.line("/effort huge")
    await conversation.line("x")
    assert who.asked[0][1]["reasoning_effort"] == "low"
    assert "one of: none, minimal" in err.getvalue()


async def test_clear_forgets_all_but_the_instructions(talk: Run) -> None:
    """/clear starts anew with the system text alone."""
    conversation, who, _, _ = talk(system="Be kind.")
    for line in ("first", "/clear", "second"):
        await conversation.line(line)
    assert [m["content"] for m in who.asked[1][0]] == ["Be kind.", "second"]


async def test_an_error_leaves_the_conversation_usable(talk: Run) -> None:
    """A failed turn is shown, is not remembered, and can be asked again."""
    conversation, who, _, err = talk()
    who.fails = True
    assert await conversation.line("first")
    who.fails = False
    await conversation.line("again")
    assert [m["content"] for m in who.asked[1][0]] == ["again"]
    assert "error: Nobody is here. Come back.\n" in err.getvalue()


async def test_explain_takes_the_last_message_or_a_text(talk: Run) -> None:
    """/explain shows the plan of the last question in its place, /explain TEXT that of another one."""
    conversation, who, out, err = talk()
    await conversation.line("/explain")
    assert "nothing to explain yet" in err.getvalue()
    await conversation.line("first")
    await conversation.line("/explain")
    await conversation.line("/explain something else")
    assert [[m["content"] for m in messages] for messages in who.explained] == [
        ["first"],
        ["first", "answer 1", "something else"],
    ]
    assert "the model echo" in out.getvalue()


async def test_leaving_and_getting_lost(talk: Run) -> None:
    """/exit ends; an unknown command lists the known ones and asks nobody."""
    conversation, who, _, err = talk()
    assert await conversation.line("/frobnicate")
    assert "there is no command /frobnicate" in err.getvalue()
    assert "/explain" in err.getvalue()
    assert not await conversation.line("/exit")
    assert who.asked == []


def test_on_a_pipe_each_line_is_a_message(run: Run, registry: Path, upstream: MockUpstream) -> None:
    """No prompt is shown, answers come line by line, and the end of input ends the chat."""
    upstream.fail(Fault(kind="status", status=400, message="not now"))
    result = run("chat", "-m", "parrot", input="lost\n\nhello\nthere\n")
    assert (result.exit_code, result.stdout) == (0, "You said: hello\nYou said: there\n")
    assert "error: " in result.stderr
    assert len(upstream.requests[-1].json["messages"]) == 3
    assert ">" not in result.stdout


def test_after_exit_nothing_more_is_read(run: Run, registry: Path, upstream: MockUpstream) -> None:
    """/exit stops although lines are left."""
    assert run("chat", "-m", "parrot", input="/exit\nhello\n").exit_code == 0
    assert [request for request in upstream.requests if request.method == "POST"] == []


def test_on_a_terminal_an_answer_can_be_stopped(registry: Path, upstream: MockUpstream, folder: Path) -> None:
    """There is a prompt; Ctrl-C inside an answer stops that answer and closes the upstream; the chat goes on until /exit."""
    upstream.answers = lambda _request: Answer(text="one two three four five six", pace_s=3.0)
    mine, theirs = pty.openpty()
    started = subprocess.Popen(
        [sys.executable, "-m", "prefrontal", "chat", "-m", "parrot"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        start_new_session=True,
    )
    os.close(theirs)

    def read_until(text: str) -> str:
        said = ""
        while text not in said:
            said += os.read(mine, 4096).decode()
        return said

    try:
        assert "/help lists the commands" in read_until("> ")
        os.write(mine, b"count\r")
        read_until("one")
        started.send_signal(signal.SIGINT)
        assert "six" not in read_until("stopped")
        read_until("> ")
        os.write(mine, b"/exit\r")
        assert started.wait(10) == 0
    finally:
        started.kill()
        started.wait()
        os.close(mine)
