"""One reader for every shape in which engines hand out a model's thinking.

Fields: ``reasoning_content``, ``reasoning``, ``thinking`` and ``reasoning_details[]`` of a message or delta; content lists
with ``thinking`` chunks (Mistral); raw tags (``<think>`` and Mistral's ``[THINK]``) in the text. Rules for tags:

- They are looked for only at the very start of an answer (after white space): a ``<think>`` in a code sample is text.
- As soon as a field carried reasoning, tags are text.
- A closing tag without an opening one (templates that write the opening tag into the prompt): in a whole answer all that is
  before it is reasoning, unless it stands in a fence or in back-ticks. In a stream this can be known only in advance, so it
  is read this way only in mode ``unopened``: the profile says that the engine hands such output on, and the card says that
  the model always thinks. If the closing tag then never comes, and the answer was not cut by its cap, the whole text is sent
  again as content at the end: an answer shown twice is better than none.
- White space around the thinking and between it and the answer is dropped.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.chat.blocks import Block, Opaque, Reasoning, Text
from prefrontal.contracts.model import ModelCard
from prefrontal.providers.profile import Profile

TagMode = Literal["off", "opened", "unopened"]

FIELDS = ("reasoning_content", "reasoning", "thinking")
DETAILS = "reasoning_details"
_TAGS = {"<think>": "</think>", "[THINK]": "[/THINK]"}
_ORPHAN = "</think>"


def tag_mode(profile: Profile, card: ModelCard | None) -> TagMode:
    """Return how tags are read for a model behind an engine: ``unopened`` only for a model that always thinks."""
    if profile.think_tags == "unopened":
        always = card is not None and card.thinking is not None and card.thinking.always_on
        return "unopened" if always else "opened"
    return profile.think_tags


class Split(msgspec.Struct, frozen=True, gc=False):
    """A piece of text, taken apart."""

    reasoning: str = ""
    text: str = ""


_NOTHING = Split()


class TagSplitter:
    """Takes tags out of a text that arrives in pieces. The result does not depend on where the pieces end."""

    __slots__ = ("_close", "_fresh", "_held", "_mode", "_state", "_whole")

    def __init__(self, mode: TagMode) -> None:
        self._mode = mode
        self._state: Literal["start", "think", "after", "text"] = "text" if mode == "off" else "start"
        self._held = ""
        self._close = _ORPHAN
        self._fresh = True  # no thinking was returned yet: white space before it is dropped
        self._whole: list[str] = []

    @property
    def passing(self) -> bool:
        """Whether everything that still comes is text as it stands."""
        return self._state == "text"

    def give_up(self) -> Split:
        """Treat all that follows as text, because the engine has its own field for reasoning; return what was held back."""
        held, self._held, self._whole = self._held, "", []
        was, self._state = self._state, "text"
        if was == "start" or (was == "think" and self._fresh):
            return Split(text=held)
        return Split(reasoning=held) if was == "think" else _NOTHING

    def feed(self, piece: str) -> Split:
        """Return what of the text so far is certain."""
        if self._state == "text":
            return Split(text=piece)
        if self._mode == "unopened":
            self._whole.append(piece)
        self._held += piece
        if self._state == "start":
            return self._at_start()
        return self._in_think() if self._state == "think" else self._after()

    def finish(self, *, truncated: bool) -> Split:
        """Return what was held back. `truncated`: the answer ended at its output cap."""
        held, state, self._held, self._state = self._held, self._state, "", "text"
        whole, self._whole = "".join(self._whole), []
        if state == "start":
            return Split(text=held)
        if state != "think":
            return _NOTHING
        return Split(reasoning=held.rstrip(), text="" if truncated else whole)

    def _at_start(self) -> Split:
        body = self._held.lstrip()
        for opening, closing in _TAGS.items():
            if body.startswith(opening):
                self._held, self._close, self._state = body[len(opening) :], closing, "think"
                self._mode, self._whole = "opened", []
                return self._in_think()
        if any(opening.startswith(body) for opening in _TAGS):
            return _NOTHING
        if self._mode == "unopened":
            self._held, self._state = body, "think"
            return self._in_think()
        held, self._held, self._state = self._held, "", "text"
        return Split(text=held)

    def _in_think(self) -> Split:
        held = self._held.lstrip() if self._fresh else self._held
        at = held.find(self._close)
        if at >= 0:
            self._held, self._state, self._whole = held[at + len(self._close) :], "after", []
            return Split(held[:at].rstrip(), self._after().text)
        keep = _overlap(held, self._close)
        certain = held[: len(held) - keep].rstrip()
        self._held = held[len(certain) :]
        self._fresh = self._fresh and not certain
        return Split(reasoning=certain) if certain else _NOTHING

    def _after(self) -> Split:
        rest, self._held = self._held.lstrip(), ""
        if rest:
            self._state = "text"
        return Split(text=rest)


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of `text` that begins `mark`."""
    for size in range(min(len(text), len(mark) - 1), 0, -1):
        if mark.startswith(text[-size:]):
            return size
    return 0


