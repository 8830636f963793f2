"""Questions about time zones: the time somewhere, a time of day carried from one place to another, how far zones lie apart."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from prefrontal.reflex.days import DATE, in_words, local_now, on, read_day
from prefrontal.reflex.durations import CLOCK, clock_text, time_of_day
from prefrontal.reflex.phrasing import Grammar
from prefrontal.reflex.places import Place, Places
from prefrontal.reflex.proposal import Proposal, ReflexAnswer, ReflexContext

_NOW = r"(?:,? (?:right )?now|,? rn|,? currently|,? at the moment|,? today|,? at present)?"
_WHAT = r"(?:what(?:'s|s| is) )?(?:the )?(?:current |local |exact |present )*"
_ON = r"(?:,? on {d:date}| today)?"

_GRAMMAR = Grammar(
    {
        "here": (
            r"what time is it(?: (?:right )?now| currently)?",
            r"what(?:'s|s| is) the (?:current |exact )?time(?: is it)?(?: (?:right )?now)?",
            r"current time",
            r"what time it is(?: (?:right )?now)?",
        ),
        "now": (
            rf"what time is it{_NOW} (?:in|at) {{a:place}}{_NOW}",
            rf"what time (?:it is|is it){_NOW} in {{a:place}}{_NOW}",
            rf"{_WHAT}time{_NOW} in {{a:place}}{_NOW}",
            rf"{_WHAT}time in {{a:place}} is{_NOW}",
            rf"{_WHAT}{{a:place}} (?:current |local )?time{_NOW}",
            rf"what time is it{_NOW} {{a:place}}{_NOW}",
        ),
        "carry": (
            rf"{{t:clock}}(?: in)? {{a:place}}(?: time)?{_ON} is what(?: time)? in {{b:place}}",
            (
                rf"(?:convert |translate |change |what(?:'s|s| is| time is) )?{{t:clock}}(?: in)? {{a:place}}(?: time)?{_ON}"
                rf"(?: in| to| into|,? what time is (?:it|that) in| =) {{b:place}}(?: time)?{_ON.replace('{d:', '{d2:')}"
            ),
            (
                rf"(?:when|if) (?:it's|it is|its) {{t:clock}}(?: in)? {{a:place}}(?: time)?{_ON}, ?(?:then )?what(?:'s the|"
                rf" is the)? time (?:is it |will it be |would it be |it is )?in {{b:place}}"
            ),
            (
                rf"(?:when|if) (?:it's|it is|its) {{t:clock}}(?: in)? {{a:place}}(?: time)?{_ON} what(?:'s the|"
                rf" is the)? time (?:is it |will it be |would it be |it is )?in {{b:place}}"
            ),
            (
                rf"what time (?:is it|will it be|would it be) in {{b:place}}{_ON},? (?:when|if) (?:it's|it is|its)"
                rf" {{t:clock}}(?: in)? {{a:place}}(?: time)?"
            ),
        ),
        "apart": (
            rf"{_WHAT}time(?: ?zone)? difference(?: is)? (?:between|from) {{a:place}} (?:and|to) {{b:place}}{_NOW}",
            rf"{_WHAT}difference in time (?:between|from) {{a:place}} (?:and|to) {{b:place}}{_NOW}",
            r"how (?:many hours|far|much) (?P<ahead>ahead|behind)(?: of)? {a:place} is {b:place}",
            r"how (?:many hours|far|much) (?P<side>ahead|behind)(?: of)? is {a:place} (?:of|from|than|to|compared to) {b:place}",
            r"how many hours is {b:place} (?P<ahead>ahead of|behind) {a:place}",
            r"how many hours (?:difference|apart) (?:is there |are there |are )?(?:between )?{a:place} and {b:place}",
        ),
        "zone": (
            r"(?:what|which) time ?zone is {a:place}(?: in)?",
            r"(?:what|which) time ?zone (?:does|is used in) {a:place}(?: use)?",
        ),
    },
    {"place": r"[^\W\d][\w .,'-]{0,40}?", "clock": CLOCK, "date": DATE},
)
_HINTS = frozenset(["time", "timezone", "hours", "far", "in", "to", "when", "if", "behind", "ahead"])


class TimeZones:
    """The time in a place, times of day between places, and how far zones lie apart."""

    name = "timezone"
    description = "Current time in a place, times of day carried between time zones, differences between zones"

    def __init__(self) -> None:
        self._places = Places()

    def warm(self) -> None:
        """Load one zone, so that the zone database is found."""
        self._places.named("london")

    def propose(self, text: str, context: ReflexContext) -> Proposal | None:
        """Return a proposal when the whole text asks for a local time and every place in it is known."""
        if _HINTS.isdisjoint(text.lower().split(" ")):
            return None
        found = _GRAMMAR.match(text)
        if found is None:
            return None
        form, parts = found
        places = [parts[name] for name in ("a", "b") if name in parts]
        if not all(map(self._places.knows, places)):
            return None
        return Proposal(tool=self.name, arguments={"form": form, **parts}, reason=f"asks for a local time ({form})")

    def answer(self, proposal: Proposal, context: ReflexContext) -> ReflexAnswer | None:
        """Return the time, or None when the local time does not exist, happens twice, or a zone's name does not fit its day."""
        arguments = proposal.arguments
        here = local_now(context)
        first = self._places.named(arguments["a"]) if "a" in arguments else None
        second = self._places.named(arguments["b"]) if "b" in arguments else None
        if here is None:
            return None
        result = _solve(arguments, here, first, second, context)
        return None if result is None else ReflexAnswer(tool=self.name, text=result[0], value=result[1], arguments=arguments)


