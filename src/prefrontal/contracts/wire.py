"""Bytes on their way to and from an upstream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from prefrontal.contracts.reach import Reach

Method = Literal["GET", "POST", "DELETE"]


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A field that was not sent as given. `action` says what happened: dropped, translated or clamped."""

    field: str
    reason: str
    action: Literal["dropped", "translated", "clamped"] = "dropped"


class WireRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request ready to send. Header names are lower case. `dropped` lists what the translation left out.

    reach: where it may go, beside what holds for everything; None: nothing more.
    """

    method: Method = "POST"
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    dropped: tuple[Dropped, ...] = ()
    reach: Reach | None = None


class WireResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A whole HTTP response. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
