"""Numbers as people read them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def money(usd: float | None) -> str:
    """Return an amount with as many digits as it needs; `unknown cost` when nobody knows."""
    if usd is None:
        return "unknown cost"
    if usd == 0:
        return "$0"
    return f"${usd:.2f}" if usd >= 1 else f"${float(f'{usd:.3g}'):.10f}".rstrip("0")


def price(usd: float | None) -> str:
    """Return a price per million tokens."""
    return "?" if usd is None else f"{usd:g}"


def duration(milliseconds: float) -> str:
    """Return a time in the unit that suits it."""
    if milliseconds < 1000:
        return f"{milliseconds:.3g} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def size(count: float | None) -> str:
    """Return a number of bytes in binary units."""
    if count is None:
        return "?"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def tokens(count: int | None) -> str:
    """Return a context window: 131,072 is `128k`."""
    if count is None:
        return "?"
    if count >= 1024 and count % 1024 == 0:
        return f"{count // 1024}k"
    return f"{count // 1000}k" if count >= 1000 and count % 1000 == 0 else f"{count:,}"


def moment(unix_s: float) -> str:
    """Return a moment in the time zone of this machine."""
    return datetime.fromtimestamp(unix_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
