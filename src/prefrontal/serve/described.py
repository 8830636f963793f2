"""What a handler reads and answers, said beside it in the types it decodes, so that the description of the API cannot differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec

H = TypeVar("H")
ATTRIBUTE = "__described__"
JSON = "application/json"


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """One operation but for its path.

    body, query: the types that are decoded. answer: the type of what a success carries (None: an object); many: such answers in
    a list object's `data`. status, also: of successes. fails: statuses of refusals beside those of the gate, which every route
    has. tag: the heading it stands under. like: what reads the body where no type of ours does.
    """

    tag: str
    body: Any = None
    query: Any = None
    answer: Any = None
    many: bool = False
    status: int = 200
    also: tuple[int, ...] = ()
    media: str = JSON
    fails: tuple[int, ...] = ()
    like: str | None = None


def described(tag: str, **fields: Any) -> Callable[[H], H]:
    """Say what a handler reads and answers; the fields are those of `Described`."""
    found = Described(tag=tag, **fields)

    def mark(handler: H) -> H:
        setattr(handler, ATTRIBUTE, found)
        return handler

    return mark


def description_of(handler: object) -> Described | None:
    """Return what was said of a handler."""
    return cast("Described | None", getattr(handler, ATTRIBUTE, None))
