"""Which images and files of a request are named by URL, and how fetched bytes take the place of the URLs. Pure.

Hosted vendors fetch for themselves, from their own networks. An engine of one's own would fetch from inside the operator's:
whoever may ask it a question could make it call any address there. So such engines get bytes that were fetched under guard, or
nothing but an error.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec

from prefrontal.chat.blocks import Audio, Block, File, Image, Opaque, Text, ToolResult
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import Reach, host_of
from prefrontal.errors import CapabilityMissing
from prefrontal.execute.addresses import is_public
from prefrontal.providers.profile import Profile

BYTES_ONLY = frozenset({"ollama"})
"""Wires that carry images as bytes and have no field for a URL, whoever runs the engine."""

MAX_DEPTH = 20
"""How deep parts of unknown kinds are looked into (assumed: real ones are three deep)."""

_ADDRESS = re.compile(r"\s*(?:[a-z][a-z0-9+.\-]*:)?//|\s*(?:file|ftp|gopher|dict|jar|netdoc):", re.IGNORECASE)
_SCHEME = re.compile(r"\s*(?:https?|ftps?|file|gopher|dict|jar|netdoc|s3|gs):", re.IGNORECASE)
"""What no base64 and hardly a word begins with: an address in a field that is called something else."""

WORDS = frozenset({"type", "text", "content", "title", "context"})
"""Fields of parts that hold words, which may begin with an address."""


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes behind a URL and what they are."""

    data: bytes
    media_type: str


class MediaFetcher(Protocol):
    """Fetches what requests name by URL, for engines that must not: see `prefrontal.execute.fetch.Fetcher`."""

    async def inlined(
        self, request: ChatRequest, card: ModelCard, profile: Profile, reach: Reach | None, kept: dict[str, Fetched]
    ) -> ChatRequest:
        """Return the request as the model's engine may have it. Raises PrefrontalError."""
        ...


def fetches_itself(card: ModelCard, profile: Profile) -> bool:
    """Return whether the model's engine must not be handed a URL: it stands in the operator's network, or takes bytes only.

    An engine of an unknown kind counts as the operator's when its address is private or its name has no dot.
    """
    if card.self_hosted or card.base_url is None or profile.wire in BYTES_ONLY:
        return True
    host = host_of(card.base_url)
    return "." not in host or not is_public(host, unless_name=True)


def texts_only(request: ChatRequest) -> bool:
    """Return whether nothing of the request could have an address: most requests, told apart from the others at little cost."""
    return all(len(message.blocks) == 1 and type(message.blocks[0]) is Text for message in request.messages)


def named_by_url(request: ChatRequest) -> tuple[Image | File, ...]:
    """Return the images and files that the request names by URL instead of carrying them."""
    found: list[Image | File] = []
    for message in request.messages:
        blocks = message.blocks
        if len(blocks) == 1 and type(blocks[0]) is Text:
            continue
        for block in blocks:
            inner = block.blocks if type(block) is ToolResult else (block,)
            found += [one for one in inner if isinstance(one, Image | File) and one.url is not None and one.data is None]
    return tuple(found)


def check_opaque(request: ChatRequest, model: str) -> None:
    """Return when no part holds an address where none is known to be, which an engine might fetch. Raises CapabilityMissing."""
    for message in request.messages:
        for block in message.blocks:
            kind = _leading_out(block)
            if kind is not None:
                raise CapabilityMissing(
                    f"'{model}' is an engine of your own, and a '{kind}' by URL would make it fetch from inside your network.",
                    param="messages",
                    hint="Send the bytes as a data URL.",
                )


def with_bytes(request: ChatRequest, fetched: Mapping[str, Fetched]) -> ChatRequest:
    """Return the request with the fetched bytes in the place of their URLs."""
    messages = tuple([_message(message, fetched) for message in request.messages])
    return msgspec.structs.replace(request, messages=messages)


def _message(message: Message, fetched: Mapping[str, Fetched]) -> Message:
    return msgspec.structs.replace(message, blocks=tuple([_block(block, fetched) for block in message.blocks]))


def _block(block: Block, fetched: Mapping[str, Fetched]) -> Block:
    if isinstance(block, ToolResult):
        inner = tuple([_block(one, fetched) for one in block.blocks])
        return msgspec.structs.replace(block, blocks=inner)
    if isinstance(block, Image | File) and block.data is None and (found := fetched.get(block.url or "")) is not None:
        data = base64.b64encode(found.data).decode()
        return msgspec.structs.replace(block, url=None, data=data, media_type=found.media_type)
    return block


def _leading_out(block: Block) -> str | None:
    """Return the kind of a part that holds an address where bytes belong, or in a field nobody here knows; None: it does not."""
    unknown = block.value if type(block) is Opaque else block.extra if type(block) is ToolResult else None
    if unknown is not None and any(_ADDRESS.match(text) for text in _addresses(unknown, MAX_DEPTH)):
        return str(unknown.get("type", "part"))
    for one in block.blocks if type(block) is ToolResult else (block,):
        if isinstance(one, Audio | File | Image) and one.data is not None and _SCHEME.match(one.data):
            return type(one).__name__.lower()
    return None


def _addresses(value: Any, depth: int) -> Iterator[str]:
    """Yield the texts below keys that name addresses, and addresses below others but words; too deep a value counts as one."""
    if depth == 0:
        yield "//too-deep"
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str):
                if "url" in str(name).lower() or "uri" in str(name).lower() or (name not in WORDS and _SCHEME.match(item)):
                    yield item
            else:
                yield from _addresses(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, str):
                yield item
            else:
                yield from _addresses(item, depth - 1)
