"""Conversions between units, exact to the definition of the units. Currencies are not converted: their rates move."""

from __future__ import annotations

import re
import threading
from fractions import Fraction
from typing import Any

from prefrontal.reflex.numerals import AMOUNT, HAS_DIGIT, NUMBER, has_number_words, parse_number, plain, rounded, with_digits
from prefrontal.reflex.phrasing import Grammar
from prefrontal.reflex.proposal import Proposal, ReflexAnswer, ReflexContext
from prefrontal.reflex.units import DEFINITIONS, Unit, Units

_UNIT = r"[a-zµμ°º\"'²³][a-zµμ°º\"²³23 /^.-]{0,40}"
_KINDS = {
    "x": AMOUNT,
    "n": NUMBER,
    "from": rf"{_UNIT}?",
    "to": _UNIT,
    "one": r"(?:an?|each|per|every|half an?)",
    "apart": r"(?: ?(?:in|to|into|as|->|→|=>|expressed in|converted to|converted into) "
    r"| equals? (?:how many |what in )?| (?:is|are|=) how many | ?= ?\? ?| ?= ?)",
}
_Q = r"{x:x} ?{u:from}"
_Q2 = r"{x:n} ?{u:from},?(?: and)? {y:n} ?{v:from}"
_FEET = r"{feet:n} ?(?:'|ft|feet|foot) ?(?:and )?{inches:n} ?(?:\"|''|in|inch|inches)?"
_HOW = r"how (?:much|far|long|tall|heavy|hot|cold|warm|big|fast|large|many) (?:is|are) "
_WHAT = rf"(?:(?:convert|change|turn|express|calculate|what(?:'s|s)?(?: is| are)?) |{_HOW})?(?:the )?"
_IN = r"(?: are there| are| is| equals?| do you get| go| fit)?(?: in|into| =)? "
_HAS = r"(?: make| equal| have| contain)?"

_GRAMMAR = Grammar(
    {
        "feet": (
            rf"{_WHAT}{_FEET}{{sep:apart}}{{t:to}}",
            rf"how many {{t:to}}? (?:is|are|in|are in|are there in) {_FEET}".replace("{t:to}?", "{t:from}"),
        ),
        "pair": (rf"{_WHAT}{_Q2}{{sep:apart}}{{t:to}}", rf"how many {{t:from}}{_IN}{_Q2}"),
        "split": (
            (
                rf"{_WHAT}{_Q} (?:in|to|into|as) (?P<t>feet|ft|stone|stones|pounds|lbs?) (?:and|&)"
                rf" (?P<t2>inches|in|pounds|lbs?|ounces|oz)"
            ),
            rf"how many (?P<t>feet|stone|pounds) and (?P<t2>inches|pounds|ounces) (?:is|are|are in|in) {_Q}",
        ),
        "amount": (
            rf"{_WHAT}{_Q}{{sep:apart}}{{t:to}}",
            rf"how many {{t:from}}{_IN}{_Q}{_HAS}",
            rf"how many {{t:from}} (?:does|do|would|will) {_Q} (?:make|equal|have|contain)",
            rf"what (?:does|do|would|is|are) {_Q} (?:equal|come to|be|is|are)? ?in {{t:to}}",
            rf"(?:how much|what) {_Q} (?:is|are) in {{t:to}}",
            rf"how much (?:does|do) {_Q} weigh in {{t:to}}",
        ),
        "one": (
            rf"how many {{t:from}}{_IN}{{one:one}} {{u:to}}",
            rf"{_WHAT}(?P<one>an?|half an?) {{u:from}} (?:in|to|into) {{t:to}}",
        ),
    },
    _KINDS,
)
_OPENERS = frozenset(["convert", "change", "turn", "express", "calculate", "how", "what", "what's", "whats", "a", "an", "half"])
_BEFORE_UNIT = re.compile(r"^(?:the )?(?:number of )?")
_DAYS = {"day": 1, "hour": 24, "minute": 1440, "second": 86400}
_MONTHS = {"month": 1, "year": 12, "decade": 120, "century": 1200}
_DECIMAL = {"kilobyte": 1, "megabyte": 2, "gigabyte": 3, "terabyte": 4, "petabyte": 5}
_SHOWN_DIGITS = 7  # assumed: what a person reads of a rounded conversion
_VALUE_DIGITS = 15  # assumed: what a program may want of it


