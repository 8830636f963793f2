"""Thinking as `encrypted_content`: whose it is and all its maker needs, for clients that keep the conversation themselves.

Nothing in it is secret: the client has seen the thinking, and signatures and redacted data are opaque to begin with. It is
sealed so that it comes back whole, also from a client that returns nothing else of the item.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from prefrontal.chat.blocks import Reasoning

PREFIX = "pf1."


def seal(block: Reasoning) -> str:
    """Return `block`, without its extras, as text."""
    bare = msgspec.structs.replace(block, extra=None)
    return PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(bare)).decode()


def unseal(text: str) -> Reasoning | None:
    """Return the block in a text that `seal` made; None for any other."""
    if not text.startswith(PREFIX):
        return None
    try:
        return _DECODER.decode(base64.urlsafe_b64decode(text[len(PREFIX) :]))
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return None


_DECODER = msgspec.json.Decoder(Reasoning)
