"""Puts the pieces of a stream together again."""

from __future__ import annotations

from prefrontal.chat.blocks import Block, Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.response import ChatResponse, Choice, Chunk, FinishReason
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage


class _Pieces:
    """One choice being put together; blocks close when another kind of piece follows."""

    def __init__(self) -> None:
        self.blocks: list[Block | int] = []  # a number stands for the call of that index, at the place it began
        self.kind = ""
        self.text: list[str] = []
        self.calls: dict[int, tuple[str, str, list[str], str | None]] = {}
        self.finish: FinishReason | None = None
        self.raw_finish: str | None = None
        self.logprobs: list[object] = []

    def add(self, kind: str, text: str) -> None:
        if kind != self.kind:
            self.close()
            self.kind = kind
        self.text.append(text)

    def close(self, signature: str | None = None, provider: str | None = None) -> None:
        text = "".join(self.text)
        if self.kind == "text" and text:
            self.blocks.append(Text(text=text))
        elif self.kind == "reasoning" and (text or signature):
            self.blocks.append(Reasoning(text=text, signature=signature, provider=provider))
        elif self.kind == "refusal" and text:
            self.blocks.append(Refusal(text=text))
        self.kind, self.text = "", []


class Collector:
    """Takes chunks, gives the `ChatResponse` they add up to."""

    def __init__(self) -> None:
        self._choices: dict[int, _Pieces] = {}
        self._id = ""
        self._model = ""
        self._created_s = 0
        self._usage: Usage = UNKNOWN_USAGE

    def add(self, chunk: Chunk) -> None:
        """Take one chunk."""
        self._id = chunk.id or self._id
        self._model = chunk.model or self._model
        self._created_s = chunk.created_s or self._created_s
        if chunk.usage is not None:
            self._usage = chunk.usage
        if not (chunk.has_token or chunk.finish_reason or chunk.signature or chunk.role or chunk.logprobs):
            return
        pieces = self._choices.setdefault(chunk.choice, _Pieces())
        self._add_tokens(pieces, chunk)
        if chunk.finish_reason is not None:
            pieces.finish, pieces.raw_finish = chunk.finish_reason, chunk.raw_finish
        if chunk.logprobs:
            pieces.logprobs.extend(chunk.logprobs.get("content") or ())

    @staticmethod
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
            if delta.index not in pieces.calls:
                pieces.close()
                pieces.blocks.append(delta.index)
            name, call_id, arguments, signature = pieces.calls.get(delta.index, ("", "", [], None))
            arguments.append(delta.arguments)
            pieces.calls[delta.index] = (delta.name or name, delta.id or call_id, arguments, delta.signature or signature)

    def response(self) -> ChatResponse:
        """Return the answer so far."""
        choices = []
        for index in sorted(self._choices):
            pieces = self._choices[index]
            pieces.close()
            calls = {
                number: ToolCall(id=call_id, name=name, arguments="".join(arguments), signature=signature)
                for number, (name, call_id, arguments, signature) in pieces.calls.items()
            }
            choices.append(
                Choice(
                    index=index,
                    blocks=tuple([calls[block] if isinstance(block, int) else block for block in pieces.blocks]),
                    finish_reason=pieces.finish,
                    raw_finish=pieces.raw_finish,
                    logprobs={"content": pieces.logprobs} if pieces.logprobs else None,
                )
            )
        return ChatResponse(id=self._id, model=self._model, created_s=self._created_s, choices=tuple(choices), usage=self._usage)
