"""Puts the pieces of a stream together again."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.blocks import Block, Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.response import ChatResponse, Choice, Chunk, FinishReason, ToolCallDelta
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage


class _Call:
    """One tool call being put together."""

    __slots__ = ("arguments", "id", "kind", "name", "signature")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.kind = "function"
        self.arguments: list[str] = []
        self.signature: str | None = None

    def add(self, delta: ToolCallDelta) -> None:
        self.id = delta.id or self.id
        self.name = delta.name or self.name
        self.kind = delta.kind
        self.arguments.append(delta.arguments)
        self.signature = delta.signature or self.signature

    def block(self) -> ToolCall:
        return ToolCall(id=self.id, name=self.name, arguments="".join(self.arguments), kind=self.kind, signature=self.signature)


class _Pieces:
    """One choice being put together; a block closes when another kind of piece follows."""

    def __init__(self) -> None:
        self.blocks: list[Block | _Call] = []  # a call stands where it began, also when its arguments come later
        self.calls: dict[int, _Call] = {}
        self.kind = ""
        self.text: list[str] = []
        self.finish: FinishReason | None = None
        self.raw_finish: str | None = None
        self.logprobs: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}

    def add(self, kind: str, text: str) -> None:
        if kind != self.kind:
            self.close()
            self.kind = kind
        self.text.append(text)

    def close(self, signature: str | None = None, provider: str | None = None) -> None:
        block = self._open(signature, provider)
        if block is not None:
            self.blocks.append(block)
        self.kind, self.text = "", []

    def _open(self, signature: str | None = None, provider: str | None = None) -> Block | None:
        text = "".join(self.text)
        if self.kind == "reasoning" and (text or signature):
            return Reasoning(text=text, signature=signature, provider=provider)
        if not text:
            return None
        return Text(text=text) if self.kind == "text" else Refusal(text=text)

    def call(self, delta: ToolCallDelta) -> None:
        call = self.calls.get(delta.index)
        if call is None:
            self.close()
            call = self.calls[delta.index] = _Call()
            self.blocks.append(call)
        call.add(delta)

    def choice(self, index: int) -> Choice:
        """The choice so far; more may still be added."""
        last = self._open()
        blocks = [block.block() if isinstance(block, _Call) else block for block in self.blocks]
        return Choice(
            index=index,
            blocks=tuple(blocks) if last is None else (*blocks, last),
            finish_reason=self.finish,
            raw_finish=self.raw_finish,
            logprobs=dict(self.logprobs) or None,
            extra=dict(self.extra) or None,
        )


class Collector:
    """Takes chunks, gives the `ChatResponse` they add up to: however an answer was cut into chunks, it is the same.

    Neighbouring texts, and neighbouring thoughts without a signature between them, are one block.
    """

    def __init__(self) -> None:
        self._choices: dict[int, _Pieces] = {}
        self._id = ""
        self._model = ""
        self._created_s = 0
        self._usage: Usage = UNKNOWN_USAGE
        self._extra: dict[str, Any] = {}

    def add(self, chunk: Chunk) -> None:
        """Take one chunk."""
        self._id = chunk.id or self._id
        self._model = chunk.model or self._model
        self._created_s = chunk.created_s or self._created_s
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.extra:
            self._add_extra(chunk.choice, chunk.extra)
        if not (chunk.has_token or chunk.finish_reason or chunk.signature or chunk.role or chunk.logprobs):
            return
        pieces = self._pieces(chunk.choice)
        _add_tokens(pieces, chunk)
        if chunk.finish_reason is not None:
            pieces.finish, pieces.raw_finish = chunk.finish_reason, chunk.raw_finish
        if chunk.logprobs:
            _merge(pieces.logprobs, chunk.logprobs)

    def _pieces(self, index: int) -> _Pieces:
        return self._choices.setdefault(index, _Pieces())

    def _add_extra(self, index: int, extra: dict[str, Any]) -> None:
        """Keep unknown fields where a whole answer has them; events of a dialect that have no such place are left out."""
        for key, value in extra.items():
            if key == "choice":
                _merge(self._pieces(index).extra, value)
            elif key == "delta":
                _merge(self._pieces(index).extra.setdefault("message", {}), value)
            elif key == "usage" or not isinstance(value, dict | list):
                self._extra[key] = value

    def response(self) -> ChatResponse:
        """Return the answer so far; more chunks may follow."""
        return ChatResponse(
            id=self._id,
            model=self._model,
            created_s=self._created_s,
            choices=tuple([self._choices[index].choice(index) for index in sorted(self._choices)]),
            usage=self._usage,
            extra=dict(self._extra) or None,
        )


def _add_tokens(pieces: _Pieces, chunk: Chunk) -> None:
    if chunk.reasoning:
        pieces.add("reasoning", chunk.reasoning)
    if chunk.signature:
        if pieces.kind != "reasoning":
            pieces.close()
            pieces.kind = "reasoning"
        pieces.close(chunk.signature, chunk.provider)
    if chunk.redacted:
        pieces.close()
        pieces.blocks.append(Reasoning(redacted=True, data=chunk.redacted, provider=chunk.provider))
    if chunk.text:
        pieces.add("text", chunk.text)
    if chunk.refusal:
        pieces.add("refusal", chunk.refusal)
    for delta in chunk.tool_calls:
        pieces.call(delta)


def _merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    """Take more fields: lists grow, anything else is replaced."""
    for key, value in more.items():
        old = into.get(key)
        into[key] = [*old, *value] if isinstance(old, list) and isinstance(value, list) else value
