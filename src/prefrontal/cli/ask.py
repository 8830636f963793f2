"""`prefrontal ask`: one question, one answer."""

from __future__ import annotations

import base64
import mimetypes
import os
import stat
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO, get_args

import msgspec

from prefrontal.cli.answers import Asker, Local, Part, document, summary
from prefrontal.cli.locate import gateway, running, url_of
from prefrontal.cli.screen import DIM, Screen
from prefrontal.cli.session import Place, opened
from prefrontal.clock import Clock
from prefrontal.contracts.effort import Level
from prefrontal.errors import InvalidRequest

LEVELS: tuple[str, ...] = get_args(Level)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked and how. `effort` is a level or a score in [0, 1] as text."""

    prompt: str
    model: str = "auto"
    effort: str | None = None
    channel: str | None = None
    session: str | None = None
    system: str | None = None
    images: tuple[Path, ...] = ()
    max_tokens: int | None = None


def messages_of(question: Question) -> list[dict[str, Any]]:
    """Return the messages in OpenAI's form; images travel inside the request.

    Raises:
        InvalidRequest: there is no question, or an image cannot be read or is none.
    """
    if not question.prompt.strip() and not question.images:
        raise InvalidRequest("There is no question.", param="prompt", hint="Give it as an argument, or pipe it in.")
    system = [{"role": "system", "content": question.system}] if question.system else []
    if not question.images:
        return [*system, {"role": "user", "content": question.prompt}]
    parts: list[dict[str, Any]] = [{"type": "text", "text": question.prompt}] if question.prompt.strip() else []
    parts.extend({"type": "image_url", "image_url": {"url": _data_url(path)}} for path in question.images)
    return [*system, {"role": "user", "content": parts}]


def options_of(question: Question) -> dict[str, Any]:
    """Return the other fields of the request.

    Raises:
        InvalidRequest: `effort` is neither a level nor a number from 0 to 1.
    """
    options: dict[str, Any] = {"model": question.model}
    hints: dict[str, Any] = {}
    if question.max_tokens is not None:
        options["max_tokens"] = question.max_tokens
    if question.effort is not None:
        if question.effort.lower() in LEVELS:
            options["reasoning_effort"] = question.effort.lower()
        else:
            hints["effort"] = _score(question.effort)
    if question.channel:
        hints["channel"] = question.channel
    if question.session:
        hints["session"] = question.session
    if hints:
        options["x_prefrontal"] = hints
    return options


def with_piped(prompt: str, stdin: TextIO) -> str:
    """Return the prompt with what is piped in below it; ``-`` stands for what is piped in alone.

    Only pipes and files are read: a terminal, ``/dev/null`` or a closed stdin hold no question.
    """
    if prompt == "-":
        return stdin.read()
    if stdin.closed or stdin.isatty() or not _carries_text(stdin):
        return prompt
    piped = stdin.read()
    return f"{prompt}\n\n{piped}" if piped.strip() else prompt


@asynccontextmanager
async def asker(place: Place, url: str | None, clock: Clock, screen: Screen | None = None) -> AsyncIterator[Asker]:
    """Yield who answers: the gateway that was named, else a Prefrontal in this process.

    screen: where to say that a gateway runs here too, which has its models loaded already; None: that is not looked for.
    """
    if url_of(url, place):
        async with gateway(url, place, clock) as remote:
            yield remote
        return
    beside = None if screen is None else await running(place, clock)
    if beside is not None and screen is not None:
        screen.note(f"A gateway runs at {beside}; this command works beside it and loads models again.", style=DIM)
        screen.note(f"To ask the gateway: --url {beside}, or PREFRONTAL_URL={beside}", style=DIM)
    async with opened(place) as pf:
        yield Local(pf)


async def ask(
    question: Question, place: Place, screen: Screen, clock: Clock, *, url: str | None, stream: bool, as_json: bool, raw: bool
) -> None:
    """Ask and show the answer: its text on stdout, one line about it on stderr.

    stream: show it as it arrives. as_json: one document, or with `stream` one line a piece. raw: the text alone, nothing else.

    Raises:
        PrefrontalError: as the request ends.
    """
    messages, options = messages_of(question), options_of(question)
    async with asker(place, url, clock, None if raw else screen) as who:
        if as_json and not stream:
            screen.json(document(await who.whole(messages, options)))
            return
        parts = who.stream(messages, options) if stream else _given(await who.whole(messages, options))
        if as_json:
            async for part in parts:
                screen.json_line({name: value for name, value in msgspec.to_builtins(part).items() if value not in (None, "")})
            return
        await show(parts, screen, raw=raw)


async def show(parts: AsyncIterator[Part], screen: Screen, *, raw: bool = False) -> str:
    """Show an answer as it arrives and return its text. Thinking appears dimmed, and on a terminal only."""
    printer = _Printer(screen, raw=raw)
    try:
        async for part in parts:
            printer.show(part)
    finally:
        printer.end_line()
    printer.close()
    return printer.text


class _Printer:
    """Keeps what was shown in order: thinking, then the answer, each on lines of its own."""

    def __init__(self, screen: Screen, *, raw: bool) -> None:
        self._screen = screen
        self._raw = raw
        self._thinking = False
        self._line_open = False
        self._rest: list[Part] = []
        self.text = ""

    def show(self, part: Part) -> None:
        if part.kind == "content":
            if self._thinking:
                self.end_line()
                self._thinking = False
            self.text += part.text
            self._write(part.text)
        elif part.kind == "thinking":
            if self._screen.out_tty and not self._raw:
                self._thinking = True
                self._write(part.text, DIM)
        else:
            self._rest.append(part)

    def _write(self, text: str, style: str = "") -> None:
        if text:
            self._screen.write(text, style)
            self._line_open = not text.endswith("\n")

    def end_line(self) -> None:
        """End the line that is open, so that whatever follows starts on its own."""
        if self._line_open:
            self._screen.line()
            self._line_open = False

    def close(self) -> None:
        """Show the tool calls, which nobody here can run, and the line about the answer."""
        shown = document(self._rest)
        for call in shown["tool_calls"]:
            self._screen.note(f"tool call: {call['name']}({call['arguments']})")
        for part in self._rest:
            if part.ending is not None and not self._raw:
                self._screen.note(summary(part.ending), style=DIM)


async def _given(parts: Sequence[Part]) -> AsyncIterator[Part]:
    for part in parts:
        yield part


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0.0 <= score <= 1.0:
        raise InvalidRequest(
            f"'{text}' is not an effort.", param="effort", hint=f"A number from 0 to 1, or one of: {', '.join(LEVELS)}."
        )
    return score


def _data_url(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0]
    if kind is None or not kind.startswith("image/"):
        raise InvalidRequest(f"{path} is not an image by its name.", param="image", hint="Such as photo.png or photo.jpg.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.", param="image") from error
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _carries_text(stdin: TextIO) -> bool:
    try:
        mode = os.fstat(stdin.fileno()).st_mode
    except (OSError, ValueError):
        return stdin is not sys.__stdin__  # a stream without a descriptor was put there on purpose
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
