"""Where the bars of a request's timeline lie. Pure."""

from __future__ import annotations

import msgspec

from prefrontal.contracts.record import Attempt, RequestRecord

WIDTH = 1000
"""Units across a bar's picture, which stretches to the width there is."""
THINNEST = 4.0
"""A part that took any time at all stays visible (assumed)."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One coloured stretch: queue, wait (until the first token) or answer. Units of `WIDTH`."""

    kind: str
    x: float
    width: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line: the request or an attempt. `spoken` says in words what the bar shows."""

    label: str
    spoken: str
    outcome: str
    parts: tuple[Part, ...]
    mark: float | None = None


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """All rows over the same stretch of time, and what is written below them."""

    rows: tuple[Row, ...]
    ticks: tuple[str, ...]


def timeline_of(record: RequestRecord) -> Timeline:
    """Return the timeline: the whole request first, then each attempt."""
    longest = max([record.duration_ms, *[attempt.ended_ms for attempt in record.attempts]])
    scale = WIDTH / longest if longest > 0 else 0.0
    first = record.first_token_ms
    words = f"the request took {duration(record.duration_ms)}"
    own = Row(
        label="request",
        spoken=words if first is None else f"{words}, the first token came after {duration(first)}",
        outcome=record.status,
        parts=_parts([("ours", 0.0, record.duration_ms)], scale),
        mark=None if first is None else round(first * scale, 1),
    )
    rows = [_row(number, attempt, scale) for number, attempt in enumerate(record.attempts, 1)]
    return Timeline(rows=(own, *rows), ticks=tuple([duration(longest * share / 4) for share in range(5)]))


def duration(milliseconds: float | None) -> str:
    """Return a time as people read it: 0.4 ms, 35 ms, 1.24 s, 3 min 20 s."""
    if milliseconds is None:
        return "–"
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms" if milliseconds else "0 ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000.0
    if seconds < 120:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {seconds % 60:.0f} s"


def _row(number: int, attempt: Attempt, scale: float) -> Row:
    began = attempt.started_ms + attempt.queued_ms
    ended = max(began, attempt.ended_ms)
    first = attempt.first_token_ms
    stretches = [("queue", attempt.started_ms, began)]
    stretches += [("wait", began, ended)] if first is None else [("wait", began, first), ("answer", first, ended)]
    said = [f"attempt {number} at {attempt.place} began after {duration(attempt.started_ms)}"]
    if attempt.queued_ms:
        said.append(f"waited {duration(attempt.queued_ms)} in the queue")
    if first is not None:
        said.append(f"gave its first token after {duration(first)}")
    said.append(f"ended after {duration(attempt.ended_ms)}: {attempt.error_code or attempt.outcome}")
    return Row(
        label=f"{number}. {attempt.place}", spoken=", ".join(said), outcome=attempt.outcome, parts=_parts(stretches, scale)
    )


def _parts(stretches: list[tuple[str, float, float]], scale: float) -> tuple[Part, ...]:
    found = []
    for kind, start, end in stretches:
        if end <= start and kind not in ("wait", "ours"):
            continue
        width = max(THINNEST, (end - start) * scale)
        found.append(Part(kind=kind, x=round(min(start * scale, WIDTH - width), 1), width=round(width, 1)))
    return tuple(found)
