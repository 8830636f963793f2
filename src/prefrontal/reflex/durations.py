"""Lengths of time ("2h 45m + 1h 30m", "200 minutes in hours and minutes") and times of day ("from 9:15 am to 5 pm")."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from prefrontal.reflex.numerals import NUMBER, decimal, parse_number
from prefrontal.reflex.phrasing import Grammar

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = rf"(?:{NUMBER}) ?(?:days?|d|hours?|hrs?|h|minutes?|mins?|min|m|seconds?|secs?|s)"
_LENGTH = rf"(?:{_PART}(?:(?:,? and |, | )?{_PART}){{0,3}})"
CLOCK = r"(?:(?:1[0-2]|0?[1-9])(?::[0-5]\d)? ?[ap]\.?m\.?|(?:[01]?\d|2[0-3]):[0-5]\d|noon|midday|midnight)"
_ASK = r"(?:(?:calculate|compute|what(?:'s|s| is| do you get if you)?|how (?:long|much) is) )?(?:the )?(?:sum of )?"

_GRAMMAR = Grammar(
    {
        "length_sum": (
            rf"{_ASK}{{a:length}} ?(?:\+|plus|and) ?{{b:length}}(?: ?=)?",
            r"add {a:length} (?:and|to|plus) {b:length}",
        ),
        "length_difference": (rf"{_ASK}{{a:length}} ?(?:-|minus) ?{{b:length}}(?: ?=)?", r"subtract {b:length} from {a:length}"),
        "length_mixed": (
            (
                r"(?:convert |change |turn |express |how (?:long|much) is |what(?:'s|s| is) )?{a:length} (?:in|to|into|as)"
                r" {to:mixed}"
            ),
            r"how many {to:mixed} (?:is|are in|are|in) {a:length}",
        ),
        "clock_span": (
            (
                r"how (?:long|much time|many {unit:unit}) (?:is it |is there |is |are there |are |passes )?(?:from|between)"
                r" {a:clock} (?:to|and|until|till) {b:clock}"
            ),
            (
                r"(?:what(?:'s|s| is) )?(?:the )?(?:number of )?(?:time|hours|duration|time difference) (?:from|between)"
                r" {a:clock} (?:to|and|until|till) {b:clock}"
            ),
        ),
        "clock_shift": (
            r"what(?:'s| is)?(?: the)? time (?:is|is it|will it be)? ?{k:length} (?:after|from|past) {a:clock}",
            r"(?:what(?:'s| is) )?{k:length} (?:after|from|past) {a:clock}",
            r"what(?:'s| is)?(?: the)? time (?:is|is it|was it)? ?{k:length} (?P<back>before) {a:clock}",
            r"(?:what(?:'s| is) )?{k:length} (?P<back>before) {a:clock}",
            r"(?:what(?:'s| is) )?{a:clock} (?:\+|plus|(?P<back>-|minus)) {k:length}",
        ),
    },
    {
        "length": _LENGTH,
        "mixed": r"(?:days(?:,|,? and) hours(?:,? and minutes)?"
        r"|hours(?:,|,? and) (?:minutes|mins)(?:,? and seconds)?|minutes and seconds)",
        "clock": CLOCK,
        "unit": "(?:hours|minutes)",
    },
)
_PARTS = re.compile(rf"({NUMBER}) ?([dhms])", re.IGNORECASE)
_CLOCK = re.compile(r"(\d{1,2})(?::(\d\d))? ?([ap])?", re.IGNORECASE)
_TWELVE_HOURS_S = 43200


def recognise(text: str) -> dict[str, Any] | None:
    """Return the arguments of a question about lengths of time, or None."""
    found = _GRAMMAR.match(text)
    if found is None:
        return None
    form, parts = found
    if form == "length_sum" and not _plain_sum(text, parts):
        return None
    return {"form": form, **parts}


def _plain_sum(text: str, parts: dict[str, str]) -> bool:
    """Refuse "2 hours and 30 minutes": that is one length and no question."""
    return bool(re.search(r"\+| plus |^add |sum of", text, re.IGNORECASE)) and bool(parts)


def solve(arguments: dict[str, Any]) -> tuple[str, str] | None:
    """Return (sentence, value), the value being ISO 8601 for lengths, hours or minutes as asked, "HH:MM" for times of day."""
    form = arguments["form"]
    if form in ("length_sum", "length_difference"):
        first, second = seconds_of(arguments["a"]), seconds_of(arguments["b"])
        if first is None or second is None or (form == "length_difference" and second > first):
            return None
        total = first + second if form == "length_sum" else first - second
        sign = "+" if form == "length_sum" else "-"
        return f"{_spoken(first)} {sign} {_spoken(second)} = {_spoken(total)}", _iso(total)
    if form == "length_mixed":
        total_s = seconds_of(arguments["a"])
        if total_s is None:
            return None
        units = arguments["to"].lower()
        shown = _spoken(total_s, [unit for unit in "dhms" if {"d": "day", "h": "hour", "m": "min", "s": "sec"}[unit] in units])
        return (f"{arguments['a']} = {shown}", _iso(total_s)) if shown else None
    return _clock_span(arguments) if form == "clock_span" else _clock_shift(arguments)


def _clock_span(arguments: dict[str, Any]) -> tuple[str, str] | None:
    start, end = time_of_day(arguments["a"]), time_of_day(arguments["b"])
    if start is None or end is None or start == end:
        return None
    span = Fraction((end - start) % 86400)
    if end < start and not _has_half(arguments["a"], arguments["b"]):
        return None  # "from 10:00 to 2:00": over midnight or in the afternoon?
    over = " the next day" if end < start else ""
    per = 60 if arguments.get("unit", "").lower() == "minutes" else 3600
    return f"From {arguments['a']} to {arguments['b']}{over}: {_spoken(span)}", decimal(span / per, 4)


def _has_half(*clocks: str) -> bool:
    return all(re.search(r"[ap]\.?m|noon|midday|midnight", clock, re.IGNORECASE) for clock in clocks)


def _clock_shift(arguments: dict[str, Any]) -> tuple[str, str] | None:
    start, step = time_of_day(arguments["a"]), seconds_of(arguments["k"])
    if start is None or step is None or step.denominator != 1 or step > 86400:
        return None
    back = "back" in arguments
    moved = start - int(step) if back else start + int(step)
    shown = clock_text(moved % 86400)
    day = " the next day" if moved >= 86400 else " the day before" if moved < 0 else ""
    return (
        f"{_spoken(step)} {'before' if back else 'after'} {arguments['a']} is {shown}{day}",
        f"{moved % 86400 // 3600:02d}:{moved % 3600 // 60:02d}",
    )


def seconds_of(text: str) -> Fraction | None:
    """Return a length in seconds; None when its units do not fall from large to small ("30m 2h")."""
    total, last = Fraction(0), 10**9
    for number, unit in _PARTS.findall(text):
        size = _SECONDS[unit.lower()]
        if size >= last:
            return None
        total, last = total + parse_number(number) * size, size
    return total


def time_of_day(text: str) -> int | None:
    """Return seconds since midnight of a CLOCK; None when it cannot be said ("12:30" alone is read on the 24-hour clock)."""
    words = {"noon": _TWELVE_HOURS_S, "midday": _TWELVE_HOURS_S, "midnight": 0}
    if text.lower() in words:
        return words[text.lower()]
    found = _CLOCK.match(text)
    if found is None:
        return None
    hour, minute = int(found[1]), int(found[2] or 0)
    if found[3]:
        hour = hour % 12 + (12 if found[3].lower() == "p" else 0)
    return hour * 3600 + minute * 60


def clock_text(seconds: int) -> str:
    """Return "3:05 PM"."""
    hour, minute = seconds // 3600, seconds % 3600 // 60
    return f"{hour % 12 or 12}:{minute:02d} {'AM' if hour < 12 else 'PM'}"


def _spoken(seconds: Fraction, units: list[str] | None = None) -> str:
    names = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
    units = units or ["h", "m", "s"]
    parts, rest = [], seconds
    for unit in units:
        last = unit == units[-1]
        count = rest / _SECONDS[unit] if last else Fraction(rest // _SECONDS[unit])
        rest -= count * _SECONDS[unit]
        if count:
            shown = decimal(count, 6)
            parts.append(f"{shown} {names[unit]}{'' if shown == '1' else 's'}")
    return " ".join(parts) or f"0 {names[units[-1]]}s"


def _iso(seconds: Fraction) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = "".join([f"{hours}H" if hours else "", f"{minutes}M" if minutes else "", f"{decimal(rest, 6)}S" if rest else ""])
    return f"PT{text or '0S'}"
