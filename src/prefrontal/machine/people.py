"""Whom a request is made for, as its client says: the `user` of one dialect, `safety_identifier`, `metadata.user_id`. Pure."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.request import ChatRequest

FIELDS = ("safety_identifier",)
"""Fields of OpenAI's dialects beside `user` that name a person."""

IN_METADATA = ("user_id", "user")
"""Where clients put a person into `metadata`."""


def people_of(request: ChatRequest) -> tuple[str, ...]:
    """Return everybody the request names, each once, as the client wrote them."""
    extra, metadata = request.extra, request.metadata
    if request.user is None and not extra and not metadata:
        return ()
    found = [request.user]
    found += [extra.get(name) for name in FIELDS] if extra else []
    found += [metadata.get(name) for name in IN_METADATA] if metadata else []
    return tuple(dict.fromkeys([name for name in found if isinstance(name, str) and name]))


def without_people(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return metadata for a record: who was named is kept under a pseudonym, and not in the clear beside it."""
    if not metadata or not any(name in metadata for name in IN_METADATA):
        return metadata
    return {name: value for name, value in metadata.items() if name not in IN_METADATA}