def split_text(text: str, mode: TagMode, *, truncated: bool = False) -> Split:
    """Take the tags out of a whole answer. `truncated`: it ended at its output cap."""
    if mode == "off" or (mode == "opened" and "<" not in text and "[" not in text):
        return Split(text=text)
    splitter = TagSplitter("opened")
    first = splitter.feed(text)
    last = splitter.finish(truncated=True)
    found = Split(first.reasoning + last.reasoning, first.text + last.text)
    if found.text != text:
        return found
    at = text.find(_ORPHAN)
    if at >= 0 and not _quoted(text, at):
        return Split(text[:at].strip(), text[at + len(_ORPHAN) :].lstrip())
    return Split(reasoning=text.strip()) if mode == "unopened" and truncated else found


def _quoted(text: str, at: int) -> bool:
    before = text[:at]
    return before.count("```") % 2 == 1 or before.endswith("`")


class Read(msgspec.Struct, frozen=True, gc=False):
    """What a message or delta says: thinking (and under which field), text, other content parts, and raw details."""

    reasoning: str = ""
    text: str = ""
    field: str | None = None
    others: tuple[Block, ...] = ()
    details: list[Any] | None = None


def read_fields(message: dict[str, Any]) -> Read:
    """Return what a message or delta says in its fields and content; tags in the text are not looked at."""
    content = message.get("content")
    field: str | None = None
    reasoning = ""
    for name in FIELDS:
        value = message.get(name)
        if value and isinstance(value, str):
            field, reasoning = name, value
            break
    details = message.get(DETAILS)
    if not details:
        if not isinstance(content, list):
            return Read(reasoning, content if isinstance(content, str) else "", field)
        details = None
    elif not isinstance(details, list):
        details = None
    elif not reasoning:
        field, reasoning = DETAILS, _details_text(details)
    if not isinstance(content, list):
        return Read(reasoning, content if isinstance(content, str) else "", field, (), details)
    thought, text, others = _read_parts(content)
    if thought and not reasoning:
        field, reasoning = "content", thought
    return Read(reasoning, text, field, others, details)


def _details_text(details: list[Any]) -> str:
    found = [item.get("text") or item.get("summary") for item in details if isinstance(item, dict)]
    return "".join([text for text in found if isinstance(text, str)])


def _read_parts(parts: list[Any]) -> tuple[str, str, tuple[Block, ...]]:
    thought: list[str] = []
    text: list[str] = []
    others: list[Block] = []
    for part in parts:
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict):
            if part.get("type") == "thinking":
                inner = part.get("thinking")
                thought.append(inner if isinstance(inner, str) else _read_parts(inner if isinstance(inner, list) else [])[1])
            elif isinstance(part.get("text"), str):
                text.append(part["text"])
            else:
                others.append(Opaque(dialect="openai", value=part))
    return "".join(thought), "".join(text), tuple(others)


def read_message(message: dict[str, Any], mode: TagMode, provider: str, *, truncated: bool = False) -> list[Block]:
    """Return the reasoning, text and other content of a whole assistant message as blocks."""
    read = read_fields(message)
    reasoning, text = read.reasoning, read.text
    if not reasoning and text and mode != "off":
        split = split_text(text, mode, truncated=truncated)
        reasoning, text = split.reasoning, split.text
    blocks: list[Block] = []
    if reasoning or read.details:
        extra = {DETAILS: read.details} if read.details else None
        blocks.append(Reasoning(text=reasoning, provider=provider, field=read.field, extra=extra))
    if text:
        blocks.append(Text(text=text))
    blocks.extend(read.others)
    return blocks


class StreamReader:
    """Reads the deltas of one choice of one streamed answer."""

    __slots__ = ("_splitter",)

    def __init__(self, mode: TagMode) -> None:
        self._splitter = TagSplitter(mode)

    @property
    def passing(self) -> bool:
        """Whether the text of all deltas to come is text as it stands."""
        return self._splitter.passing

    def read(self, delta: dict[str, Any]) -> Read:
        """Return what a delta adds, tags taken out of its text."""
        read = read_fields(delta)
        splitter = self._splitter
        if splitter.passing:
            return read
        if read.reasoning:
            held = splitter.give_up()
            if not held.text and not held.reasoning:
                return read
            return Read(held.reasoning + read.reasoning, held.text + read.text, read.field, read.others, read.details)
        if not read.text:
            return read
        split = splitter.feed(read.text)
        return Read(split.reasoning, split.text, None, read.others, read.details)

    def finish(self, *, truncated: bool) -> Split:
        """Return what was held back until the end. `truncated`: the answer ended at its output cap."""
        return self._splitter.finish(truncated=truncated)
