"""Thinking of other providers in the Messages wire, whose thinking blocks must have a signature.

A client returns a signature as it got it. So the one we give to another provider's thinking says whose it is and holds that
provider's own signature, if it made one: ``prefrontal:PROVIDER:SIGNATURE``, both of which may be empty.
"""

from __future__ import annotations

PREFIX = "prefrontal:"


def seal(provider: str | None, signature: str | None) -> str:
    """Return the signature under which another provider's thinking (or redacted data) goes to a client."""
    return f"{PREFIX}{provider or ''}:{signature or ''}"


def unseal(signature: str) -> tuple[str | None, str | None] | None:
    """Return (provider, signature) of one that `seal` made, with None for what is empty; None for any other."""
    if not signature.startswith(PREFIX):
        return None
    provider, mark, own = signature[len(PREFIX) :].partition(":")
    return (provider or None, own or None) if mark else None
