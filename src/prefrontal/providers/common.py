"""What every wire needs: addresses, headers, JSON in and out, dotted fields, and the report of what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import Message
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.wire import Dropped, Method, WireRequest, WireResponse
from prefrontal.errors import ProviderError, ProviderMisbehaved
from prefrontal.providers.backoff import retry_after_s as asked_wait_s
from prefrontal.providers.backoff import should_retry
from prefrontal.providers.base import Target

MAX_MESSAGE_CHARS = 600
"""Assumed: an upstream's message longer than this is a page of HTML, not a sentence for a person."""

_DECODER = msgspec.json.Decoder()
_ENCODER = msgspec.json.Encoder()
_ErrorT = TypeVar("_ErrorT", bound=ProviderError)


class Report:
    """Collects what a translation left out or changed; each (field, action) once."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Dropped] = {}

    def drop(self, field: str, reason: str, action: Literal["dropped", "translated", "clamped"] = "dropped") -> None:
        """Note one field; the first reason given for it stays."""
        self._found.setdefault((field, action), Dropped(field=field, reason=reason, action=action))

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """Everything noted, in order."""
        return tuple(self._found.values())


def address(target: Target, path: str) -> str:
    """Return the URL of `path`. A path that begins with ``//`` starts at the host; ``{model}`` is the model's wire name."""
    path = path.replace("{model}", target.card.wire_name)
    if not path.startswith("//"):
        return target.base_url + path
    scheme, _, rest = target.base_url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}{path[1:]}"


def headers(target: Target, *, body: bool = True, defaults: Mapping[str, str] | None = None) -> tuple[tuple[str, str], ...]:
    """Return the request's headers, lower case: defaults, then the key, the profile's, and the card's own, later ones winning."""
    profile, card = target.profile, target.card
    out: dict[str, str] = {"content-type": "application/json"} if body else {}
    out.update(defaults or {})
    if card.key is not None:
        out[profile.auth.header.lower()] = profile.auth.prefix + card.key
    out.update({name.lower(): value for name, value in profile.headers.items()})
    out.update({name.lower(): value for name, value in card.headers})
    return tuple(out.items())


def wire_request(
    target: Target,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    method: Method = "POST",
    defaults: Mapping[str, str] | None = None,
    dropped: tuple[Dropped, ...] = (),
) -> WireRequest:
    """Return the HTTP request for `path` with `body` as JSON (none: no body)."""
    return WireRequest(
        method=method,
        url=address(target, path),
        headers=headers(target, body=body is not None, defaults=defaults),
        body=b"" if body is None else _ENCODER.encode(body),
        dropped=dropped,
    )


def encode(value: Any) -> bytes:
    """Return `value` as JSON."""
    return _ENCODER.encode(value)


def loads(data: bytes | str) -> Any:
    """Return the JSON value in `data`, or None when it is not JSON (``null`` is no answer of any wire either)."""
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def set_path(body: dict[str, Any], path: str, value: Any) -> None:
    """Set the dotted `path` in `body`, making objects on the way; those there are copied, as they may be the request's."""
    *parents, last = path.split(".")
    for name in parents:
        inner = body.get(name)
        body[name] = inner = dict(inner) if isinstance(inner, dict) else {}
        body = inner
    body[last] = value


def pop_path(body: dict[str, Any], path: str) -> bool:
    """Take the dotted `path` out of `body`; return whether it was there. Objects on the way are copied."""
    *parents, last = path.split(".")
    for name in parents:
        inner = body.get(name)
        if not isinstance(inner, dict):
            return False
        body[name] = inner = dict(inner)
        body = inner
    return body.pop(last, _ABSENT) is not _ABSENT


_ABSENT: Any = object()


def apply_effort(body: dict[str, Any], effort: EffortFields, names: Mapping[str, str]) -> None:
    """Write the effort's fields into `body` and take out those it removes.

    `names` maps our name of a field to its dotted path on this wire. Whoever renders the effort reports what it removes.
    """
    for gone in effort.remove:
        pop_path(body, names.get(gone.field, gone.field))
    for path, value in effort.fields.items():
        set_path(body, path, value)


def apply_profile(body: dict[str, Any], target: Target, report: Report) -> None:
    """Add the profile's static fields and the card's extra body, then rename and take out what the profile says."""
    for path, value in target.profile.static.items():
        set_path(body, path, value)
    body.update(target.card.extra_body or {})
    for field, theirs in target.profile.rename.items():
        if field in body:
            body[theirs] = body.pop(field)
            report.drop(field, f"Sent as {theirs}.", "translated")
    for field, reason in target.profile.drop.items():
        if pop_path(body, field):
            report.drop(field, reason)


def with_suffix(messages: tuple[Message, ...], suffix: str | None) -> tuple[Message, ...]:
    """Return the messages with `suffix` behind the last text of the last user turn."""
    if not suffix:
        return messages
    for i in range(len(messages) - 1, -1, -1):
        message = messages[i]
        if message.role != "user":
            continue
        for j in range(len(message.blocks) - 1, -1, -1):
            block = message.blocks[j]
            if isinstance(block, Text):
                longer = msgspec.structs.replace(block, text=f"{block.text} {suffix}")
                blocks = (*message.blocks[:j], longer, *message.blocks[j + 1 :])
                return (*messages[:i], msgspec.structs.replace(message, blocks=blocks), *messages[i + 1 :])
    return messages


def object_of(response: WireResponse, target: Target, what: str) -> dict[str, Any]:
    """Return the JSON object in a response. Raises ProviderMisbehaved when there is none; `what` says what was expected."""
    value = loads(response.body)
    if not isinstance(value, dict):
        raise misbehaved(target, f"{what} is not a JSON object", response)
    return value


def misbehaved(target: Target, what: str, response: WireResponse | None = None) -> ProviderMisbehaved:
    """Return the error for an answer that is not of this wire; `what` completes the sentence."""
    return upstream_error(ProviderMisbehaved, f"{target.profile.title}: {what}.", target, response)


def upstream_error(
    kind: type[_ErrorT],
    message: str,
    target: Target,
    response: WireResponse | None = None,
    *,
    code: str | None = None,
    retry_after_s: float | None = None,
    details: dict[str, Any] | None = None,
) -> _ErrorT:
    """Return an error of `kind` with everything the response's headers say about it."""
    found: Mapping[str, str] = response.headers if response is not None else {}
    return kind(
        shorten(without_key(message, target))
        or f"{target.profile.title} answered {response.status if response else 'with an error'}.",
        model=target.card.id,
        provider=target.profile.provider,
        upstream_status=response.status if response is not None else None,
        upstream_request_id=found.get("request-id") or found.get("x-request-id"),
        upstream_code=code,
        should_retry=should_retry(found),
        retry_after_s=retry_after_s if retry_after_s is not None else asked_wait_s(found),
        details=details,
    )


def without_key(text: str, target: Target) -> str:
    """Return `text` with the target's key blotted out: some upstreams repeat it when they refuse it."""
    key = target.card.key
    return text.replace(key, "***") if key else text


_IMAGE_HEADS = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}


def image_type(data: str, given: str | None) -> str:
    """Return an image's media type: the one given, else the one its first bytes (in base64) tell, else PNG."""
    if given is not None:
        return given
    return next((kind for head, kind in _IMAGE_HEADS.items() if data.startswith(head)), "image/png")


def shorten(text: str) -> str:
    """Return `text` on one line, cut to a length a person reads."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_MESSAGE_CHARS else line[: MAX_MESSAGE_CHARS - 1] + "…"


def count_of(value: Any) -> int:
    """Return a token count as an upstream gave it: never negative, 0 for anything that is not a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
