"""`prefrontal chat`: a conversation in the terminal, kept in memory."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, TextIO

from prefrontal.cli.answers import Asker
from prefrontal.cli.ask import Question, asker, options_of, show
from prefrontal.cli.explain import show_explanation
from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place
from prefrontal.clock import Clock
from prefrontal.errors import PrefrontalError

HELP = """\
/model NAME    ask this model from now on; `auto` lets Prefrontal choose; without a name: say which
/effort LEVEL  none, minimal, low, medium, high, xhigh, max, or 0 to 1; `auto` lets Prefrontal choose
/explain       say what would be done with your last message, and why; with a text: with that
/clear         forget the conversation
/help          this list
/exit          leave; Ctrl-D too"""


class Conversation:
    """The state of one chat: messages, model, effort. `line` handles one line of input."""

    def __init__(self, who: Asker, screen: Screen, *, question: Question) -> None:
        self._who = who
        self._screen = screen
        self._question = question
        self.model = question.model
        self.effort = question.effort
        self.messages: list[dict[str, Any]] = []
        self._forget()

    async def line(self, text: str) -> bool:
        """Answer a message or obey a command; return whether to go on. Errors are shown, the conversation stays usable."""
        text = text.strip()
        if not text:
            return True
        try:
            if text.startswith("/"):
                return await self._command(*_split(text))
            await self._say(text)
        except PrefrontalError as error:
            self._screen.note(f"error: {error.text}")
        return True

    async def _say(self, text: str) -> None:
        asked = [*self.messages, {"role": "user", "content": text}]
        answer = await show(self._who.stream(asked, self._options()), self._screen)
        self.messages = [*asked, {"role": "assistant", "content": answer}]  # only now: a failed turn can be asked again

    async def _command(self, name: str, rest: str) -> bool:
        note = self._screen.note
        if name in ("/exit", "/quit"):
            return False
        if name == "/clear":
            self._forget()
            note("the conversation is forgotten")
        elif name == "/model":
            self.model = rest or self.model
            note(f"model: {self.model}")
        elif name == "/effort":
            await self._set_effort(rest)
            note(f"effort: {self.effort or 'auto'}")
        elif name == "/explain":
            await self._explain(rest)
        else:
            if name != "/help":
                note(f"there is no command {name}")
            note(*HELP.splitlines())
        return True

    async def _set_effort(self, text: str) -> None:
        before = self.effort
        self.effort = None if text == "auto" else text or before
        try:
            self._options()
        except PrefrontalError:
            self.effort = before
            raise

    async def _explain(self, text: str) -> None:
        last = next((m["content"] for m in reversed(self.messages) if m["role"] == "user"), "")
        if not text and not last:
            self._screen.note("there is nothing to explain yet; /explain TEXT explains a text")
            return
        history = self.messages if text else self.messages[:-2]
        found = await self._who.explain([*history, {"role": "user", "content": text or last}], self._options())
        show_explanation(found, self._screen)

    def _options(self) -> dict[str, Any]:
        question = self._question
        return options_of(
            Question(prompt="", model=self.model, effort=self.effort, channel=question.channel, session=question.session)
        )

    def _forget(self) -> None:
        system = self._question.system
        self.messages = [{"role": "system", "content": system}] if system else []


def chat(question: Question, place: Place, screen: Screen, clock: Clock, *, url: str | None, stdin: TextIO) -> None:
    """Talk until /exit or the end of input. On a pipe, each line is one message and nothing is prompted for.

    Ctrl-C while an answer arrives stops that answer; at the prompt it leaves.
    """
    # input() blocks this thread, so the loop runs one turn at a time: then Ctrl-C reaches input() and not a task
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        who = runner.run(stack.enter_async_context(asker(place, url, clock, screen)))
        try:
            conversation = Conversation(who, screen, question=question)
            if stdin.isatty():
                screen.note("prefrontal chat. /help lists the commands, /exit leaves.")
            _loop(runner, conversation, screen, stdin)
        finally:
            runner.run(stack.aclose())


def _loop(runner: asyncio.Runner, conversation: Conversation, screen: Screen, stdin: TextIO) -> None:
    while True:
        line = _read_line(screen, stdin)
        if line is None:
            return
        try:
            if not runner.run(conversation.line(line)):
                return
        except KeyboardInterrupt:
            if not stdin.isatty():
                raise
            screen.note("stopped")


def _read_line(screen: Screen, stdin: TextIO) -> str | None:
    if not stdin.isatty():
        return stdin.readline() or None
    import readline  # noqa: F401 - gives input() its line editing

    try:
        return input("> ")
    except EOFError:
        screen.line()
        return None


def _split(text: str) -> tuple[str, str]:
    name, _, rest = text.partition(" ")
    return name.lower(), rest.strip()
