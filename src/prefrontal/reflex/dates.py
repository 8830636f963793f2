"""Questions about dates: today, spans between days, days counted on or back, weekdays, ages, leap years, lengths of time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from prefrontal.reflex import durations
from prefrontal.reflex.date_answers import FORMS
from prefrontal.reflex.days import ANY_DAY, DATE, MONTH, YEAR, local_now
from prefrontal.reflex.numerals import HAS_DIGIT, has_number_words, with_digits
from prefrontal.reflex.phrasing import Grammar
from prefrontal.reflex.proposal import Proposal, ReflexAnswer, ReflexContext

_IS = r"(?:'s|s)?(?: is| was| will be| would be| falls on| comes)?"
_ASK = r"(?:(?:calculate|compute|find|work out|count|what(?:'s|s| is| are| was| will be| would be)?) )?(?:the )?"
_LEFT = (
    r"(?: are there| are left| are| left| remain| remaining| is it| do we have| to go| more| do i have to wait| there are"
    r"| we have)?"
)
_BACK = r"(?:before|prior to|earlier than|back from)"

_GRAMMAR = Grammar(
    {
        "today": (
            r"(?:what(?:'s|s| is) )(?:the )?(?:current |exact )?date(?: (?:right )?now| today| currently)?(?: is)?",
            r"(?:what(?:'s|s| is) )?(?:the )?(?:current |today'?s )(?:date|day)(?: is)?(?: (?:right )?now| today)?",
            r"what(?: is)? (?:the )?(?:date|day|current date|today's date) (?:it )?is",
            (
                r"what (?:day|date)(?: of the week)? (?:is it|it is|is today|today is|is it today|it is today|is this)(?: "
                r"(?:right )?now| today| currently)?"
            ),
            r"what(?:'s|s| is) today",
            r"which day (?:of the week )?(?:is it|is today|is it today)",
            r"(?:which|what) weekday is (?:it|today)(?: today)?",
        ),
        "named_day": (
            r"(?:what(?:'s|s| is| was| will be) )?{a:relative}'?s date(?: is)?",
            r"what (?:day|date)(?: of the week)? (?:is|was|will be|will it be)(?: it)? {a:relative}",
            r"what (?:day|date) {a:relative} is",
        ),
        "year": (
            (
                r"what(?:'s|s| is)?(?: the)? (?:current )?year(?: is it| it is| are we in| is this)?"
                r"(?: now| right now| currently| today)?"
            ),
        ),
        "month": (
            (
                r"what(?:'s|s| is)?(?: the)? (?:current )?month(?: is it| it is| are we in| is this)?"
                r"(?: now| right now| currently| today)?"
            ),
        ),
        "week": (
            (
                r"what(?:'s|s| is)?(?: the)? (?:current )?(?:week number|week of the year|calendar week|iso week)(?:"
                r" is it| it is| are we in| is this)?(?: now| today)?"
            ),
        ),
        "between": (
            (
                r"how many {unit:span} (?:are there |are |is it |there are |passed |elapsed |lie )?(?:between|from) {a:day}"
                r" (?:and|to|until|till|through) {b:day}"
            ),
            rf"{_ASK}(?:number of |amount of )?{{unit:span}} (?:between|from) {{a:day}} (?:and|to|until|till) {{b:day}}",
            (
                r"how (?:long|far|much time) is (?:it|there|the time)?(?: ?from| ?between) {a:day} (?:and|to|until|till)"
                r" {b:day}(?: in {unit:span})?"
            ),
            rf"{_ASK}(?:difference|time) (?:in {{unit:span}} )?between {{a:day}} and {{b:day}}(?: in {{unit2:span}})?",
        ),
        "until": (
            rf"how many {{unit:span}}{_LEFT} (?:until|till|til|to|before) {{a:day}}",
            rf"{_ASK}(?:number of )?{{unit:span}} (?:left )?(?:until|till|til) {{a:day}}",
            r"how (?:long|much time)(?: is it| is left| left| do we have)? (?:until|till|til|to) {a:day}",
            r"how many {unit:span} away is {a:day}",
        ),
        "since": (
            (
                r"how many {unit:span}(?: have passed| has it been| have gone by| passed|"
                r" is it| it has been| it's been)? since {a:day}"
            ),
            r"how many {unit:span} ago (?:was|is) {a:day}",
            r"how long (?:ago was|has it been since) {a:day}",
            rf"{_ASK}(?:number of )?{{unit:span}} since {{a:day}}",
        ),
        "shift": (
            (
                rf"(?:what |which )?(?:day|date|day of the week|weekday){_IS}(?: it)? {{k:steps}} "
                rf"(?:{{back:back}}|after|from|past|following) {{a:day}}"
            ),
            rf"{_ASK}(?:(?:day|date) )?(?:that is )?{{k:steps}} (?:{{back:back}}|after|from|following) {{a:day}}",
            r"add {k:steps} to {a:day}",
            r"(?P<back>subtract|take) {k:steps} (?:away )?from {a:day}",
            rf"{_ASK}{{a:day}} ?(?:plus|\+|(?P<back>minus|-)) ?{{k:steps}}",
            (
                r"(?:what|which) (?:day|date)(?: of the week)? (?:is|will|would|was) (?:it|the date)?(?: be)? ?"
                r"(?:in )?{k:steps} (?:{back:back}|after|from) {a:day}"
            ),
        ),
        "shift_today": (
            (
                r"(?:what|which) (?:day|date)(?: of the week)? (?:is it|will it be|is it going"
                r" to be|would it be|is|it will be) in {k:steps}"
            ),
            r"what (?:will|would) (?:the|today's) date be in {k:steps}",
            r"(?:what(?:'s|s| is| will be) )?the date in {k:steps}",
            r"(?:what|which) (?:day|date)(?: of the week)? was (?:it )?{k:steps} {back:ago}",
            r"(?:what(?:'s|s| was| is) )?(?:the )?date {k:steps} {back:ago}",
        ),
        "weekday": (
            (
                r"(?:what|which) (?:weekday|day(?: of (?:the )?week)?) (?:is|was|will be|will|does|did|would) {a:date}(?: "
                r"(?:be|fall on|falls on|fall|land on|on))?"
            ),
            r"(?:on )?(?:what|which) (?:weekday|day(?: of (?:the )?week)?) (?:does|did|will|is|was) {a:date} (?:be|fall|land|on)",
            (
                r"(?:on )?(?:what|which) (?:weekday|day(?: of (?:the )?week)?) (?:does|did|will|is|was) {a:feast} "
                r"(?:fall on|fall|on|be)(?: (?:(?:in |on )?{y:year}|this year))?"
            ),
            (
                r"(?:what|which) (?:weekday|day of (?:the )?week) (?:is|was|will be) {a:feast}(?: (?:"
                r"(?:in |on )?{y:year}|this year))?"
            ),
            r"what day (?:is|was|will be) {a:feast}(?: (?:in |on )?{y:year}| this year)",
            r"{a:date} (?:is|was|will be|falls on|fell on) (?:what|which) (?:weekday|day of (?:the )?week)",
            r"(?:what(?:'s|s| is| was) )?(?:the )?(?:weekday|day of (?:the )?week) (?:of|for|on) {a:date}",
        ),
        "leap": (r"(?:is|was|will) (?:the year )?{y:year}(?: be)? a leap year", r"(?:is|was) {y:year} a leap year or not"),
        "leap_next": (r"(?:when|what(?: year)?|which year) is the next leap year", r"(?:the )?next leap year"),
        "leap_now": (r"is (?:this|it|the current year)(?: year)? a leap year",),
        "age": (
            (
                r"how (?:many (?P<unit>days|years|weeks|months) )?old (?:is|am|are|would) "
                r"(?:someone|somebody|a person|anyone|i|he|she)(?: be)? (?:who (?:was|is) |if (?:i|he|she|they) "
                r"(?:was|were) )?born (?:on |in )?{a:date}(?: be)?(?: now| today)?"
            ),
            (
                r"(?:if )?i was born (?:on )?{a:date},? (?:how (?:many (?P<unit>days|years|weeks|months) )?old am i"
                r"(?: now| today| in (?P<unit2>days|years|weeks|months))?)"
            ),
        ),
        "year_left": (
            r"how many days(?: are)?(?: there)? (?:left|remaining|remain)(?: in| of) (?:the|this|the current) year",
            r"how many days(?: are)?(?: left)? (?:until|till) the end of (?:the|this) year",
        ),
        "years_between": (r"how many years(?: are there| are| passed)? (?:between|from) {y:year} (?:and|to|until) {y2:year}",),
        "month_length": (
            (
                r"how many days (?:are (?:there )?in|in|is|does|has|are|were (?:there )?in) (?:the month of )?{m:month},?"
                r"(?: (?:of )?{y:year})?(?: have| has)?"
            ),
        ),
        "year_length": (
            r"how many days (?:are (?:there )?in|in|does|were (?:there )?in|has) (?:the year )?{y:year}(?: have| has)?",
        ),
        "easter": (
            r"(?:when (?:is|was|will be)|what (?:date|day) (?:is|was)|(?:the )?date of) easter(?: sunday)? (?:in )?{y:year}",
        ),
        "unix": (r"(?:what(?:'s|s| is) )?(?:the )?(?:current )?(?:unix|epoch) (?:timestamp|time)(?: (?:right )?now)?",),
    },
    {
        "day": ANY_DAY,
        "date": DATE,
        "feast": r"(?:christmas(?: day| eve)?|new year'?s (?:day|eve)|halloween|valentine'?s day)",
        "relative": "(?:tomorrow|yesterday)",
        "span": "(?:calendar )?(?:days|weeks|months|years|sleeps)",
        "steps": r"\d{1,6} (?:days?|weeks?|months?|years?)",
        "back": _BACK,
        "ago": "ago",
        "month": MONTH,
        "year": YEAR,
    },
)
_HINTS = frozenset(
    [
        "day",
        "days",
        "date",
        "dates",
        "weekday",
        "week",
        "weeks",
        "month",
        "months",
        "year",
        "years",
        "today",
        "today's",
        "todays",
        "now",
        "long",
        "old",
        "tomorrow",
        "tomorrow's",
        "yesterday",
        "sleeps",
        "timestamp",
        "time",
        "far",
        "easter",
        "born",
        "add",
        "subtract",
        "hours",
        "minutes",
        "hour",
    ]
)


class Dates:
    """Dates, spans of days, weekdays, ages, leap years; and lengths of time ("2h 45m + 1h 30m")."""

    name = "dates"
    description = "Dates and durations: days between dates, dates counted on or back, weekdays, ages, leap years, times of day"

    def warm(self) -> None:
        """Load the calendar arithmetic."""
        import dateutil.easter
        import dateutil.relativedelta  # noqa: F401

    def propose(self, text: str, context: ReflexContext) -> Proposal | None:
        """Return a proposal when the whole text asks about given or current days."""
        if has_number_words(text):
            text = with_digits(text)
        if _HINTS.isdisjoint(text.lower().split(" ")):
            return self._duration(text) if HAS_DIGIT(text) else None
        found = _GRAMMAR.match(text)
        if found is None:
            return self._duration(text)
        form, parts = found
        arguments: dict[str, Any] = {"form": form, **parts}
        return Proposal(tool=self.name, arguments=arguments, reason=f"asks about a date ({form.replace('_', ' ')})")

    def _duration(self, text: str) -> Proposal | None:
        arguments = durations.recognise(text)
        return None if arguments is None else Proposal(tool=self.name, arguments=arguments, reason="asks about a length of time")

    def answer(self, proposal: Proposal, context: ReflexContext) -> ReflexAnswer | None:
        """Return the answer, or None when a date does not exist, may be read in two ways, or lies outside the calendar."""
        form: Callable[[dict[str, Any], datetime, ReflexContext], tuple[str, str] | None] | None = FORMS.get(
            proposal.arguments["form"]
        )
        if form is None:
            result = durations.solve(proposal.arguments)
        else:
            now = local_now(context)
            try:
                result = form(proposal.arguments, now, context) if now is not None else None
            except (OverflowError, ValueError):
                return None  # outside the years 1 to 9999
        if result is None:
            return None
        return ReflexAnswer(tool=self.name, text=result[0], value=result[1], arguments=proposal.arguments)