class Convert:
    """Length, mass, temperature, volume, speed, area, time, data, energy and pressure."""

    name = "convert"
    description = "Unit conversions: length, mass, temperature, volume, speed, area, time, data sizes, energy, pressure"

    def __init__(self) -> None:
        self._units = Units()
        self._registry: Any = None
        self._loading = threading.Lock()

    def warm(self) -> None:
        """Load Pint and its definitions (measured: 0.2 to 0.5 s), and every unit once, so that answers are quick."""
        self._pint()

    def _pint(self) -> Any:
        with self._loading:
            if self._registry is None:
                import pint

                registry: Any = pint.UnitRegistry(non_int_type=Fraction)
                for definition in DEFINITIONS:
                    registry.define(definition)
                registry.Quantity(Fraction(1), "mile").to("kilometre")
                self._registry = registry
            return self._registry

    def propose(self, text: str, context: ReflexContext) -> Proposal | None:
        """Return a proposal when the whole text asks for one amount in one other unit of the same dimension."""
        head = text.split(" ", 1)[0].lower()
        spelled = has_number_words(text)
        digit = HAS_DIGIT(text) is not None
        if not (head in _OPENERS or text[:1] in "-+." or text[:1].isdigit() or spelled) or not (
            digit or spelled or " a" in text or head in "an half"
        ):
            return None
        found = _GRAMMAR.match(with_digits(text) if spelled else text)
        if found is None:
            return None
        form, parts = found
        arguments: dict[str, Any] = {"form": form} | {key: part for key, part in parts.items() if key not in ("sep",)}
        if self._resolve(arguments) is None:
            return None
        return Proposal(tool=self.name, arguments=arguments, reason="asks for an amount in another unit")

    def _resolve(self, arguments: dict[str, Any]) -> tuple[Unit, Unit, Unit | None] | None:
        """Return (from, to, second from) when exactly one reading of the names fits together."""
        targets = self._units.named(_BEFORE_UNIT.sub("", arguments["t"]))
        if arguments["form"] == "feet":
            sources, seconds = self._units.named("foot"), self._units.named("inch")
        else:
            sources = self._units.named(arguments["u"])
            seconds = self._units.named(arguments["v"]) if "v" in arguments else ()
        pairs = [(source, target) for source in sources for target in targets if _related(source, target)]
        if len(pairs) != 1 or (pairs[0][0].pint == pairs[0][1].pint and not seconds):
            return None
        source, target = pairs[0]
        if not seconds:
            return (source, target, None) if "v" not in arguments else None
        second = [unit for unit in seconds if unit.dimension == source.dimension and unit.dimension in ("length", "mass", "time")]
        return (source, target, second[0]) if len(second) == 1 else None

    def answer(self, proposal: Proposal, context: ReflexContext) -> ReflexAnswer | None:
        """Return the converted amount, or None when no such amount exists or its reading is uncertain."""
        arguments = proposal.arguments
        resolved = self._resolve(arguments)
        if resolved is None:
            return None
        source, target, second = resolved
        amount = _amount(arguments)
        if amount < 0 and source.dimension != "temperature":
            return None
        if arguments["form"] == "split":
            return self._split(arguments, amount, source, target)
        if "years" in (source.dimension, target.dimension):
            return self._years(arguments, amount, source, target)
        shown = f"{plain(amount)} {_label(source, amount)}"
        result = self._converted(amount, source, target)
        if second is not None:
            small = parse_number(arguments["inches"] if arguments["form"] == "feet" else arguments["y"])
            if self._converted(small, second, source) >= 1:
                return None  # "5 feet 30 inches" is a slip or something else
            shown += f" {plain(small)} {_label(second, small)}"
            result += self._converted(small, second, target)
        if result is None or (
            source.dimension == "temperature" and self._converted(amount, source, self._units.named("kelvin")[0]) < 0
        ):
            return None
        return self._answered(arguments, shown, result, target, _notes(amount, source, target))

    def _split(self, arguments: dict[str, Any], amount: Fraction, source: Unit, large: Unit) -> ReflexAnswer | None:
        """Answer in two units: whole large ones and the rest in small ones, to one decimal."""
        smalls = [unit for unit in self._units.named(arguments["t2"]) if unit.dimension == large.dimension]
        if len(smalls) != 1:
            return None
        small = smalls[0]
        ratio = self._converted(Fraction(1), large, small)
        tenths = round(self._converted(amount, source, small) * 10)
        if ratio.denominator != 1 or ratio <= 1:
            return None
        whole, rest = divmod(Fraction(tenths, 10), ratio)
        sign = "=" if Fraction(tenths, 10) == self._converted(amount, source, small) else "≈"
        value = f"{whole} {_label(large, Fraction(whole))} {plain(rest)} {_label(small, rest)}"
        text = f"{plain(amount)} {_label(source, amount)} {sign} {value}"
        return ReflexAnswer(tool=self.name, text=text, value=value, arguments=arguments)

    def _converted(self, amount: Fraction, source: Unit, target: Unit) -> Fraction:
        if source.pint == target.pint:
            return amount
        registry = self._pint()
        return Fraction(registry.Quantity(amount, source.pint).to(target.pint).magnitude)

    def _years(self, arguments: dict[str, Any], amount: Fraction, source: Unit, target: Unit) -> ReflexAnswer | None:
        if source.dimension == target.dimension:
            result = amount * _MONTHS[source.pint] / _MONTHS[target.pint]
            return self._answered(arguments, f"{plain(amount)} {_label(source, amount)}", result, target, "")
        if amount != 1 or source.pint != "year" or target.pint not in _DAYS:
            return None
        count = _DAYS[target.pint]
        return self._answered(arguments, "A year of 365 days", Fraction(365 * count), target, f"a leap year has {366 * count}")

    def _answered(self, arguments: dict[str, Any], shown: str, result: Fraction, target: Unit, note: str) -> ReflexAnswer | None:
        text, exact = rounded(result, _SHOWN_DIGITS)
        longer, long_exact = rounded(result, 12)
        if long_exact:
            text, exact = longer, True
        if (result and text == "0") or len(text) > 40:
            return None
        sign = "=" if exact else "≈"
        sentence = f"{shown} {sign} {text} {_label(target, result)}{f' ({note})' if note else ''}"
        return ReflexAnswer(tool=self.name, text=sentence, value=rounded(result, _VALUE_DIGITS)[0], arguments=arguments)


def _related(source: Unit, target: Unit) -> bool:
    return source.dimension == target.dimension or (source.pint == "year" and target.pint in _DAYS)


def _amount(arguments: dict[str, Any]) -> Fraction:
    if arguments["form"] == "feet":
        return parse_number(arguments["feet"])
    if arguments["form"] == "one":
        return Fraction(1, 2) if arguments["one"].lower().startswith("half") else Fraction(1)
    return parse_number(arguments["x"])


def _label(unit: Unit, amount: Fraction) -> str:
    return unit.singular if amount == 1 else unit.plural


def _notes(amount: Fraction, source: Unit, target: Unit) -> str:
    """Return what was assumed about the units, if anything."""
    if source.pint in _DECIMAL and target.pint in _DECIMAL:
        binary, _ = rounded(amount * Fraction(1024) ** (_DECIMAL[source.pint] - _DECIMAL[target.pint]), 12)
        return f"decimal units; counting in powers of two it is {binary}"
    return "; ".join(dict.fromkeys(note for note in (source.note, target.note) if note))
