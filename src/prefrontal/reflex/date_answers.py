"""What each form of question about dates computes.

Each function takes the arguments, the caller's local time and the context, and returns (sentence, value), or None to abstain.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from prefrontal.reflex.days import FEASTS, FIRST_CERTAIN, MONTHS, WEEKDAYS, Day, in_words, on, read_day
from prefrontal.reflex.proposal import ReflexContext

Result = tuple[str, str] | None
Arguments = dict[str, Any]


def _today(_arguments: Arguments, now: datetime, _context: ReflexContext) -> Result:
    return f"Today is {in_words(now.date())} ({_zone(now)}).", now.date().isoformat()


def _zone(now: datetime) -> str:
    return str(now.tzinfo)


def _named_day(arguments: Arguments, now: datetime, context: ReflexContext) -> Result:
    word = arguments["a"].lower()
    found = read_day(word, context)
    day = on(found, now.year) if found is not None else None
    verb = "was" if word == "yesterday" else "is"
    return (f"{word.capitalize()} {verb} {in_words(day)} ({_zone(now)}).", day.isoformat()) if day is not None else None


def _year(_arguments: Arguments, now: datetime, _context: ReflexContext) -> Result:
    return f"It is {now.year}.", str(now.year)


def _month(_arguments: Arguments, now: datetime, _context: ReflexContext) -> Result:
    return f"It is {MONTHS[now.month - 1].capitalize()} {now.year}.", f"{now.year}-{now.month:02d}"


def _week(_arguments: Arguments, now: datetime, _context: ReflexContext) -> Result:
    year, week, _ = now.date().isocalendar()
    return f"It is ISO week {week} of {year}.", f"{year}-W{week:02d}"


def _pair(arguments: Arguments, now: datetime, context: ReflexContext) -> tuple[date, date] | None:
    """Return both days; a missing year is taken from the other day, or from today."""
    first, second = read_day(arguments["a"], context), read_day(arguments["b"], context)
    if first is None or second is None:
        return None
    year = next((day.year for day in (first, second) if day.year is not None), now.year)
    start, end = on(first, year), on(second, year)
    if start is None or end is None or min(start, end) < FIRST_CERTAIN:
        return None
    if start > end and (first.year is None or second.year is None):
        return None  # "from December 1 to March 1": which years?
    return start, end


def _between(arguments: Arguments, now: datetime, context: ReflexContext) -> Result:
    pair = _pair(arguments, now, context)
    if pair is None:
        return None
    start, end = min(pair), max(pair)
    counted = _counted(start, end, arguments.get("unit") or arguments.get("unit2"))
    return (f"From {in_words(start)} to {in_words(end)}: {counted[0]}.", counted[1]) if counted is not None else None


def _counted(start: date, end: date, unit: str | None) -> Result:
    """Return the span in words and as a number in `unit`: exact days, else whole units and the rest."""
    days = (end - start).days
    unit = (unit or "days").lower().removeprefix("calendar ")
    if unit in ("days", "sleeps"):
        return _plural(days, unit.removesuffix("s")), str(days)
    if unit == "weeks":
        weeks, rest = divmod(days, 7)
        exact = f"{days / 7:.4f}".rstrip("0").rstrip(".")
        return f"{_plural(weeks, 'week')}{' and ' + _plural(rest, 'day') if rest else ''} ({_plural(days, 'day')})", exact
    from dateutil.relativedelta import relativedelta

    span = relativedelta(end, start)
    months = span.years * 12 + span.months
    whole, singular = (span.years, "year") if unit == "years" else (months, "month")
    left = [_plural(span.months, "month")] if unit == "years" and span.months else []
    left += [_plural(span.days, "day")] if span.days else []
    return " and ".join([_plural(whole, singular), *left]), str(whole)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _until(arguments: Arguments, now: datetime, context: ReflexContext) -> Result:
    today, found = now.date(), read_day(arguments["a"], context)
    day = _next(found, today) if found is not None else None
    if day is None or day < today:
        return None
    counted = _counted(today, day, arguments.get("unit"))
    return (
        (f"{counted[0].capitalize()} from today ({today.isoformat()}) until {in_words(day)}.", counted[1])
        if counted is not None
        else None
    )


def _next(found: Day, today: date) -> date | None:
    """Return the first such day from today on (nine years reach over a century without a leap day)."""
    for year in range(today.year, today.year + 9):
        day = on(found, year)
        if day is not None and (found.year is not None or day >= today):
            return day
    return None


def _last(found: Day, today: date) -> date | None:
    for year in range(today.year, today.year - 9, -1):
        day = on(found, year)
        if day is not None and (found.year is not None or day <= today):
            return day
    return None


def _since(arguments: Arguments, now: datetime, context: ReflexContext) -> Result:
    today, found = now.date(), read_day(arguments["a"], context)
    day = _last(found, today) if found is not None else None
    if day is None or not FIRST_CERTAIN <= day <= today:
        return None
    counted = _counted(day, today, arguments.get("unit"))
    return (
        (f"{counted[0].capitalize()} from {in_words(day)} to today ({today.isoformat()}).", counted[1])
        if counted is not None
        else None
    )


def _shift(arguments: Arguments, now: datetime, context: ReflexContext) -> Result:
    found = read_day(arguments.get("a", "today"), context)
    start = on(found, now.year) if found is not None else None
    if start is None or start < FIRST_CERTAIN:
        return None
    count_text, _, unit = arguments["k"].lower().partition(" ")
    unit = unit.removesuffix("s") + "s"
    count = -int(count_text) if "back" in arguments else int(count_text)
    if unit in ("days", "weeks"):
        day = start + timedelta(**{unit: count})
    else:
        from dateutil.relativedelta import relativedelta

        day = start + (relativedelta(months=count) if unit == "months" else relativedelta(years=count))
    if day < FIRST_CERTAIN:
        return None
    way = "before" if count < 0 else "after"
    return f"{_plural(abs(count), unit.removesuffix('s'))} {way} {in_words(start)} is {in_words(day)}.", day.isoformat()


def _weekday(arguments: Arguments, now: datetime, context: ReflexContext) -> Result:
    feast = FEASTS.get(arguments["a"].lower())
    found = Day(int(arguments.get("y", now.year)), *feast) if feast is not None else read_day(arguments["a"], context)
    day = on(found, now.year) if found is not None else None
    if found is None or day is None or day < FIRST_CERTAIN or (found.year is None and day < now.date()):
        return None  # "what day is July 4th", asked in November: this year's or the next?
    verb = "was" if day < now.date() else "is"
    return f"{MONTHS[day.month - 1].capitalize()} {day.day}, {day.year} {verb} a {WEEKDAYS[day.weekday()]}.", WEEKDAYS[
        day.weekday()
    ]


def _leap(arguments: Arguments, now: datetime, _context: ReflexContext) -> Result:
    year = int(arguments.get("y", now.year))
    if year < FIRST_CERTAIN.year:
        return None
    leap = calendar.isleap(year)
    return f"{'Yes' if leap else 'No'}, {year} is {'' if leap else 'not '}a leap year.", "yes" if leap else "no"


def _leap_next(_arguments: Arguments, now: datetime, _context: ReflexContext) -> Result:
    year = next(year for year in range(now.year + 1, now.year + 10) if calendar.isleap(year))
    return f"The next leap year after {now.year} is {year}.", str(year)


def _year_left(_arguments: Arguments, now: datetime, _context: ReflexContext) -> Result:
    today = now.date()
    days = (date(today.year, 12, 31) - today).days
    return f"After today ({today.isoformat()}), {today.year} has {_plural(days, 'day')} left.", str(days)


def _years_between(arguments: Arguments, _now: datetime, _context: ReflexContext) -> Result:
    first, second = int(arguments["y"]), int(arguments["y2"])
    return f"From {first} to {second}: {_plural(abs(second - first), 'year')}.", str(abs(second - first))


def _age(arguments: Arguments, now: datetime, context: ReflexContext) -> Result:
    found = read_day(arguments["a"], context)
    if found is None or found.year is None:
        return None
    born, today = on(found, now.year), now.date()
    if born is None or not FIRST_CERTAIN <= born <= today:
        return None
    counted = _counted(born, today, arguments.get("unit") or arguments.get("unit2") or "years")
    return (
        (f"Born on {in_words(born)}: {counted[0]} old today ({today.isoformat()}).", counted[1]) if counted is not None else None
    )


def _month_length(arguments: Arguments, _now: datetime, _context: ReflexContext) -> Result:
    month = [name[:3] for name in MONTHS].index(arguments["m"].lower()[:3]) + 1
    name = MONTHS[month - 1].capitalize()
    if "y" not in arguments:
        days = calendar.monthrange(2023, month)[1]
        return f"{name} has {days} days{', 29 in a leap year' if month == 2 else ''}.", str(days)
    year = int(arguments["y"])
    days = calendar.monthrange(year, month)[1]
    return (f"{name} {year} has {days} days.", str(days)) if year >= FIRST_CERTAIN.year else None


def _year_length(arguments: Arguments, _now: datetime, _context: ReflexContext) -> Result:
    year = int(arguments["y"])
    days = 365 + calendar.isleap(year)
    return (f"{year} has {days} days.", str(days)) if year >= FIRST_CERTAIN.year else None


def _easter(arguments: Arguments, _now: datetime, _context: ReflexContext) -> Result:
    from dateutil.easter import easter

    year = int(arguments["y"])
    if not FIRST_CERTAIN.year <= year <= 4099:  # the rule is certain only for these years
        return None
    day = easter(year)
    return f"Western Easter Sunday in {year} is {in_words(day)}.", day.isoformat()


def _unix(_arguments: Arguments, _now: datetime, context: ReflexContext) -> Result:
    return f"The Unix time is {int(context.now_s)}.", str(int(context.now_s))


FORMS: dict[str, Callable[[Arguments, datetime, ReflexContext], Result]] = {
    "today": _today,
    "named_day": _named_day,
    "year": _year,
    "month": _month,
    "week": _week,
    "between": _between,
    "until": _until,
    "since": _since,
    "shift": _shift,
    "shift_today": _shift,
    "weekday": _weekday,
    "leap": _leap,
    "leap_now": _leap,
    "leap_next": _leap_next,
    "year_left": _year_left,
    "years_between": _years_between,
    "age": _age,
    "month_length": _month_length,
    "year_length": _year_length,
    "easter": _easter,
    "unix": _unix,
}