def _solve(
    arguments: dict[str, Any], here: datetime, first: Place | None, second: Place | None, context: ReflexContext
) -> tuple[str, str] | None:
    if first is None:
        return f"It is {_spoken(here)} ({here.tzinfo}).", here.isoformat(timespec="minutes")
    if arguments["form"] in ("now", "zone"):
        there = here.astimezone(first.zone)
        if not _fits(first, there):
            return None
        if arguments["form"] == "zone":
            return f"{arguments['a']} is in {first.label} ({_offset(there)} now).", first.label
        return f"In {arguments['a']} it is {_spoken(there)} ({first.label}, {_offset(there)}).", there.isoformat(
            timespec="minutes"
        )
    if second is None:
        return None
    if arguments["form"] == "apart":
        return _apart(arguments, here, first, second)
    return _carried(arguments, here, first, second, context)


def _spoken(moment: datetime) -> str:
    return f"{clock_text(moment.hour * 3600 + moment.minute * 60)} on {in_words(moment.date())}"


def _offset(moment: datetime) -> str:
    offset = moment.strftime("%z")
    return f"UTC{offset[:3]}:{offset[3:5]}"


def _hours(moment: datetime) -> float:
    offset = moment.utcoffset()
    return offset.total_seconds() / 3600 if offset is not None else 0.0


def _fits(place: Place, moment: datetime) -> bool:
    return place.demanded_hours is None or _hours(moment) == place.demanded_hours


def _apart(arguments: dict[str, Any], here: datetime, first: Place, second: Place) -> tuple[str, str] | None:
    left, right = here.astimezone(first.zone), here.astimezone(second.zone)
    if not (_fits(first, left) and _fits(second, right)):
        return None
    names = (arguments["a"], arguments["b"])
    ahead = _hours(right) - _hours(left)
    size = f"{abs(ahead):g}"
    if not ahead:
        return f"{names[0]} and {names[1]} have the same time now.", "0"
    asked_behind = next((arguments[key].lower().startswith("behind") for key in ("ahead", "side") if key in arguments), ahead < 0)
    value = size if asked_behind == (_asked_gap(arguments, ahead) < 0) else f"-{size}"
    if ahead < 0:
        names = (names[1], names[0])
    unit = "hour" if size == "1" else "hours"
    return f"{names[1]} is {size} {unit} ahead of {names[0]} now ({_offset(left)} and {_offset(right)}).", value


def _asked_gap(arguments: dict[str, Any], ahead: float) -> float:
    """Return how far the place asked about is ahead of the other: of "side" questions that is the first place."""
    return -ahead if "side" in arguments else ahead


def _carried(
    arguments: dict[str, Any], here: datetime, first: Place, second: Place, context: ReflexContext
) -> tuple[str, str] | None:
    day = _day(arguments, here.astimezone(first.zone).date(), context)
    seconds = time_of_day(arguments["t"])
    if day is None or seconds is None:
        return None
    start = _only(day, seconds, first.zone)
    if start is None or not _fits(first, start):
        return None
    there = start.astimezone(second.zone)
    if not _fits(second, there):
        return None
    text = f"{_spoken(start)} in {arguments['a']} ({_offset(start)}) is {_spoken(there)} in {arguments['b']} ({_offset(there)})."
    return text, there.isoformat(timespec="minutes")


def _day(arguments: dict[str, Any], today: date, context: ReflexContext) -> date | None:
    text = arguments.get("d") or arguments.get("d2")
    if text is None:
        return today
    found = read_day(text, context)
    return on(found, today.year) if found is not None else None


def _only(day: date, seconds: int, zone: tzinfo) -> datetime | None:
    """Return the local time if it happens exactly once: not in the hour that is skipped or repeated when clocks change."""
    naive = datetime(day.year, day.month, day.day) + timedelta(seconds=seconds)  # noqa: DTZ001 - the zone follows
    early, late = naive.replace(tzinfo=zone, fold=0), naive.replace(tzinfo=zone, fold=1)
    if early.utcoffset() != late.utcoffset():
        return None
    back = early.astimezone(UTC).astimezone(zone)
    return early if back.replace(tzinfo=None) == naive else None
