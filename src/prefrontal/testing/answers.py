"""What a mock model says: written once, rendered to every wire."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from prefrontal.testing.faults import Fault
from prefrontal.testing.http_server import Recorded


class ScriptedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call: `arguments` is a JSON-serialisable object, or a str that is sent as it is (to be wrong on purpose)."""

    name: str
    arguments: Mapping[str, Any] | str = {}
    id: str = "call_1"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a mock model.

    Streams carry `text` and `reasoning` word by word, `pace_s` seconds apart; the answer begins after `delay_s` seconds. The
    token counts default to the number of words. `finish` is in OpenAI's words (stop, length, tool_calls, content_filter);
    None takes the one that fits.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    finish: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    pace_s: float = 0.0
    delay_s: float = 0.0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asks, whatever its wire: the model, the text of the last user message, and whether to stream."""

    model: str
    text: str
    stream: bool
    prompt_words: int
    include_usage: bool = True
    choices: int = 1


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """An answer ready to be rendered: pieces, finish reason and counts are settled. `usage=False` leaves the counts out."""

    model: str
    pieces: tuple[str, ...]
    reasoning: tuple[str, ...]
    tool_calls: tuple[ScriptedCall, ...]
    finish: str
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    usage: bool = True
    usage_with_choices: bool = False
    include_usage: bool = True
    choices: int = 1

    @property
    def text(self) -> str:
        """The whole content."""
        return "".join(self.pieces)

    @property
    def thinking(self) -> str:
        """The whole reasoning."""
        return "".join(self.reasoning)


Said = Answer | Fault | str
"""What a script says to one request: an answer, its text alone, or how it goes wrong."""

Script = Callable[[Recorded], Said] | Mapping[str, Said]
"""From a request to its answer: a function, or a table whose keys are looked for in the last user message."""


def choose(script: Script | None, request: Recorded, asked: Asked) -> Answer | Fault:
    """Return the scripted answer or fault; without one, or when no key fits, the last user message comes back."""
    if callable(script):
        found: Said = script(request)
    else:
        hits = (answer for key, answer in (script or {}).items() if key in asked.text)
        found = next(hits, asked.text)
    return Answer(text=found) if isinstance(found, str) else found


def speak(answer: Answer, asked: Asked) -> Spoken:
    """Settle pieces, finish reason and token counts of `answer`."""
    pieces, reasoning = words(answer.text), words(answer.reasoning)
    said = len(pieces) + len(reasoning) + sum(1 + len(str(call.arguments).split()) for call in answer.tool_calls)
    return Spoken(
        model=asked.model,
        pieces=pieces,
        reasoning=reasoning,
        tool_calls=answer.tool_calls,
        finish=answer.finish or ("tool_calls" if answer.tool_calls else "stop"),
        input_tokens=asked.prompt_words if answer.input_tokens is None else answer.input_tokens,
        output_tokens=said if answer.output_tokens is None else answer.output_tokens,
        reasoning_tokens=len(reasoning),
        cached_tokens=answer.cached_tokens,
        include_usage=asked.include_usage,
        choices=asked.choices,
    )


def words(text: str) -> tuple[str, ...]:
    """Split into words that keep their trailing blanks: joined they are the text again."""
    return tuple(re.findall(r"\s*\S+\s*", text)) or ((text,) if text else ())


def arguments_json(call: ScriptedCall) -> str:
    """Return the arguments as the JSON text that OpenAI's wire carries."""
    return call.arguments if isinstance(call.arguments, str) else msgspec.json.encode(call.arguments).decode()


def text_of(content: Any) -> str:
    """Return the text of a message's content: a str, or a list of parts of which some have a text."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
