"""Whether a named model can take a request at all. Cheap, and only for what the request really carries."""

from __future__ import annotations

from prefrontal.chat.blocks import Audio, File, Image, Text, ToolResult
from prefrontal.chat.request import ChatRequest
from prefrontal.config.registry import Registry
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import CapabilityMissing, ContextTooLong
from prefrontal.execute.runtime import Runtime
from prefrontal.plan.musts import SPOKEN, chats
from prefrontal.plan.tokens import NEUTRAL, estimate_request

SURE = 1.25
"""An estimate refuses only when it is over the window by this factor; below that the engine, which counts, decides (assumed)."""

CHARACTERS_PER_TOKEN_AT_LEAST = 0.5
"""No tokenizer makes more than two tokens of one character of common text (assumed); shorter input is not even estimated."""


def carried(request: ChatRequest) -> set[str]:
    """Return the capabilities that the blocks and fields of a request call for."""
    found: set[str] = set()
    if request.tools and (request.tool_choice is None or request.tool_choice.mode != "none"):
        found.add("tools")
    if request.response_format is not None and request.response_format.kind == "json_schema":
        found.add("structured_output")
    for message in request.messages:
        for block in message.blocks:
            kind = type(block)
            if kind is Text:
                continue
            if kind is Image or (isinstance(block, ToolResult) and any(isinstance(b, Image) for b in block.blocks)):
                found.add("vision")
            elif kind is Audio:
                found.add("audio")
            elif kind is File:
                found.add("files")
    return found


def characters(request: ChatRequest) -> int:
    """Return the length of the request's text, in characters; images and files count nothing."""
    total = 0
    for message in request.messages:
        for block in message.blocks:
            if isinstance(block, Text):
                total += len(block.text)
            elif isinstance(block, ToolResult):
                total += sum(len(b.text) for b in block.blocks if isinstance(b, Text))
    return total


def check_named(request: ChatRequest, card: ModelCard, registry: Registry, runtime: Runtime) -> None:
    """Return when the model may take the request.

    Raises:
        CapabilityMissing: the model is known not to chat, read images, call tools, … ContextTooLong: it surely does not fit.
    """
    if not chats(card):
        raise CapabilityMissing(
            f"'{card.id}' makes embeddings and does not chat.", param="model", hint="POST /v1/embeddings takes it."
        )
    for name in carried(request):
        if card.can(name) is False:
            able = sorted(c.id for c in registry.cards.values() if c.can(name) and c.enabled)[:5]
            raise CapabilityMissing(
                f"'{card.id}' cannot take this request: {SPOKEN.get(name, name)}.",
                param=_CULPRIT.get(name, "messages"),
                hint=f"These can: {', '.join(able)}." if able else "No configured model can.",
                details={"capability": name, "models": able},
            )
    window = card.context_tokens
    if window is None or characters(request) < window * CHARACTERS_PER_TOKEN_AT_LEAST:
        return
    state = runtime.find(card.id)
    tokens = estimate_request(request, state.calibration if state is not None else NEUTRAL)
    if tokens > window * SURE:
        raise too_long(card.id, tokens, window, registry)


def too_long(model: str, tokens: int, window: int, registry: Registry) -> ContextTooLong:
    """Return the error that says which models could take the input."""
    able = sorted(
        (c.id for c in registry.cards.values() if c.enabled and (c.context_tokens or 0) > tokens),
        key=lambda name: registry.cards[name].context_tokens or 0,
    )[:5]
    return ContextTooLong(
        f"The input is about {tokens} tokens, and the window of '{model}' holds {window}.",
        param="messages",
        hint=f"These could take it: {', '.join(able)}." if able else "No configured model could take it.",
        details={"input_tokens": tokens, "models": able},
    )


_CULPRIT = {"tools": "tools", "structured_output": "response_format"}
