"""Streamed answers of OpenAI-compatible upstreams: bytes → chunks. Chat and legacy text completions alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from prefrontal.chat.response import Chunk, ToolCallDelta
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import ProviderCut, ProviderError, ProviderMisbehaved
from prefrontal.providers.common import loads
from prefrontal.providers.openai.faults import classify, fault_of
from prefrontal.providers.openai.repeat import Repeat
from prefrontal.providers.openai.response import decode_answer, finish_of
from prefrontal.providers.openai.usage import parse_usage, unknown_fields
from prefrontal.providers.profile import Profile
from prefrontal.providers.reasoning import DETAILS, FIELDS, Read, StreamReader, tag_mode
from prefrontal.providers.sse import MAX_LINE_BYTES, Event, SSEDecoder

_TOP = frozenset({"id", "object", "created", "model", "choices", "usage", "choice", "delta"})
"""Known fields of a chunk, and the two names under which a chunk's `extra` holds what is unknown deeper in it."""

_CHOICE = frozenset({"index", "delta", "message", "text", "finish_reason", "logprobs"})
_DELTA = frozenset({"role", "content", "refusal", "tool_calls", *FIELDS})
MAX_CHOICES = 128
"""Specified: the API's bound on ``n``; a stream that counts higher is not one of ours."""


class _Choice:
    """What is known of one choice of the stream."""

    __slots__ = ("calls", "finished", "reader")

    def __init__(self, reader: StreamReader) -> None:
        self.reader = reader
        self.finished = False
        self.calls: dict[str, int] = {}


