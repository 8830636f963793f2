"""What each of the calculator's forms computes, and the sentence that shows it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction

from prefrontal.reflex.expressions import Number, Unanswerable, bounded, evaluate, power, rendered, root, tokenize
from prefrontal.reflex.numerals import SIGNED, finite_places, parse_number, plain, rounded, shown_exactly

_PARTS = {"half": 2, "third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}
_MULTIPLES = {"twice": 2, "double": 2, "triple": 3, "thrice": 3, "quadruple": 4}
_DEGREES = {"fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10}
_MAX_FACTORIAL = 120  # 120! has 199 digits, the longest number that is shown
_SHOWN_DIGITS = 12  # assumed: more digits than any calculator on a desk
_LIST_NUMBER = re.compile(rf"(?:^|[ ,])({SIGNED})(?=$|[ ,])")

Arguments = Mapping[str, str]


def solve(arguments: Arguments) -> tuple[str, str]:
    """Return (sentence, value) for a proposal of the calculator. Raises Unanswerable or ZeroDivisionError."""
    form = arguments["form"]
    if form.startswith("percent") or form == "what_percent":
        return _percentages(form, arguments)
    shown, number = _FORMS[form](arguments)
    if form == "as_fraction":
        return f"{shown} = {number.value}", str(number.value)
    return _sentence(shown, number)


def _sentence(shown: str, number: Number) -> tuple[str, str]:
    exact = shown_exactly(number.value) if number.exact else None
    if exact is not None:
        return f"{shown} = {exact}", exact
    near, _ = rounded(number.value, _SHOWN_DIGITS)
    if near == "0" and number.value:
        raise Unanswerable("too small to show")
    digits = len(plain(number.value)) if number.exact else 99
    detail = f" (exactly {plain(number.value)})" if finite_places(number.value) is None and digits <= 24 else ""
    return f"{shown} ≈ {near}{detail}", near


def _percentages(form: str, arguments: Arguments) -> tuple[str, str]:
    if form in ("what_percent", "percent_change"):
        first, second = parse_number(arguments["a"]), parse_number(arguments["b"])
        if form == "what_percent":
            value, sign = _value(first / second * 100)
            return f"{plain(first)} is {sign}{value}% of {plain(second)}", value
        return _change(arguments["kind"].lower(), first, second)
    percent, (amount, unit) = parse_number(arguments["p"]), _money(arguments["n"])
    share = amount * percent / 100
    if form == "percent_of":
        value, sign = _value(share)
        return f"{plain(percent)}% of {unit(plain(amount))} is {sign}{unit(value)}", value
    value, sign = _value(amount + share if form == "percent_more" else amount - share)
    way = "plus" if form == "percent_more" else "minus"
    return f"{unit(plain(amount))} {way} {plain(percent)}% of it is {sign}{unit(value)}", value


def _change(kind: str, first: Fraction, second: Fraction) -> tuple[str, str]:
    change = (second - first) / first * 100
    value, sign = _value(abs(change))
    word = "an increase" if change > 0 else "a decrease" if change < 0 else "a change"
    falls_as_asked = (change < 0 and kind not in ("decrease", "drop")) or (change > 0 and kind in ("decrease", "drop"))
    return f"From {plain(first)} to {plain(second)} is {word} of {sign}{value}%", f"-{value}" if falls_as_asked else value


def _value(value: Fraction) -> tuple[str, str]:
    """Return the number to show and "about " when it had to be rounded."""
    number = bounded(value)
    exact = shown_exactly(number.value)
    return (exact, "") if exact is not None else (rounded(value, _SHOWN_DIGITS)[0], "about ")


def _money(text: str) -> tuple[Fraction, Callable[[str], str]]:
    """Return an amount and a function that writes another amount in the same currency."""
    symbol = text[0] if text[0] in "$€£" else ""
    digits, _, word = text.removeprefix(symbol).partition(" ")

    def written(shown: str) -> str:
        cents = "0" if (symbol or word) and re.fullmatch(r"\d+\.\d", shown) else ""
        return f"{symbol}{shown}{cents}{' ' + word if word else ''}"

    return parse_number(digits), written


def _numbers(arguments: Arguments) -> list[Fraction]:
    if "l" not in arguments:
        return [parse_number(arguments["a"]), parse_number(arguments["b"])]
    return [parse_number(part) for part in _LIST_NUMBER.findall(arguments["l"].replace(" & ", " and "))]


def _joined(sign: str, numbers: list[Fraction]) -> str:
    return f" {sign} ".join(
        plain(number) if number >= 0 or not index else f"({plain(number)})" for index, number in enumerate(numbers)
    )


def _expression(arguments: Arguments) -> tuple[str, Number]:
    tokens = tokenize(arguments["expression"])
    if tokens is None:
        raise Unanswerable("not an expression")
    return rendered(tokens), evaluate(tokens)


def _root(arguments: Arguments) -> tuple[str, Number]:
    degree = _DEGREES.get(arguments["k"]) or int(arguments["k"].removesuffix("th"))
    value = parse_number(arguments["n"])
    return f"The {degree}th root of {plain(value)}", root(Number(value), degree)


def _power(arguments: Arguments) -> tuple[str, Number]:
    base = parse_number(arguments["n"])
    exponent = int(arguments["e"]) if "e" in arguments else 3 if "c" in arguments else 2
    shown = f"({plain(base)})" if base < 0 else plain(base)
    return f"{shown}^{exponent}", power(Number(base), Number(Fraction(exponent)))


def _product(arguments: Arguments) -> tuple[str, Number]:
    numbers = _numbers(arguments)
    return _joined("×", numbers), bounded(math.prod(numbers, start=Fraction(1)))


def _sum(arguments: Arguments) -> tuple[str, Number]:
    numbers = _numbers(arguments)
    return _joined("+", numbers), bounded(sum(numbers, Fraction(0)))


def _difference(arguments: Arguments) -> tuple[str, Number]:
    numbers = _numbers(arguments)
    return _joined("-", numbers), bounded(numbers[0] - numbers[1])


def _distance(arguments: Arguments) -> tuple[str, Number]:
    first, second = _numbers(arguments)
    return f"The difference between {plain(first)} and {plain(second)}", bounded(abs(first - second))


def _quotient(arguments: Arguments) -> tuple[str, Number]:
    first, second = _numbers(arguments)
    return f"{plain(first)} / {plain(second)}", bounded(first / second)


def _fraction(arguments: Arguments) -> tuple[str, Number]:
    amount, unit = _money(arguments["n"])
    if "times" in arguments:
        factor = Fraction(_MULTIPLES[arguments["times"].lower()])
    elif "part" in arguments:
        factor = Fraction(1, _PARTS[arguments["part"].lower()])
    elif "parts" in arguments:
        factor = Fraction(int(arguments.get("a", "1")), _PARTS[arguments["parts"].lower().removesuffix("s")])
    else:
        factor = Fraction(int(arguments["a"]), int(arguments["b"]))
    return f"{factor} of {unit(plain(amount))}" if factor < 1 else f"{plain(factor)} × {unit(plain(amount))}", bounded(
        amount * factor
    )


def _as_fraction(arguments: Arguments) -> tuple[str, Number]:
    value = parse_number(arguments["n"])
    if value.denominator == 1 or value.denominator > 10**6:
        raise Unanswerable("no fraction that anybody wants")
    return plain(value), Number(value)


def _average(arguments: Arguments) -> tuple[str, Number]:
    numbers = _numbers(arguments)
    return f"({_joined('+', numbers)}) / {len(numbers)}", bounded(sum(numbers, Fraction(0)) / len(numbers))


def _median(arguments: Arguments) -> tuple[str, Number]:
    numbers = sorted(_numbers(arguments))
    middle = (numbers[(len(numbers) - 1) // 2] + numbers[len(numbers) // 2]) / 2
    return f"The median of {', '.join(map(plain, numbers))}", bounded(middle)


def _factorial(arguments: Arguments) -> tuple[str, Number]:
    count = int(arguments["n"])
    if count > _MAX_FACTORIAL:
        raise Unanswerable("too large")
    return f"{count}!", Number(Fraction(math.factorial(count)))


def _divisors(combine: Callable[..., int], label: str) -> Callable[[Arguments], tuple[str, Number]]:
    def compute(arguments: Arguments) -> tuple[str, Number]:
        numbers = _numbers(arguments)
        if any(number.denominator != 1 or number < 1 for number in numbers):
            raise Unanswerable("needs positive whole numbers")
        return f"{label}({', '.join(map(plain, numbers))})", bounded(Fraction(combine(*map(int, numbers))))

    return compute


def _remainder(arguments: Arguments) -> tuple[str, Number]:
    first, second = int(arguments["a"]), int(arguments["b"])
    return f"{first} mod {second}", Number(Fraction(first % second))


_FORMS: dict[str, Callable[[Arguments], tuple[str, Number]]] = {
    "expression": _expression,
    "root": _root,
    "power": _power,
    "product": _product,
    "sum": _sum,
    "difference": _difference,
    "distance": _distance,
    "quotient": _quotient,
    "fraction": _fraction,
    "as_decimal": _quotient,
    "as_fraction": _as_fraction,
    "average": _average,
    "median": _median,
    "factorial": _factorial,
    "gcd": _divisors(math.gcd, "gcd"),
    "lcm": _divisors(math.lcm, "lcm"),
    "remainder": _remainder,
}
