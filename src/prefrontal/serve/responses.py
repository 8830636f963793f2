"""POST /v1/responses, and the responses that are kept because their clients asked for it."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from prefrontal.app.library import Prefrontal
from prefrontal.chat.blocks import Block, Opaque
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.chat.response import ChatResponse
from prefrontal.errors import InvalidRequest, InvariantBroken, NotFound, StoreError
from prefrontal.ledger.conversations import StoredResponse
from prefrontal.machine.context import CallContext
from prefrontal.machine.people import people_of
from prefrontal.machine.reach import classes_of
from prefrontal.providers.responses.items import join_turns, parse_items
from prefrontal.providers.responses.request import ResponsesRequest, chat_request, parse_responses_request
from prefrontal.providers.responses.response import lost_in_response, place_of, whole_response
from prefrontal.providers.responses.stream import ResponseStreamRenderer
from prefrontal.serve.chat import Dialect, serve_request
from prefrontal.serve.types import Headers, Send
from prefrontal.serve.watcher import Watcher

log = logging.getLogger(__name__)

MAX_REFERENCES = 1000
"""Items of earlier responses that a request may only name (assumed: a long conversation has hundreds): a few bytes each can stand
for much."""

GONE_HINT = "It was never stored ('store: false'), deleted, another key's, or older than records.responses_days."


async def serve_responses(
    pf: Prefrontal, body: bytes, context: CallContext, extra: Headers, watcher: Watcher, send: Send
) -> None:
    """Answer one request; like `serve_chat`. A request that may be stored is kept before its client has the whole answer."""
    request, chat, context = await read_request(pf, body, context)
    if context.grant is not None and not context.grant.store_content:
        request = msgspec.structs.replace(request, store=False)  # and the answer says so
    exchange = Exchange(pf, request, chat, context)
    dialect = Dialect(
        parse=_unused,
        render=exchange.render,
        stream=exchange.stream,
        prefix="resp_",
        lost=lost_in_response,
        settle=exchange.settle,
    )
    await serve_request(pf, dialect, chat, context, extra, watcher, send)


def _unused(_body: bytes) -> ChatRequest:
    raise InvariantBroken("A request of this dialect is parsed before it is served.")


async def read_request(
    pf: Prefrontal, body: bytes, context: CallContext
) -> tuple[ResponsesRequest, ChatRequest, CallContext]:
    """Return the request, and what a model is asked: the stored turns it goes on from and the items it refers to included.

    The classes of data of those turns hold for this one too; they are in the context that is returned.

    Raises:
        InvalidRequest. NotFound: what it refers to is not there (any more). StoreError.
    """
    request = parse_responses_request(body)
    owner = context.key_id or ""
    history: tuple[Message, ...] = ()
    if request.previous_id is not None:
        chain = await pf.conversations.chain(request.previous_id, owner)
        if not chain:
            raise NotFound(
                f"Previous response with id '{request.previous_id}' not found.", param="previous_response_id", hint=GONE_HINT
            )
        history = tuple([message for stored in chain for message in stored.messages])
        classes = [*context.data_classes, *[name for stored in chain for name in stored.data_classes]]
        if classes:
            context = msgspec.structs.replace(context, data_classes=tuple(dict.fromkeys(classes)))
    messages = await _with_items(pf, request.chat.messages, owner)
    if messages is not request.chat.messages:
        request = msgspec.structs.replace(request, chat=msgspec.structs.replace(request.chat, messages=messages))
    return request, chat_request(request, history), context


async def _with_items(pf: Prefrontal, messages: tuple[Message, ...], owner: str) -> tuple[Message, ...]:
    """Put the items of earlier responses where a request only names them."""
    found = list(messages)
    outputs: dict[str, list[Any]] = {}
    named_so_far = 0
    for i, message in enumerate(messages):
        named = _reference(message)
        if named is None:
            continue
        named_so_far += 1
        if named_so_far > MAX_REFERENCES:
            raise InvalidRequest(f"More than {MAX_REFERENCES} items are referred to.", param=f"input[{i}]")
        place = place_of(named)
        if place is not None and place[0] not in outputs:
            stored = await pf.conversations.get(place[0], owner)
            outputs[place[0]] = msgspec.json.decode(stored.response)["output"] if stored is not None else []
        output = outputs[place[0]] if place is not None else []
        if place is None or place[1] >= len(output):
            raise NotFound(f"Item with id '{named}' not found.", param=f"input[{i}].id", hint=GONE_HINT)
        (found[i],) = parse_items([output[place[1]]])
    return messages if all(new is old for new, old in zip(found, messages, strict=True)) else tuple(found)


def _reference(message: Message) -> str | None:
    """The id in an item that stands for another."""
    block = message.blocks[0] if message.blocks else None
    if not isinstance(block, Opaque) or block.value.get("type") not in (None, "item_reference"):
        return None
    named = block.value.get("id")
    return named if isinstance(named, str) else None


class Exchange:
    """One request and its answer: writes the answer, and keeps both when the client wants that."""

    def __init__(self, pf: Prefrontal, request: ResponsesRequest, chat: ChatRequest, context: CallContext) -> None:
        self._pf = pf
        self._request = request
        self._owner = context.key_id or ""
        self._data_classes = classes_of(chat, context, pf.config, "chat")
        self._people = people_of(chat)
        self._renderer: ResponseStreamRenderer | None = None
        self._shown: dict[str, Any] = {}
        self._blocks: tuple[Block, ...] = ()

    def render(self, response: ChatResponse, **head: Any) -> bytes:
        """Return the whole answer."""
        self._shown = whole_response(self._request, response, **head)
        self._blocks = response.choices[0].blocks if response.choices else ()
        return msgspec.json.encode(self._shown)

    def stream(self, **head: Any) -> ResponseStreamRenderer:
        """Return the renderer of a streamed answer."""
        self._renderer = ResponseStreamRenderer(self._request, **head)
        return self._renderer

    async def settle(self, data: bytes) -> bytes:
        """Keep the exchange if it is to be kept, and return `data`; if that fails, the answer says that it was not kept."""
        if self._renderer is not None:
            self._shown, self._blocks = self._renderer.last or {}, tuple(self._renderer.blocks)
        if not self._request.store:
            return data
        try:
            await self._pf.conversations.put(self._stored())
        except StoreError as error:
            log.warning("a response was not stored: %s", error)  # the answer is paid for, and its client must have it
            self._shown["store"] = False
            return msgspec.json.encode(self._shown) if self._renderer is None else self._renderer.again()
        return data

    def _stored(self) -> StoredResponse:
        request = self._request
        answer = Message(role="assistant", blocks=self._blocks)
        return StoredResponse(
            id=self._shown["id"],
            previous_id=request.previous_id,
            owner=self._owner,
            created_s=float(self._shown["created_at"]),
            messages=join_turns((*request.chat.messages, answer)),
            response=msgspec.Raw(msgspec.json.encode(self._shown)),
            users=self._pf.machine.parts.users(self._people),
            data_classes=self._data_classes,
        )


async def count_responses(pf: Prefrontal, body: bytes, context: CallContext) -> dict[str, Any]:
    """Return the input tokens of a request, stored turns included. Raises like `read_request`."""
    _, chat, context = await read_request(pf, body, context)
    found = await pf.count(chat, context)
    shown = {"model": found.model, "counted_by": found.source}
    return {"object": "response.input_tokens", "input_tokens": found.input_tokens, "x_prefrontal": shown}


async def get_response(pf: Prefrontal, response_id: str, context: CallContext, *, stream: bool) -> bytes:
    """Return a stored response as its client got it. Raises NotFound, InvalidRequest (only whole), StoreError."""
    if stream:
        raise InvalidRequest("A stored response is given whole.", param="stream")
    stored = await pf.conversations.get(response_id, context.key_id or "")
    if stored is None:
        raise _gone(response_id)
    return bytes(stored.response)


async def delete_response(pf: Prefrontal, response_id: str, context: CallContext) -> dict[str, Any]:
    """Delete a stored response; those that go on from it can then not be gone on from. Raises NotFound, StoreError."""
    if not await pf.conversations.delete(response_id, context.key_id or ""):
        raise _gone(response_id)
    return {"id": response_id, "object": "response.deleted", "deleted": True}


def _gone(response_id: str) -> NotFound:
    return NotFound(f"Response with id '{response_id}' not found.", param="response_id", hint=GONE_HINT)
