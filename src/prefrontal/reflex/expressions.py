"""Arithmetic expressions, evaluated exactly over fractions with bounded work.

    sum      := product (("+" | "-") product)*
    product  := power (("*" | "/") power)*
    power    := signed | postfix ("^" signed)?
    signed   := ("+" | "-")? postfix
    postfix  := atom ("squared" | "cubed" | "%")?
    atom     := number | "(" sum ")" | ("sqrt" | "cbrt") atom

Forms that people read in two ways are refused, not guessed: `2^3^2`, `-3^2`, `10 % 3`, `50 + 10% + 3`, `2(3)`.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import NamedTuple

from prefrontal.reflex.numerals import NUMBER, parse_number

_MAX_BITS = 700  # assumed: about 200 decimal digits, the longest number that is shown
_MAX_DEPTH = 25  # assumed: keeps recursion far from Python's limit
_ROOT_DIGITS = 40  # assumed: digits kept of an irrational root; far more than are shown

_TOKEN = re.compile(
    rf"\s*(?:(?P<number>{NUMBER})|(?P<percent>%|per ?cent\b)"
    r"|(?P<function>sqrt\b|cbrt\b|√|∛|(?:the )?(?:square|sq) root of\b|(?:the )?cube root of\b)"
    r"|(?P<suffix>squared\b|cubed\b|²|³)"
    r"|(?P<power>\*\*|\^|(?:raised )?to the power(?: of)?\b|raised to\b)"
    r"|(?P<operator>[+\-*/()]|[×·⋅÷x]|plus\b|minus\b|take away\b|times\b|multiplied by\b|divided by\b))",
    re.IGNORECASE,
)
_SYMBOL = {
    "×": "*", "·": "*", "⋅": "*", "x": "*", "times": "*", "multiplied by": "*", "÷": "/", "divided by": "/",
    "plus": "+", "minus": "-", "take away": "-",
}  # fmt: skip


class Unanswerable(Exception):
    """Raised when a question is well formed but must be left to a model: ambiguous, undefined or too large."""


class Number(NamedTuple):
    """A value and whether it is exact (False after an irrational root)."""

    value: Fraction
    exact: bool = True


class Token(NamedTuple):
    """One lexical part: kind is number, percent, function, suffix, power or operator; text is in canonical symbols."""

    kind: str
    text: str


def tokenize(text: str) -> list[Token] | None:
    """Return the tokens of `text`, or None as soon as something in it is not arithmetic."""
    tokens, position, end = [], 0, len(text)
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            return None
        kind = str(found.lastgroup)
        tokens.append(Token(kind, _canonical(kind, found[kind].lower())))
        position = found.end()
    return tokens


def _canonical(kind: str, part: str) -> str:
    if kind == "power":
        return "^"
    if kind == "percent":
        return "%"
    if kind == "function":
        return "cbrt" if part in ("cbrt", "∛") or "cube" in part else "sqrt"
    if kind == "suffix":
        return "squared" if part in ("squared", "²") else "cubed"
    return _SYMBOL.get(part, part.replace(",", ""))


def rendered(tokens: list[Token]) -> str:
    """Return the expression in ordinary symbols, for showing back how it was read."""
    marks = {"squared": "²", "cubed": "³", "*": " × ", "/": " / ", "+": " + ", "-": " - ", "sqrt": "√", "cbrt": "∛"}
    text = "".join(marks.get(token.text, token.text) for token in tokens)
    return re.sub(r"(^|[(^×/+√-] ?) - ", r"\1-", text).strip()


def evaluate(tokens: list[Token]) -> Number:
    """Return the value of an expression. Raises Unanswerable when it is malformed, ambiguous, undefined or too large."""
    if any(token.text == "%" for token in tokens) and any(token.text in "+-" for token in tokens):
        raise Unanswerable("a percentage in a sum has two readings")
    reader = _Reader(tokens)
    result = reader.sum(0)
    if reader.position != len(tokens):
        raise Unanswerable("trailing parts")
    return result


class _Reader:
    """One pass over the tokens. Every method returns the value of the part that it consumed."""

    def __init__(self, tokens: list[Token]) -> None:
        self._texts = [token.text for token in tokens] + [""]
        self._kinds = [token.kind for token in tokens] + [""]
        self.position = 0

    def _take(self, *texts: str) -> str:
        text = self._texts[self.position]
        if text and text in texts:
            self.position += 1
            return text
        return ""

    def sum(self, depth: int) -> Number:
        """Consume additions and subtractions."""
        if depth > _MAX_DEPTH:
            raise Unanswerable("nested too deeply")
        left = self._product(depth)
        while operator := self._take("+", "-"):
            right = self._product(depth)
            value = left.value + right.value if operator == "+" else left.value - right.value
            left = bounded(value, left.exact and right.exact)
        return left

    def _product(self, depth: int) -> Number:
        left = self._power(depth)
        while operator := self._take("*", "/"):
            right = self._power(depth)
            if operator == "/" and not right.value:
                raise Unanswerable("division by zero")
            value = left.value * right.value if operator == "*" else left.value / right.value
            left = bounded(value, left.exact and right.exact)
        return left

    def _power(self, depth: int) -> Number:
        if self._texts[self.position] in ("+", "-"):
            return self._signed(depth)
        base = self._postfix(depth)
        if not self._take("^"):
            return base
        exponent = self._signed(depth)
        if self._texts[self.position] == "^" or self._texts[self.position - 1] in ("squared", "cubed"):
            raise Unanswerable("a tower of powers has two readings")
        return power(base, exponent)

    def _signed(self, depth: int) -> Number:
        sign = self._take("+", "-")
        operand = self._postfix(depth)
        if not sign:
            return operand
        if self._texts[self.position] == "^" or self._texts[self.position - 1] in ("squared", "cubed"):
            raise Unanswerable("a negated power has two readings")
        return Number(-operand.value if sign == "-" else operand.value, operand.exact)

    def _postfix(self, depth: int) -> Number:
        atom = self._atom(depth)
        if suffix := self._take("squared", "cubed"):
            return power(atom, Number(Fraction(2 if suffix == "squared" else 3)))
        if self._take("%"):
            return Number(atom.value / 100, atom.exact)
        return atom

    def _atom(self, depth: int) -> Number:
        if self._take("("):
            inner = self.sum(depth + 1)
            if not self._take(")"):
                raise Unanswerable("unbalanced parentheses")
            return inner
        if function := self._take("sqrt", "cbrt"):
            operand = self._atom(depth + 1)
            if self._texts[self.position] in ("^", "squared", "cubed", "%"):
                raise Unanswerable("a power behind a root has two readings")
            return root(operand, 2 if function == "sqrt" else 3)
        if self._kinds[self.position] == "number":
            self.position += 1
            return bounded(parse_number(self._texts[self.position - 1]))
        raise Unanswerable("not an expression")


def bounded(value: Fraction, exact: bool = True) -> Number:
    """Return the number, or raise Unanswerable when it outgrew what can be shown."""
    if value.numerator.bit_length() > _MAX_BITS:
        raise Unanswerable("too large")
    if value.denominator.bit_length() > _MAX_BITS:
        raise Unanswerable("too small")
    return Number(value, exact)


def power(base: Number, exponent: Number) -> Number:
    """Return base ^ exponent; fractional exponents are taken as roots. Raises Unanswerable when undefined or too large."""
    times = exponent.value
    if not exponent.exact or times.denominator > 12:  # assumed: nobody asks for a 13th root
        raise Unanswerable("an irrational power")
    if not base.value and times <= 0:
        raise Unanswerable("undefined")
    bits = max(base.value.numerator.bit_length(), base.value.denominator.bit_length()) - 1
    if abs(times) * bits > _MAX_BITS or abs(times) > 10_000:
        raise Unanswerable("too large")
    raised = bounded(base.value**times.numerator, base.exact)
    return raised if times.denominator == 1 else root(raised, times.denominator)


def root(number: Number, degree: int) -> Number:
    """Return the real root: exact where it is rational, else with 40 digits and marked inexact."""
    value = number.value
    if degree < 1 or (value < 0 and degree % 2 == 0):
        raise Unanswerable("no real root")
    if value < 0:
        positive = root(Number(-value, number.exact), degree)
        return Number(-positive.value, positive.exact)
    top, bottom = integer_root(value.numerator, degree), integer_root(value.denominator, degree)
    if top**degree == value.numerator and bottom**degree == value.denominator:
        return Number(Fraction(top, bottom), number.exact)
    scale = 10 ** (_ROOT_DIGITS * degree)
    return Number(Fraction(integer_root(value.numerator * scale // value.denominator, degree), 10**_ROOT_DIGITS), False)


def integer_root(value: int, degree: int) -> int:
    """Return the largest integer whose `degree`-th power is at most `value` (value >= 0), by Newton's iteration."""
    if degree == 2:
        return math.isqrt(value)
    if value < 2:
        return value
    guess = 1 << -(-value.bit_length() // degree)
    while True:
        better = ((degree - 1) * guess + value // guess ** (degree - 1)) // degree
        if better >= guess:
            return guess
        guess = better
