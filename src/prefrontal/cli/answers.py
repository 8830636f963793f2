"""One way to ask, whether Prefrontal runs in this process or behind a URL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.cli.words import duration, money

if TYPE_CHECKING:
    from prefrontal.app.library import Prefrontal
    from prefrontal.contracts.record import RequestRecord


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer came about. `cost_usd` None: a price is unknown. `effort` in [0, 1]; None: the model's own default.

    effort_sent: False when the model was told nothing of the effort, because it has no way to be told.
    """

    model: str | None = None
    answered_by: str = "model"
    effort: float | None = None
    effort_sent: bool = True
    usage: Usage = UNKNOWN_USAGE
    cost_usd: float | None = None
    duration_ms: float = 0.0
    trace: str | None = None
    tool: str | None = None
    attempts: int = 0


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of an answer; the last one is ``end`` and carries the `ending`."""

    kind: Literal["thinking", "content", "tool", "end"]
    text: str = ""
    tool: dict[str, Any] | None = None
    ending: Ending | None = None


class Asker(Protocol):
    """Asks one Prefrontal."""

    def stream(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> AsyncIterator[Part]:
        """Yield the answer as it arrives, then its ending. Raises PrefrontalError."""
        ...

    async def whole(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> list[Part]:
        """Return the whole answer in the parts of a stream. Raises PrefrontalError."""
        ...

    async def explain(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
        """Return what would be done, without doing it. Raises PrefrontalError."""
        ...


class Local:
    """Asks a Prefrontal in this process."""

    def __init__(self, pf: Prefrontal) -> None:
        self._pf = pf

    async def stream(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> AsyncIterator[Part]:
        """See `Asker.stream`."""
        source = self._pf.stream(messages, **options)
        async for piece in source:
            if piece.record is not None:
                yield Part(kind="end", ending=ending_of(piece.record))
            else:
                yield Part(kind=piece.kind, text=piece.text, tool=piece.tool)

    async def whole(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> list[Part]:
        """See `Asker.whole`."""
        reply = await self._pf.chat(messages, **options)
        parts = [Part(kind="thinking", text=reply.thinking)] if reply.thinking else []
        refusal = reply.response.choices[0].refusal if reply.response.choices else None
        parts.append(Part(kind="content", text=reply.text or refusal or ""))
        for index, call in enumerate(reply.tool_calls):
            parts.append(Part(kind="tool", tool={"index": index, "id": call.id, "name": call.name, "arguments": call.arguments}))
        return [*parts, Part(kind="end", ending=ending_of(reply.record))]

    async def explain(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
        """See `Asker.explain`."""
        from prefrontal.app.explain import explanation

        return explanation(await self._pf.explain(messages, **options))


def ending_of(record: RequestRecord) -> Ending:
    """Return what people want to know of a record."""
    from prefrontal.machine.run import effort_unsent

    return Ending(
        model=record.model,
        answered_by=record.answered_by,
        effort=record.effort_score,
        effort_sent=not effort_unsent(record),
        usage=record.usage,
        cost_usd=record.cost_usd,
        duration_ms=record.duration_ms,
        trace=record.id,
        tool=record.tool,
        attempts=len(record.attempts),
    )


def summary(ending: Ending) -> str:
    """Return the one line under an answer: who answered, effort, tokens, cost, time."""
    shown = [ending.model or "?"]
    if ending.answered_by == "model":
        effort = "effort: model's default" if ending.effort is None else f"effort {ending.effort:.2f}"
        shown.append(effort if ending.effort_sent else f"{effort} (not sent)")
        usage = ending.usage
        about = "~" if usage.source == "estimated" else ""
        counts = f"{about}{usage.input_tokens} in + {about}{usage.output_tokens} out"
        if usage.reasoning_tokens:
            counts += f" ({usage.reasoning_tokens} thinking)"
        shown.append("tokens unknown" if usage.source == "unknown" else f"{counts} tokens")
        shown.append(money(ending.cost_usd))
    else:
        shown.append(f"no model needed (answered by: {ending.answered_by})")
    if ending.attempts > 1:
        shown.append(f"{ending.attempts} attempts")
    shown.append(duration(ending.duration_ms))
    return " · ".join(shown)


def document(parts: list[Part]) -> dict[str, Any]:
    """Return a whole answer as one object, for ``--json``."""
    ending = next((part.ending for part in parts if part.ending is not None), Ending())
    calls: dict[int, dict[str, Any]] = {}
    for part in parts:
        if part.tool is not None:
            call = calls.setdefault(part.tool["index"], {"id": None, "name": None, "arguments": ""})
            call["id"] = part.tool.get("id") or call["id"]
            call["name"] = part.tool.get("name") or call["name"]
            call["arguments"] += part.tool.get("arguments") or ""
    return {
        "text": "".join(part.text for part in parts if part.kind == "content"),
        "thinking": "".join(part.text for part in parts if part.kind == "thinking"),
        "tool_calls": [calls[index] for index in sorted(calls)],
        **msgspec.to_builtins(ending),
    }
