"""Headers that tell callers how much of their rate limits is left, so that they can slow down before they are refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from prefrontal.ledger.standing import Dimension, RateStanding
from prefrontal.serve.types import Headers
from prefrontal.serve.wording import ANTHROPIC_ROUTES

WHAT = ("limit", "remaining", "reset")
Names = tuple[bytes, bytes, bytes]


def _names(form: str, dimension: str) -> Names:
    limit, remaining, reset = [form.format(what=what, dimension=dimension).encode() for what in WHAT]
    return limit, remaining, reset


DIMENSIONS: tuple[Dimension, ...] = ("requests", "tokens")
NAMES: dict[str, Names] = {one: _names("x-ratelimit-{what}-{dimension}", one) for one in DIMENSIONS}
ANTHROPIC_NAMES: dict[str, Names] = {one: _names("anthropic-ratelimit-{dimension}-{what}", one) for one in DIMENSIONS}


def rate_headers(standing: Sequence[RateStanding], path: str, now_s: float) -> Headers:
    """Return the headers, in the names of the route's dialect; none without a limit. now_s: Unix time."""
    headers: Headers = []
    messages = path.startswith(ANTHROPIC_ROUTES)
    names = ANTHROPIC_NAMES if messages else NAMES
    for one in standing:
        limit, remaining, reset = names[one.dimension]
        headers.append((limit, b"%d" % one.limit))
        if one.remaining is not None and one.reset_s is not None:
            back = _moment(now_s + one.reset_s) if messages else _duration(one.reset_s)
            headers += ((remaining, b"%d" % one.remaining), (reset, back))
    return headers


def _duration(seconds: float) -> bytes:
    """Return a duration as OpenAI writes it: ``120ms``, ``1s``, ``6m0s``."""
    if seconds < 1:
        return b"%dms" % round(seconds * 1000)
    whole = round(seconds)
    if whole < 60:
        return b"%ds" % whole
    if whole < 3600:
        return b"%dm%ds" % (whole // 60, whole % 60)
    return b"%dh%dm%ds" % (whole // 3600, whole % 3600 // 60, whole % 60)


def _moment(unix_s: float) -> bytes:
    """Return a moment as Anthropic writes it: RFC 3339, UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
