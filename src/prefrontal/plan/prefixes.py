"""The beginnings of a request, as providers cache them: tools and instructions, then turn by turn. Pure.

Two requests with the same beginning have the same digest for it, whatever follows. Thinking is left out: it comes and goes
between turns. Of images and files only the length and the ends count: a wrong guess costs a cold cache, not an answer.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from prefrontal.chat.blocks import Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest

MIN_CHARACTERS = 4000
"""Shorter beginnings are not cached by providers (specified: 1024 tokens with most; four characters each, assumed)."""

MAX_PREFIXES = 16
"""Latest turns whose beginnings are looked up (assumed: a step of a tool loop adds two or three)."""

ENDS = 256
"""Characters at each end of an image or file that count (assumed)."""


class Prefix(msgspec.Struct, frozen=True, kw_only=True):
    """One beginning: its digest, its length, and what share of the request's characters it is, 0 to 1."""

    digest: bytes
    characters: int
    share: float


def prefixes_of(request: ChatRequest, tenant: str) -> tuple[Prefix, ...]:
    """Return the beginnings that are worth caching, longest first: the latest turns, and the instructions.

    tenant: beginnings of two tenants are never the same.
    """
    hashed = blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=16)
    total = 0
    if request.tools:
        tools = _ENCODE(request.tools)
        hashed.update(tools)
        total = len(tools)
    found: list[tuple[bytes, int]] = []
    instructions: tuple[bytes, int] | None = None
    first_turn = next((n for n, one in enumerate(request.messages) if one.role not in ("system", "developer")), 0)
    latest = len(request.messages) - MAX_PREFIXES
    for number, message in enumerate(request.messages):
        if number == first_turn and total >= MIN_CHARACTERS:
            instructions = (hashed.copy().digest(), total)
        hashed.update(f"\0{message.role}\0".encode())
        for block in message.blocks:
            total += _add(hashed, block)
        if number >= latest and total >= MIN_CHARACTERS:
            found.append((hashed.copy().digest(), total))
    found.reverse()
    if instructions is not None and instructions not in found:
        found.append(instructions)
    return tuple([Prefix(digest=digest, characters=length, share=length / total) for digest, length in found])


def _add(hashed: Any, block: Any) -> int:
    """Take a block into the digest; return how many characters it counts."""
    if isinstance(block, Text):
        data = block.text.encode("utf-8", "surrogatepass")
    elif isinstance(block, ToolCall):
        data = f"{block.id}\0{block.name}\0{block.arguments}".encode("utf-8", "surrogatepass")
    elif isinstance(block, ToolResult):
        hashed.update(b"\0" + block.call_id.encode("utf-8", "surrogatepass"))
        return sum([_add(hashed, part) for part in block.blocks])
    else:
        return _add_large(hashed, block)
    hashed.update(b"\0%d\0" % len(data))
    hashed.update(data)
    return len(data)


def _add_large(hashed: Any, block: Any) -> int:
    for name in ("data", "url", "file_id"):
        value = getattr(block, name, None)
        if isinstance(value, str) and type(block).__name__ != "Reasoning":
            hashed.update(f"\0{len(value)}\0{value[:ENDS]}{value[-ENDS:]}".encode("utf-8", "surrogatepass"))
    return 0


_ENCODE = msgspec.json.Encoder(enc_hook=str).encode