class OpenAIStreamParser:
    """Reads one streamed answer.

    An error inside the stream is raised after the chunks before it were returned: at once when there are none, else by the next
    call of `feed` or `finish`. An engine that answers with one JSON object in place of a stream is understood.
    """

    def __init__(self, profile: Profile, card: ModelCard | None = None) -> None:
        self._decoder = SSEDecoder()
        self._shape = profile.usage_shape
        self._provider = profile.provider
        self._model = card.id if card else None
        self._mode = tag_mode(profile, card)
        self._choices: dict[int, _Choice] = {}
        self._done = False
        self._error: ProviderError | None = None
        self._head: tuple[Any, Any, Any] = (None, None, None)
        self._plain: bytearray | None = None
        self._begun = False
        self._repeat = Repeat()
        self._last: str | None = None  # the data of the event read last, when all of it went into one chunk

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the chunks that `data` completes. Raises ProviderError: an error event, or bytes not of this wire."""
        if not self._begun and data.strip():
            self._begun = True
            self._plain = bytearray() if data.lstrip()[:1] == b"{" else None
        if self._plain is None:
            return self._events(data)
        self._plain += data
        if len(self._plain) > MAX_LINE_BYTES:
            raise ProviderMisbehaved(
                "The upstream's answer is no stream, and too large.", model=self._model, provider=self._provider
            )
        return []

    def _events(self, data: bytes) -> list[Chunk]:
        """Read what has come: by the frame of the event before where that is possible, in full where it is not."""
        chunks: list[Chunk] = []
        while True:
            if self._repeat.known:
                data = self._repeat.read(data, chunks)
                if not data:
                    return chunks
            # one event alone, so that those behind it may be read by it
            cut = data.find(b"\n\n") + 2 if self._repeat.worthwhile else 0
            piece, data = (data[:cut], data[cut:]) if cut > 1 else (data, b"")
            self._run(partial(self._decoder.feed, piece), chunks)
            self._learn(chunks)
            if not data or self._error is not None:
                return chunks

    def _learn(self, chunks: list[Chunk]) -> None:
        """Let the event that was read last stand for those like it, when nothing is left over from it."""
        last, idle = self._last, self._decoder.idle
        if last is None or not idle or self._done or self._error or not self._choices[chunks[-1].choice].reader.passing:
            self._repeat.forget()
        else:
            self._repeat.learn(last, chunks[-1])

    def finish(self) -> list[Chunk]:
        """Return the rest. Raises ProviderCut when neither ``[DONE]`` nor every choice's finish reason was seen."""
        chunks: list[Chunk] = []
        self._run(self._last_events, chunks)
        if self._error is not None:
            if chunks:
                return chunks
            raise self._error
        if not self._done and not (self._choices and all(choice.finished for choice in self._choices.values())):
            raise ProviderCut(f"{self._provider} ended the answer before its end.", model=self._model, provider=self._provider)
        for index, choice in self._choices.items():
            if not choice.finished:
                chunks.extend(self._flush(index, choice, truncated=False))
        return chunks

    def _last_events(self) -> list[Event]:
        """The events at the end, without the one that the end cut in two."""
        if self._plain is not None:
            return [Event(None, self._plain.decode("utf-8", "replace"))]
        return [event for event in self._decoder.finish() if event.data.startswith("[DONE]") or loads(event.data) is not None]

    def _run(self, decode: Callable[[], list[Event]], chunks: list[Chunk]) -> None:
        if self._error is not None:
            raise self._error
        self._last = None
        try:
            for event in decode():
                if not self._done:
                    self._event(event, chunks)
        except ProviderError as error:
            self._error = error
            error.model, error.provider = self._model, self._provider
            if not chunks:
                raise

    def _event(self, event: Event, chunks: list[Chunk]) -> None:
        data = event.data
        self._last = None
        if data.startswith("[DONE]"):
            self._done = True
            return
        if not data or data.isspace():
            return
        raw = decode_answer(data)
        choices = raw.get("choices")
        if choices is None or event.event == "error":
            if event.event == "error" or raw.get("error") or raw.get("object") == "error":
                raise classify(fault_of(raw), None, self._provider, self._model)
            choices = ()
        if not isinstance(choices, (list, tuple)):
            raise ProviderMisbehaved("A chunk of the upstream's answer has choices that are not a list.")
        top: dict[str, Any] = {}
        if len(raw) > 5 or "usage" in raw:
            self._read_top(raw, top)
        for choice in choices:
            chunk = self._read_choice(choice, raw, top)
            chunks.append(chunk)
            top = {}
        if len(choices) == 1 and event.event is None:
            self._last = data
        if not choices and top:
            chunks.append(Chunk(**self._identity(raw), usage=top.get("usage"), extra=top.get("extra")))

    def _read_top(self, raw: dict[str, Any], top: dict[str, Any]) -> None:
        usage = raw.get("usage")
        extra = {key: value for key, value in raw.items() if key not in _TOP and value is not None}
        if isinstance(usage, dict):
            top["usage"] = parse_usage(usage, self._shape)
            more = unknown_fields(usage)
            if more:
                extra["usage"] = more
        if extra:
            top["extra"] = extra

    def _identity(self, raw: dict[str, Any]) -> dict[str, Any]:
        """The answer's id, model and time, given once: with the first chunk that has them."""
        head = (raw.get("id"), raw.get("model"), raw.get("created"))
        if head == self._head:
            return {}
        self._head = head
        id_, model, created = head
        return {
            "id": id_ if isinstance(id_, str) else None,
            "model": model if isinstance(model, str) else None,
            "created_s": int(created) if isinstance(created, (int, float)) else None,
        }

    def _state(self, raw: dict[str, Any]) -> tuple[int, _Choice]:
        index = raw.get("index")
        index = index if isinstance(index, int) else 0
        state = self._choices.get(index)
        if state is None:
            if len(self._choices) >= MAX_CHOICES:
                raise ProviderMisbehaved("The upstream's answer has too many choices.")
            state = self._choices[index] = _Choice(StreamReader(self._mode))
        return index, state

    def _read_choice(self, raw: object, whole: dict[str, Any], top: dict[str, Any]) -> Chunk:
        if not isinstance(raw, dict):
            raise ProviderMisbehaved("A choice of the upstream's answer is not an object.")
        index, state = self._state(raw)
        delta = raw.get("delta")
        if not isinstance(delta, dict):
            text = raw.get("text")
            message = raw.get("message")
            delta = {"content": text} if isinstance(text, str) else message if isinstance(message, dict) else {}
        read = state.reader.read(delta)
        fields = self._identity(whole)
        fields.update(top)
        role = _word(delta.get("role"))
        if role is not None:
            fields["role"] = role
        raw_calls = delta.get("tool_calls")
        if raw_calls:
            fields["tool_calls"] = _read_calls(raw_calls, state)
        if len(delta) > 1:
            self._read_delta(delta, read, fields)
        reasoning, text = read.reasoning, read.text
        finish = raw.get("finish_reason")
        if finish is not None:
            reason = finish_of(finish, called=bool(state.calls))
            if reason is not None:
                state.finished = True
                fields.update(finish_reason=reason, raw_finish=_word(finish))
                rest = state.reader.finish(truncated=reason == "length")
                reasoning, text = reasoning + rest.reasoning, text + rest.text
        logprobs = raw.get("logprobs")
        if isinstance(logprobs, dict):
            fields["logprobs"] = logprobs
        if len(raw) > 4 or any(key not in _CHOICE for key in raw):
            more = {key: value for key, value in raw.items() if key not in _CHOICE and value is not None}
            if more:
                fields["extra"] = {**(fields.get("extra") or {}), "choice": more}
        return Chunk(choice=index, text=text, reasoning=reasoning, **fields)

    @staticmethod
    def _read_delta(delta: dict[str, Any], read: Read, fields: dict[str, Any]) -> None:
        refusal = delta.get("refusal")
        if isinstance(refusal, str):
            fields["refusal"] = refusal
        more = {key: value for key, value in delta.items() if key not in _DELTA and value is not None}
        if read.details is None:
            more.pop(DETAILS, None)
        if more:
            fields["extra"] = {**(fields.get("extra") or {}), "delta": more}

    @staticmethod
    def _flush(index: int, choice: _Choice, *, truncated: bool) -> list[Chunk]:
        rest = choice.reader.finish(truncated=truncated)
        return [Chunk(choice=index, text=rest.text, reasoning=rest.reasoning)] if rest.text or rest.reasoning else []


