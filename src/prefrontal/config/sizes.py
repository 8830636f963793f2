"""Memory sizes and times of day as people write them."""

from __future__ import annotations

import re

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*$", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: int | str) -> int:
    """Return bytes for ``6GiB`` (binary), ``6 GB`` or ``6G`` (decimal), or a plain number.

    Raises:
        ValueError: it is not a size.
    """
    if isinstance(text, int):
        if text < 0:
            raise ValueError("a size cannot be negative")
        return text
    match = _SIZE.match(text)
    if match is None or (match[3] and not match[2]):
        raise ValueError("not a size")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** _POWERS[match[2].lower()])


def parse_minute(text: str) -> int:
    """Return the minute of the day, 0 to 1440, for ``HH:MM``; ``24:00`` is the end of the day.

    Raises:
        ValueError: it is not a time of day.
    """
    hour, _, minute = text.partition(":")
    if not (hour.isdigit() and minute.isdigit() and len(minute) == 2):
        raise ValueError("not a time")
    total = int(hour) * 60 + int(minute)
    if int(minute) > 59 or total > 1440:
        raise ValueError("not a time of day")
    return total
