"""Dates as people write them. What can be read in two ways is not read at all."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prefrontal.reflex.proposal import ReflexContext

MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

MONTH = r"(?:" + "|".join(rf"{name[:3]}(?:{name[3:]})?\.?" for name in MONTHS) + r"|sept\.?)"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
YEAR = r"[1-9]\d{3}"
_WEEKDAY_PREFIX = rf"(?:(?:{'|'.join(WEEKDAYS)}),? )?"
# Months and days that everybody celebrates on the same date. Movable or national feasts are left to a model.
FEASTS = {
    "christmas": (12, 25), "xmas": (12, 25), "christmas day": (12, 25), "christmas eve": (12, 24),
    "new year": (1, 1), "new years": (1, 1), "new year's": (1, 1), "new year's day": (1, 1),
    "new years day": (1, 1), "the new year": (1, 1),
    "new year's eve": (12, 31), "new years eve": (12, 31), "halloween": (10, 31),
    "valentine's day": (2, 14), "valentines day": (2, 14),
    "st patrick's day": (3, 17), "st. patrick's day": (3, 17),
    "april fools' day": (4, 1), "april fools day": (4, 1), "bastille day": (7, 14),
}  # fmt: skip
FEAST = rf"(?:{'|'.join(sorted(map(re.escape, FEASTS), key=len, reverse=True))})"
DATE = (
    rf"(?:{_WEEKDAY_PREFIX}(?:the )?(?:{YEAR}-\d{{1,2}}-\d{{1,2}}|{YEAR}/\d{{1,2}}/\d{{1,2}}|\d{{1,2}}[/.-]\d{{1,2}}[/.-]{YEAR}"
    rf"|{MONTH} (?:the )?{_DAY}(?:,? (?:of |in )?{YEAR})?|{_DAY} (?:of )?{MONTH}(?:,? (?:of |in )?{YEAR})?))"
)
ANY_DAY = rf"(?:today|now|tomorrow|yesterday|{FEAST}(?:,? (?:in |of )?{YEAR})?|{DATE})"

_ISO = re.compile(rf"({YEAR})[-/](\d{{1,2}})[-/](\d{{1,2}})")
_NUMERIC = re.compile(rf"(\d{{1,2}})([/.-])(\d{{1,2}})\2({YEAR})")
_YEAR_BEHIND = re.compile(rf"(?<!\d)({YEAR})$")
_NAMED_MONTH = re.compile(rf"\b{MONTH}(?![a-z])", re.IGNORECASE)
_NAMED_DAY = re.compile(r"(?<!\d)(\d{1,2})(?!\d)")
_OFFSETS = {"today": 0, "now": 0, "tomorrow": 1, "yesterday": -1}
# Before this day the calendar in use differed from country to country, so weekdays and spans are not certain.
FIRST_CERTAIN = date(1583, 1, 1)


class Day(NamedTuple):
    """A day that may still lack its year."""

    year: int | None
    month: int
    day: int


def local_now(context: ReflexContext) -> datetime | None:
    """Return the caller's local time, or None when the zone is unknown."""
    try:
        zone = ZoneInfo(context.timezone) if context.timezone != "UTC" else UTC
        return datetime.fromtimestamp(context.now_s, zone)
    except (ZoneInfoNotFoundError, ValueError, OverflowError, OSError):
        return None


def read_day(text: str, context: ReflexContext) -> Day | None:
    """Return the day that `text` (an ANY_DAY) names; None when it does not exist or day and month may be swapped."""
    text = " ".join(text.lower().split())
    if text in _OFFSETS:
        now = local_now(context)
        shifted = now.date() + timedelta(days=_OFFSETS[text]) if now is not None else None
        return Day(shifted.year, shifted.month, shifted.day) if shifted is not None else None
    if iso := _ISO.search(text):
        return _valid(int(iso[1]), int(iso[2]), int(iso[3]))
    if numeric := _NUMERIC.search(text):
        return _numeric(int(numeric[1]), int(numeric[3]), int(numeric[4]), numeric[2], context.locale)
    year_text = _YEAR_BEHIND.search(text)
    year = int(year_text[1]) if year_text else None
    head = text[: year_text.start()].rstrip(" ,") if year_text else text
    feast = FEASTS.get(re.sub(r",? (?:in|of)$", "", head))
    if feast is not None:
        return Day(year, *feast)
    month, day = _NAMED_MONTH.search(head), _NAMED_DAY.search(head)
    if month is None or day is None:
        return None
    return _valid(year, [name[:3] for name in MONTHS].index(month[0][:3]) + 1, int(day[1]))


def _numeric(first: int, second: int, year: int, separator: str, locale: str) -> Day | None:
    if separator == "." or first > 12 or first == second:  # dotted dates are written day first wherever they are written
        return _valid(year, second, first)
    if second > 12:
        return _valid(year, first, second)
    region = locale.replace("_", "-").rpartition("-")[2].upper()
    if region == "US":
        return _valid(year, first, second)
    return _valid(year, second, first) if region in ("GB", "IE", "AU", "NZ", "IN") else None


def _valid(year: int | None, month: int, day: int) -> Day | None:
    try:
        date(year if year is not None else 2024, month, day)  # 2024: a leap year, so that February 29 may lack its year
    except ValueError:
        return None
    return Day(year, month, day)


def on(day: Day, year: int) -> date | None:
    """Return the date, with `year` where the day lacks its own; None when that year has no such day."""
    try:
        return date(day.year if day.year is not None else year, day.month, day.day)
    except ValueError:
        return None


def in_words(day: date) -> str:
    """Return "Monday, March 3, 2025"."""
    return f"{WEEKDAYS[day.weekday()]}, {MONTHS[day.month - 1].capitalize()} {day.day}, {day.year}"