def _read_calls(raw: object, state: _Choice) -> tuple[ToolCallDelta, ...]:
    """The tool-call pieces of a delta. A call without an index (some engines send whole calls) is told by its id."""
    found: list[ToolCallDelta] = []
    for call in raw if isinstance(raw, list) else ():
        if not isinstance(call, dict):
            raise ProviderMisbehaved("A tool call of the upstream's answer is not an object.")
        inner = call.get("function") or call.get("custom") or {}
        if not isinstance(inner, dict):
            raise ProviderMisbehaved("A tool call of the upstream's answer has no object with its name.")
        call_id, index, name = _word(call.get("id")), call.get("index"), _word(inner.get("name"))
        if not isinstance(index, int):
            key = call_id or f"#{len(state.calls)}"
            index = state.calls.get(key, len(state.calls))
        state.calls[call_id or next((key for key, at in state.calls.items() if at == index), f"#{index}")] = index
        arguments = inner.get("arguments", inner.get("input"))
        content = call.get("extra_content")
        google = content.get("google") if isinstance(content, dict) else None
        found.append(
            ToolCallDelta(
                index=index,
                id=call_id,
                name=name,
                arguments=arguments if isinstance(arguments, str) else "" if arguments is None else _json(arguments),
                kind="custom" if "custom" in call else "function",
                signature=_word(google.get("thought_signature")) if isinstance(google, dict) else None,
            )
        )
    return tuple(found)


def _word(value: object) -> str | None:
    """`value` where it is a text that says something."""
    return value if isinstance(value, str) and value else None


def _json(value: object) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
